-- Ledger entries of a closed month that were made, changed or deleted after it closed.
{% call sage_contracted() %}
select
    entries.business_id,
    entries.ledger_entry_id,
    entries.entry_date,
    entries.month,
    entries.closed_after,
    case
        when entries.is_deleted then 'deleted'
        when cast(entries.created_at as date) > entries.closed_after then 'made'
        else 'changed'
    end as what,
    entries.updated_at as changed_at,
    entries.ledger_account_id,
    accounts.nominal_code,
    accounts.account_name,
    entries.amount,
    entries.description,
    entries.contact_id,
    entries.transaction_id,
    transactions.transaction_type,
    transactions.reference
from {{ ref('int_sage__changed_entries') }} as entries
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on entries.business_id = accounts.business_id and entries.ledger_account_id = accounts.ledger_account_id
left join {{ ref('stg_sage__transactions') }} as transactions
    on entries.business_id = transactions.business_id and entries.transaction_id = transactions.transaction_id
where cast(entries.updated_at as date) > entries.closed_after
{% endcall %}
