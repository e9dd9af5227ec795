{#- Write the descriptions of streams and their columns into the tables that the tap's target made, as comments.

    dbt run-operation sage_comment_sources

    The role that runs it must own the tables. Comments stay when a target adds columns, and can be written again.
-#}
{% macro sage_comment_sources() %}
{%- set commented = [] -%}
{%- for node in graph.sources.values() if node.source_name == 'sage' and node.package_name == 'sage_accounting' -%}
  {%- set relation = adapter.get_relation(node.database, node.schema, node.identifier) -%}
  {%- if relation -%}
    {%- set columns = {} -%}
    {%- for column in adapter.get_columns_in_relation(relation) if column.name | lower in node.columns -%}
      {%- do columns.update({column.name: {'description': node.columns[column.name | lower].description, 'quote': true}}) -%}
    {%- endfor -%}
    {%- call statement('comments', auto_begin=true) -%}
      {{ alter_relation_comment(relation, node.description) }}
      {{ alter_column_comment(relation, columns) }}
    {%- endcall -%}
    {%- do adapter.commit() -%}
    {%- do commented.append(relation) -%}
  {%- endif -%}
{%- endfor -%}
{%- do log('Descriptions were written into ' ~ commented | length ~ ' tables.', info=true) -%}
{% endmacro %}
