{#- Convert what a model selects to the types of its contract: warehouses widen numbers differently. -#}
{% macro sage_contracted() %}
select
{%- for name, column in model.columns.items() %}
    cast({{ name }} as {{ api.Column.translate_type(column.data_type) }}) as {{ name }}{{ ',' if not loop.last }}
{%- else %}
    *
{%- endfor %}
from (
{{ caller() }}
) as selected
{% endmacro %}
