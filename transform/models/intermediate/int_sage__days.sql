-- Every day on which something is dated, with its month and its financial year: found once, not for every entry.
with dated as (
    select business_id, entry_date as day, 1 as entries from {{ ref('stg_sage__ledger_entries') }} where not is_deleted
    union distinct
    select business_id, document_date as day, 0 as entries from {{ ref('stg_sage__documents') }}
),

days as (
    select business_id, day, max(entries) = 1 as has_entries
    from dated
    where day is not null
    group by 1, 2
)

select
    days.business_id,
    days.day,
    days.has_entries,
    {{ sage_month('days.day') }} as month,
    {{ sage_financial_year_end('days.day', 'businesses.year_end_date') }} as financial_year_end
from days
inner join {{ ref('stg_sage__businesses') }} as businesses on days.business_id = businesses.business_id
