{#- Read columns of a stream's table, converted to the types that its schema declares.

    A stream that this edition, country or selection lacks becomes an empty relation; a column that was not selected
    becomes null. Rows that were deleted in Sage are left out.

    Args:
        stream: the stream's name.
        columns: names of the columns.
-#}
{% macro sage_source(stream, columns) %}
{%- set relation = source('sage', stream) -%}
{%- if execute -%}
{%- set present = {} -%}
{%- set types = {} -%}
{%- for name, type in sage_accounting.sage_columns(relation) -%}
  {%- do present.update({name | lower: adapter.quote(name)}) -%}
  {%- do types.update({name | lower: type}) -%}
{%- endfor -%}
{%- set kinds = sage_accounting.sage_kinds(stream) -%}
select
{%- for name in columns %}
    {{ sage_accounting.sage_cast(present.get(name, 'null'), name, kinds[name], types.get(name)) }} as {{ name }},
{%- endfor %}
    {{ sage_accounting.sage_cast(present.get('_sdc_extracted_at', 'null'), '_sdc_extracted_at', 'timestamp') }} as extracted_at
{%- if not present %}
limit 0
{%- else %}
from {{ relation }}
{%- set marks = [] -%}
{%- for mark in ('deleted_at', '_sdc_deleted_at') if mark in present -%}
  {%- do marks.append(present[mark] ~ ' is null') -%}
{%- endfor %}
{%- if marks %}
where {{ marks | join(' and ') }}
{%- endif %}
{%- endif %}
{%- else -%}
select 1 as unknown_until_run
{%- endif -%}
{% endmacro %}


{#- List the columns of a table with their types; none when there is no such table.

    dbt's own answer to whether a table exists comes from a cache that threads fill while others read it, so that a
    table may seem to be missing. Here that would be an empty stream.
-#}
{% macro sage_columns(relation) %}
{%- set columns = run_query(
    "select column_name, data_type from " ~ sage_accounting.sage_catalog(relation)
    ~ " where table_catalog in ('" ~ relation.database ~ "', '" ~ relation.database | upper ~ "')"
    ~ " and table_schema in ('" ~ relation.schema ~ "', '" ~ relation.schema | upper ~ "')"
    ~ " and table_name in ('" ~ relation.identifier ~ "', '" ~ relation.identifier | upper ~ "')"
) -%}
{{ return(columns.rows | map('list') | list if columns else []) }}
{% endmacro %}


{#- Name the view that lists the columns of a relation's database. -#}
{% macro sage_catalog(relation) %}{{ return(adapter.dispatch('sage_catalog', 'sage_accounting')(relation)) }}{% endmacro %}

{% macro default__sage_catalog(relation) %}{{ return('information_schema.columns') }}{% endmacro %}

{% macro snowflake__sage_catalog(relation) %}{{ return(relation.information_schema('columns') | string) }}{% endmacro %}

{% macro bigquery__sage_catalog(relation) %}{{ return(relation.information_schema('columns') | string) }}{% endmacro %}


{#- Map the columns of a stream to their kinds, as models/staging/sources.yml declares them. -#}
{% macro sage_kinds(stream) %}
{%- set kinds = {} -%}
{%- for node in graph.sources.values() if node.source_name == 'sage' and node.name == stream -%}
  {%- for name, column in node.columns.items() -%}
    {%- do kinds.update({name: column.data_type}) -%}
  {%- endfor -%}
{%- endfor -%}
{{ return(kinds) }}
{% endmacro %}


{#- Convert a column as a target wrote it to the type that its kind stands for. -#}
{% macro sage_cast(column, name, kind, type=none) %}
{%- if kind == 'objects' -%}
  {{ sage_accounting.sage_json_list(column, type) }}
{%- elif kind == 'object' or kind == 'texts' -%}
  {{ sage_accounting.sage_json(column, type) }}
{%- elif kind == 'number' -%}
  cast({{ column }} as {{ sage_accounting.sage_number_type(name) }})
{%- elif kind == 'integer' -%}
  cast({{ column }} as {{ dbt.type_bigint() }})
{%- elif kind == 'boolean' -%}
  cast({{ column }} as {{ dbt.type_boolean() }})
{%- elif kind == 'date' -%}
  cast({{ column }} as date)
{%- elif kind == 'timestamp' -%}
  cast({{ column }} as {{ dbt.type_timestamp() }})
{%- else -%}
  cast({{ column }} as {{ dbt.type_string() }})
{%- endif -%}
{% endmacro %}


{#- Amounts have four decimals, prices, quantities and percentages nine, exchange rates ten. -#}
{% macro sage_number_type(name='amount') %}
{%- if 'rate' in name -%}
  {{ sage_accounting.sage_decimal(28, 10) }}
{%- elif 'price' in name or 'quantity' in name or 'percentage' in name -%}
  {{ sage_accounting.sage_decimal(28, 9) }}
{%- else -%}
  {{ sage_accounting.sage_decimal(28, 4) }}
{%- endif -%}
{% endmacro %}


{#- Name the type of exact numbers with so many digits, of which so many are decimals. -#}
{% macro sage_decimal(digits, decimals) %}{{ return(adapter.dispatch('sage_decimal', 'sage_accounting')(digits, decimals)) }}{% endmacro %}

{% macro default__sage_decimal(digits, decimals) %}{{ return('numeric(' ~ digits ~ ', ' ~ decimals ~ ')') }}{% endmacro %}

{#- BigQuery's numeric has nine decimals and 29 digits before them at most. -#}
{% macro bigquery__sage_decimal(digits, decimals) %}
{{ return(('bignumeric' if decimals > 9 or digits - decimals > 29 else 'numeric') ~ '(' ~ digits ~ ', ' ~ decimals ~ ')') }}
{% endmacro %}
