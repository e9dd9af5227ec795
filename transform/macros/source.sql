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
{%- set found = load_relation(relation) -%}
{%- set present = {} -%}
{%- if found is not none -%}
  {%- for column in adapter.get_columns_in_relation(found) -%}
    {%- do present.update({column.name | lower: adapter.quote(column.name)}) -%}
  {%- endfor -%}
{%- endif -%}
{%- set kinds = sage_accounting.sage_kinds(stream) -%}
select
{%- for name in columns %}
    {{ sage_accounting.sage_cast(present.get(name, 'null'), name, kinds[name]) }} as {{ name }},
{%- endfor %}
    {{ sage_accounting.sage_cast(present.get('_sdc_extracted_at', 'null'), '_sdc_extracted_at', 'timestamp') }} as extracted_at
{%- if found is none %}
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
{% macro sage_cast(column, name, kind) %}
{%- if kind == 'object' or kind == 'objects' or kind == 'texts' -%}
  {{ sage_accounting.sage_json(column) }}
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


{#- Amounts have four decimals; prices, quantities, percentages and exchange rates up to ten. -#}
{% macro sage_number_type(name='amount') %}
{%- if 'rate' in name or 'price' in name or 'quantity' in name or 'percentage' in name -%}
  numeric(28, 10)
{%- else -%}
  numeric(28, 4)
{%- endif -%}
{% endmacro %}
