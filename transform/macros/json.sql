{#- What differs between warehouses in nested values. A path is a list of attributes. -#}

{#- Make a null of the type that nested values have, or convert a column that holds such a value.

    Args:
        column: the column, or null.
        type: its type, as the warehouse names it.
-#}
{% macro sage_json(column, type) %}{{ adapter.dispatch('sage_json', 'sage_accounting')(column, type) }}{% endmacro %}

{#- What is jsonb already is left alone: a conversion copies it. -#}
{% macro default__sage_json(column, type) %}
{%- if column == 'null' -%}cast(null as jsonb){%- elif type == 'jsonb' -%}{{ column }}{%- else -%}to_jsonb({{ column }}){%- endif -%}
{% endmacro %}

{% macro duckdb__sage_json(column, type) %}cast({{ column }} as json){% endmacro %}

{% macro snowflake__sage_json(column, type) %}cast({{ column }} as variant){% endmacro %}

{% macro bigquery__sage_json(column, type) %}{{ 'cast(null as json)' if column == 'null' else 'to_json(' ~ column ~ ')' }}{% endmacro %}


{#- Read a text inside a nested value; null where a part of the path is absent or null. -#}
{% macro sage_text(column, path) %}{{ adapter.dispatch('sage_text', 'sage_accounting')(column, path if path is not string else [path]) }}{% endmacro %}

{% macro default__sage_text(column, path) %}({{ column }}
{%- for part in path %} {{ '->>' if loop.last else '->' }} {{ part if part is number else "'" ~ part ~ "'" }}{% endfor -%}
){% endmacro %}

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

{% macro default__sage_json_list(column, type) %}{{ sage_accounting.sage_json(column, type) }}{% endmacro %}

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


{#- Select texts inside the elements of a list, a row for each element, with its `position` from 1.

    Args:
        relation: a relation or the name of a CTE.
        column: the list.
        keep: columns of the relation to keep.
        fields: paths in an element, by the name that its text gets.
-#}
{% macro sage_element_fields(relation, column, keep, fields) %}{{ adapter.dispatch('sage_element_fields', 'sage_accounting')(relation, column, keep, fields) }}{% endmacro %}

{% macro default__sage_element_fields(relation, column, keep, fields) %}
select {{ keep | join(', ') }}, position
    {%- for name, path in fields.items() %},
    {{ sage_accounting.sage_text('item', path) }} as {{ name }}
    {%- endfor %}
from ({{ sage_accounting.sage_elements(relation, column, keep) }}) as elements
{% endmacro %}

{#- DuckDB reads the whole list once, into structs of what is wanted. -#}
{% macro duckdb__sage_element_fields(relation, column, keep, fields) %}
select {{ keep | join(', ') }}, position
    {%- for name, path in fields.items() %},
    item{% for part in ([path] if path is string else path) %}[{{ part + 1 if part is number else "'" ~ part ~ "'" }}]{% endfor %} as {{ name }}
    {%- endfor %}
from (
    select {{ keep | join(', ') }}, unnest(items) as item, unnest(range(1, len(items) + 1)) as position
    from (
        select {{ keep | join(', ') }}, from_json({{ column }}, '{{ tojson([sage_accounting.sage_json_structure(fields.values())]) }}') as items
        from {{ relation }}
    ) as lists
) as elements
{% endmacro %}

{#- Describe a nested value that has texts at these paths, as DuckDB reads it. -#}
{% macro sage_json_structure(paths) %}
{%- set structure = {} -%}
{%- for path in paths -%}
  {%- set parts = [path] if path is string else path -%}
  {%- set place = namespace(of=structure) -%}
  {%- for part in parts if part is string -%}
    {%- set is_list = parts[parts.index(part) + 1:] and parts[parts.index(part) + 1] is number -%}
    {%- do place.of.setdefault(part, 'VARCHAR' if loop.last else [{}] if is_list else {}) -%}
    {%- set place.of = place.of[part][0] if is_list else place.of[part] -%}
  {%- endfor -%}
{%- endfor -%}
{{ return(structure) }}
{% endmacro %}
