{#- Whether a row was loaded since the last build, or shortly before: loads may overlap with builds.

    Args:
        extracted_at: when the tap read the row; one without a time counts as new.
-#}
{% macro sage_is_recent(extracted_at) %}
(
    {{ extracted_at }} is null
    or {{ extracted_at }} >= coalesce(
        (select {{ dbt.dateadd('day', -var('sage_lookback_days'), 'max(extracted_at)') }} from {{ this }}),
        cast('1900-01-01' as {{ dbt.type_timestamp() }})
    )
)
{% endmacro %}


{#- Remove the rows of an incremental model that are no longer among those it is made of: deleted, void, or dropped.

    Args:
        relation: where the rows come from; it has the columns of the model's key.
        condition: which of its rows count.
-#}
{% macro sage_remove_missing(relation, condition) %}
{%- if config.get('materialized') == 'incremental' -%}
delete from {{ this }}
where not exists (
    select 1
    from {{ relation }} as present
    where {{ condition }}
    {%- for name in config.get('unique_key') %}
        and present.{{ name }} = {{ this.identifier }}.{{ name }}
    {%- endfor %}
)
{%- endif -%}
{% endmacro %}
