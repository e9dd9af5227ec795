-- What is open as of the books' today, with its age by then.
select
    items.business_id,
    items.side,
    items.item_id,
    items.contact_id,
    items.contact_name,
    items.due_date,
    items.currency_id,
    items.outstanding,
    items.base_outstanding,
    coverage.as_of_date,
    {{ sage_age_band(dbt.datediff('items.due_date', 'coverage.as_of_date', 'day')) }} as age_band
from {{ ref('sage__open_items_by_month') }} as items
inner join {{ ref('int_sage__coverage') }} as coverage
    on items.business_id = coverage.business_id
    and items.month = {{ sage_month('coverage.as_of_date') }}
