-- What suppliers are owed as of today, by age; one row per contact and currency.
{% call sage_contracted() %}
with items as (
    select items.*
    from {{ ref('sage__open_items_by_month') }} as items
    inner join {{ ref('int_sage__coverage') }} as coverage
        on items.business_id = coverage.business_id
        and items.month = {{ sage_month('coverage.as_of_date') }}
    where items.side = 'purchases'
),

aged as (
    select
        items.*,
        coverage.as_of_date,
        {{ sage_age_band(dbt.datediff('items.due_date', 'coverage.as_of_date', 'day')) }} as band
    from items
    inner join {{ ref('int_sage__coverage') }} as coverage on items.business_id = coverage.business_id
)

select
    business_id,
    contact_id,
    currency_id,
    max(contact_name) as contact_name,
    max(as_of_date) as as_of_date,
    count(*) as items,
    sum(outstanding) as outstanding,
    sum(base_outstanding) as base_outstanding,
    {% for name, band in {'not_due': 'not due', 'days_1_to_30': '1 to 30 days', 'days_31_to_60': '31 to 60 days', 'days_61_to_90': '61 to 90 days', 'over_90_days': 'over 90 days'}.items() -%}
    sum(case when band = '{{ band }}' then base_outstanding else 0 end) as {{ name }}{{ ',' if not loop.last }}
    {% endfor %}
from aged
group by business_id, contact_id, currency_id
{% endcall %}
