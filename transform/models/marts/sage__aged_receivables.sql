-- What customers owe as of today, by age; one row per contact and currency.
{% call sage_contracted() %}
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
    sum(case when age_band = '{{ band }}' then base_outstanding else 0 end) as {{ name }}{{ ',' if not loop.last }}
    {% endfor %}
from {{ ref('int_sage__open_items_today') }}
where side = 'sales'
group by business_id, contact_id, currency_id
{% endcall %}
