-- One row per open item and month's end; credits and payments on account are negative.
{% call sage_contracted() %}
select
    months.business_id,
    months.month,
    months.month_end,
    items.side,
    items.item_id,
    items.item_kind,
    items.stream as item_stream,
    items.item_number,
    items.contact_id,
    items.contact_name,
    items.item_date,
    items.due_date,
    {{ dbt.datediff('items.due_date', 'months.month_end', 'day') }} as days_overdue,
    {{ sage_age_band(dbt.datediff('items.due_date', 'months.month_end', 'day')) }} as age_band,
    items.currency_id,
    items.sign * items.total_amount as total_amount,
    balances.outstanding,
    balances.base_outstanding
from {{ ref('int_sage__item_balances') }} as balances
inner join {{ ref('int_sage__open_items') }} as items
    on balances.business_id = items.business_id and balances.item_id = items.item_id
inner join {{ ref('int_sage__months') }} as months
    on balances.business_id = months.business_id
    and months.month >= balances.month
    and (balances.next_month is null or months.month < balances.next_month)
{% endcall %}
