-- What of each business's ledger was loaded, and what therefore carries its statements.
with entries as (
    select business_id, min(entry_date) as first_entry_date, max(entry_date) as last_entry_date
    from {{ ref('sage__general_ledger') }}
    group by business_id
),

oracle as (
    select business_id, min(month) as first_month, max(month) as last_month, max(read_at) as read_at
    from {{ ref('stg_sage__trial_balance') }}
    group by business_id
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

businesses as (
    select business_id, accounts_start_date, year_end_date from {{ ref('stg_sage__businesses') }}
)

select
    businesses.business_id,
    businesses.year_end_date,
    oracle.first_month,
    oracle.last_month,
    oracle.read_at,
    entries.first_entry_date,
    -- The books' today: what Sage's clock said when the trial balance was served.
    coalesce(cast(oracle.read_at as date), entries.last_entry_date) as as_of_date,
    case
        when entries.business_id is null then 'trial balance'
        when oracle.business_id is null then 'entries'
        when oracle.first_month <= {{ sage_month('coalesce(businesses.accounts_start_date, entries.first_entry_date)') }} then 'entries'
        else 'brought forward'
    end as ledger_source,
    coalesce(documents.of_sales, 0) > 0 as has_sales_documents,
    coalesce(documents.of_purchases, 0) > 0 as has_purchase_documents
from businesses
left join entries on businesses.business_id = entries.business_id
left join oracle on businesses.business_id = oracle.business_id
left join documents on businesses.business_id = documents.business_id
