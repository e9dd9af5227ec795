-- Ledger entries that changed after their month closed, or after Sage served its trial balance: deleted ones, too. They are
-- few, and found in one pass over all that were read.
with served as (
    select business_id, min(read_at) as read_at
    from {{ ref('stg_sage__trial_balance') }}
    group by business_id
)

select
    entries.business_id,
    entries.ledger_entry_id,
    entries.entry_date,
    {{ sage_month('entries.entry_date') }} as month,
    cast({{ dbt.dateadd('day', var('sage_days_to_close'), sage_month_end('entries.entry_date')) }} as date) as closed_after,
    entries.ledger_account_id,
    entries.transaction_id,
    entries.contact_id,
    entries.amount,
    entries.description,
    entries.is_deleted,
    entries.created_at,
    entries.updated_at
from {{ ref('stg_sage__ledger_entries') }} as entries
left join served on entries.business_id = served.business_id
-- No month closes sooner after an entry's date.
where cast(entries.updated_at as date) > cast({{ dbt.dateadd('day', var('sage_days_to_close'), 'entries.entry_date') }} as date)
    or entries.updated_at >= served.read_at
