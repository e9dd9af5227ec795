-- Every day on which something is dated, with its month and its financial year: found once, not for every entry.
with dated as (
    select business_id, entry_date as day from {{ ref('stg_sage__ledger_entries') }}
    union distinct
    select business_id, document_date as day from {{ ref('stg_sage__documents') }}
)

select
    dated.business_id,
    dated.day,
    {{ sage_month('dated.day') }} as month,
    {{ sage_financial_year_end('dated.day', 'businesses.year_end_date') }} as financial_year_end
from dated
inner join {{ ref('stg_sage__businesses') }} as businesses on dated.business_id = businesses.business_id
where dated.day is not null
