{% call sage_contracted() %}
with entries as (
    select * from {{ ref('stg_sage__ledger_entries') }}
    where not is_deleted
),

transactions as (
    select * from {{ ref('stg_sage__transactions') }}
),

documents as (
    select business_id, transaction_id, min(document_number) as document_number, min(document_id) as document_id, min(stream) as stream
    from {{ ref('stg_sage__documents') }}
    where transaction_id is not null
    group by business_id, transaction_id
)

select
    entries.business_id,
    entries.ledger_entry_id,
    entries.entry_date,
    days.month,
    days.financial_year_end,
    entries.ledger_account_id,
    accounts.nominal_code,
    coalesce(accounts.account_name, entries.ledger_account_id) as account_name,
    accounts.account_type,
    coalesce(accounts.account_group, 'equity') as account_group,
    entries.debit,
    entries.credit,
    entries.amount,
    entries.description,
    entries.contact_id,
    contacts.contact_name,
    entries.tax_rate_id,
    entries.transaction_id,
    transactions.transaction_type_id,
    transactions.transaction_type,
    transactions.reference,
    transactions.audit_trail_id,
    coalesce(transactions.transaction_type_id like '%OPENING_BALANCE%', false) as is_opening_balance,
    documents.stream as document_stream,
    documents.document_id,
    documents.document_number,
    entries.created_at,
    entries.updated_at
from entries
inner join {{ ref('int_sage__days') }} as days on entries.business_id = days.business_id and entries.entry_date = days.day
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on entries.business_id = accounts.business_id and entries.ledger_account_id = accounts.ledger_account_id
left join transactions
    on entries.business_id = transactions.business_id and entries.transaction_id = transactions.transaction_id
left join documents
    on entries.business_id = documents.business_id and entries.transaction_id = documents.transaction_id
left join {{ ref('stg_sage__contacts') }} as contacts
    on entries.business_id = contacts.business_id and entries.contact_id = contacts.contact_id
{% endcall %}
