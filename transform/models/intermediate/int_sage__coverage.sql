-- What of each business's ledger was loaded, and what therefore carries its statements.
with entries as (
    select business_id, min(day) as first_entry_date, max(day) as last_entry_date
    from {{ ref('int_sage__days') }}
    where has_entries
    group by business_id
),

bounds as (
    select business_id, min(month) as first_month, max(month) as last_month, max(read_at) as read_at
    from {{ ref('stg_sage__trial_balance') }}
    group by business_id
),

oracle as (
    select
        bounds.business_id,
        bounds.first_month,
        bounds.last_month,
        bounds.read_at,
        max(case when balances.month = bounds.first_month and balances.opening_balance <> 0 then 1 else 0 end) = 1 as has_opening,
        min(case when balances.movement <> 0 then balances.month end) as first_moved,
        max(case when balances.movement <> 0 then balances.month end) as last_moved
    from bounds
    inner join {{ ref('stg_sage__trial_balance') }} as balances on bounds.business_id = balances.business_id
    group by 1, 2, 3, 4
),

-- An edition, or the user's rights, may leave out all documents of a side, though the ledger has what they posted.
documents as (
    select
        business_id,
        sum(case when side = 'sales' then 1 else 0 end) as of_sales,
        sum(case when side = 'purchases' then 1 else 0 end) as of_purchases
    from {{ ref('stg_sage__documents') }}
    group by business_id
),

-- Sage's trial balance may begin after the accounts do, as nothing was posted before: then it opens with nothing.
judged as (
    select
        businesses.business_id,
        businesses.year_end_date,
        oracle.first_month,
        oracle.last_month,
        oracle.read_at,
        oracle.has_opening,
        oracle.first_moved,
        oracle.last_moved,
        entries.first_entry_date,
        entries.last_entry_date,
        case
            when entries.business_id is null then 'trial balance'
            when oracle.business_id is null or not oracle.has_opening then 'entries'
            when oracle.first_month <= {{ sage_month('businesses.accounts_start_date') }} then 'entries'
            else 'brought forward'
        end as ledger_source,
        coalesce(documents.of_sales, 0) > 0 as has_sales_documents,
        coalesce(documents.of_purchases, 0) > 0 as has_purchase_documents
    from {{ ref('stg_sage__businesses') }} as businesses
    left join entries on businesses.business_id = entries.business_id
    left join oracle on businesses.business_id = oracle.business_id
    left join documents on businesses.business_id = documents.business_id
)

select
    business_id,
    year_end_date,
    first_month,
    last_month,
    read_at,
    first_entry_date,
    -- The books' today: what Sage's clock said when the trial balance was served.
    coalesce(cast(read_at as date), last_entry_date) as as_of_date,
    ledger_source,
    -- What is brought forward moves in the month before.
    case
        when ledger_source = 'entries' then {{ sage_month('first_entry_date') }}
        when has_opening then {{ sage_plus_months('first_month', -1) }}
        else first_moved
    end as first_movement,
    case
        when ledger_source = 'trial balance' then coalesce(last_moved, {{ sage_plus_months('first_month', -1) }})
        else {{ sage_month('last_entry_date') }}
    end as last_movement,
    has_sales_documents,
    has_purchase_documents
from judged
