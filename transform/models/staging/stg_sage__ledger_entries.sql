with entries as (
    {{ sage_source('ledger_entries', [
        'business_id', 'id', 'date', 'debit', 'credit', 'ledger_account', 'transaction', 'contact', 'tax_rate',
        'description', 'deleted', 'created_at', 'updated_at',
    ]) }}
)

select
    business_id,
    id as ledger_entry_id,
    date as entry_date,
    coalesce(debit, 0) as debit,
    coalesce(credit, 0) as credit,
    coalesce(debit, 0) - coalesce(credit, 0) as amount,
    {{ sage_text('ledger_account', 'id') }} as ledger_account_id,
    {{ sage_text('transaction', 'id') }} as transaction_id,
    {{ sage_text('contact', 'id') }} as contact_id,
    {{ sage_text('tax_rate', 'id') }} as tax_rate_id,
    description,
    coalesce(deleted, false) as is_deleted,
    created_at,
    updated_at,
    extracted_at
from entries
