{#- What differs between warehouses in nested values. A path is a list of attributes. -#}

{#- Make a null of the type that nested values have, or leave such a value alone. -#}
{% macro sage_json(column) %}{{ adapter.dispatch('sage_json', 'sage_accounting')(column) }}{% endmacro %}

{% macro default__sage_json(column) %}to_jsonb({{ 'cast(null as jsonb)' if column == 'null' else column }}){% endmacro %}

{% macro duckdb__sage_json(column) %}cast({{ column }} as json){% endmacro %}

{% macro snowflake__sage_json(column) %}cast({{ column }} as variant){% endmacro %}

{% macro bigquery__sage_json(column) %}{{ 'cast(null as json)' if column == 'null' else 'to_json(' ~ column ~ ')' }}{% endmacro %}


{#- Read a text inside a nested value; null where a part of the path is absent or null. -#}
{% macro sage_text(column, path) %}{{ adapter.dispatch('sage_text', 'sage_accounting')(column, path if path is not string else [path]) }}{% endmacro %}

{% macro default__sage_text(column, path) %}({{ column }} #>> '{ {{- path | join(',') -}} }'){% endmacro %}

{% macro duckdb__sage_text(column, path) %}json_extract_string({{ column }}, '${{ sage_accounting.sage_json_path(path) }}'){% endmacro %}

{% macro snowflake__sage_text(column, path) %}cast(get_path({{ column }}, '{{ sage_accounting.sage_json_path(path)[1:] }}') as varchar){% endmacro %}

{% macro bigquery__sage_text(column, path) %}json_value({{ column }}, '${{ sage_accounting.sage_json_path(path) }}'){% endmacro %}

{#- Write a path as most warehouses do: `.lines[0].id`; whole numbers are positions from 0. -#}
{% macro sage_json_path(path) %}{% for part in path %}{{ '[' ~ part ~ ']' if part is number else '.' ~ part }}{% endfor %}{% endmacro %}


{#- Read a number inside a nested value, exactly. -#}
{% macro sage_number(column, path) %}
{%- set last = path if path is string else path[-1] -%}
cast({{ sage_accounting.sage_text(column, path) }} as {{ sage_accounting.sage_number_type(last) }})
{%- endmacro %}


{#- Make a null of the type that lists of nested values have, or convert a column that holds such a list.

    Args:
        column: the column, or null.
        type: its type, as the warehouse names it.
-#}
{% macro sage_json_list(column, type) %}{{ adapter.dispatch('sage_json_list', 'sage_accounting')(column, type) }}{% endmacro %}

{% macro default__sage_json_list(column, type) %}{{ sage_accounting.sage_json(column) }}{% endmacro %}

{#- target-postgres makes arrays, which need no conversion. -#}
{% macro postgres__sage_json_list(column, type) %}
{%- if column == 'null' -%}cast(null as jsonb[])
{%- elif type == 'ARRAY' -%}{{ column }}
{%- else -%}
array(select jsonb_array_elements(case when jsonb_typeof(to_jsonb({{ column }})) = 'array' then to_jsonb({{ column }}) else '[]' end))
{%- endif -%}
{% endmacro %}


{#- Take an element of a list; null where there is none.

    Args:
        column: the list.
        position: its place, from 0.
-#}
{% macro sage_element(column, position) %}{{ adapter.dispatch('sage_element', 'sage_accounting')(column, position) }}{% endmacro %}

{% macro default__sage_element(column, position) %}({{ column }})[{{ position + 1 }}]{% endmacro %}

{% macro duckdb__sage_element(column, position) %}json_extract({{ column }}, '$[{{ position }}]'){% endmacro %}

{% macro snowflake__sage_element(column, position) %}get({{ column }}, {{ position }}){% endmacro %}

{% macro bigquery__sage_element(column, position) %}json_query({{ column }}, '$[{{ position }}]'){% endmacro %}


{#- Select the elements of a list, a row each, in a column `item`, with their `position` from 1.

    Args:
        relation: a relation or the name of a CTE.
        column: the list.
        keep: columns of the relation to keep.
-#}
{% macro sage_elements(relation, column, keep) %}{{ adapter.dispatch('sage_elements', 'sage_accounting')(relation, column, keep) }}{% endmacro %}

{% macro default__sage_elements(relation, column, keep) %}
select {% for name in keep %}source.{{ name }}, {% endfor %}element.item, element.position
from {{ relation }} as source
cross join lateral unnest(source.{{ column }}) with ordinality as element (item, position)
{% endmacro %}

{% macro duckdb__sage_elements(relation, column, keep) %}
select {% for name in keep %}{{ name }}, {% endfor %}
    unnest(from_json({{ column }}, '["json"]')) as item,
    unnest(range(1, cast(json_array_length({{ column }}) as bigint) + 1)) as position
from {{ relation }}
{% endmacro %}

{% macro snowflake__sage_elements(relation, column, keep) %}
select {% for name in keep %}source.{{ name }}, {% endfor %}element.value as item, element.index + 1 as position
from {{ relation }} as source
cross join lateral flatten(input => source.{{ column }}) as element
{% endmacro %}

{% macro bigquery__sage_elements(relation, column, keep) %}
select {% for name in keep %}source.{{ name }}, {% endfor %}item, position + 1 as position
from {{ relation }} as source
cross join unnest(json_query_array(source.{{ column }})) as item with offset as position
{% endmacro %}


{#- Select texts inside nested values, each under a name of its own.

    Args:
        query: a query with a column `item`.
        keep: columns of the query to keep.
        fields: paths in `item`, by name.
-#}
{% macro sage_fields(query, keep, fields) %}{{ adapter.dispatch('sage_fields', 'sage_accounting')(query, keep, fields) }}{% endmacro %}

{% macro default__sage_fields(query, keep, fields) %}
select {{ keep | join(', ') }}
    {%- for name, path in fields.items() %},
    {{ sage_accounting.sage_text('item', path) }} as {{ name }}
    {%- endfor %}
from ({{ query }}) as elements
{% endmacro %}

{#- DuckDB reads a nested value once for all of its fields. -#}
{% macro duckdb__sage_fields(query, keep, fields) %}
select {{ keep | join(', ') }}
    {%- for name in fields %},
    fields[{{ loop.index }}] as {{ name }}
    {%- endfor %}
from (
    select {{ keep | join(', ') }}, json_extract_string(item, [
        {%- for path in fields.values() %}'${{ sage_accounting.sage_json_path([path] if path is string else path) }}'{{ ', ' if not loop.last }}{% endfor -%}
    ]) as fields
    from ({{ query }}) as elements
) as read
{% endmacro %}
