{{ config(
    materialized='incremental' if var('sage_incremental') else 'table',
    unique_key=['business_id', 'ledger_entry_id'],
    on_schema_change='fail',
    post_hook="{{ sage_accounting.sage_remove_missing(ref('stg_sage__ledger_entries'), 'not is_deleted') }}",
) }}
{%- set attributes = {
    'month': 'days.month',
    'financial_year_end': 'days.financial_year_end',
    'nominal_code': 'accounts.nominal_code',
    'account_name': 'coalesce(accounts.account_name, entries.ledger_account_id)',
    'account_type': 'accounts.account_type',
    'account_group': "coalesce(accounts.account_group, 'equity')",
    'contact_name': 'contacts.contact_name',
    'transaction_type_id': 'transactions.transaction_type_id',
    'transaction_type': 'transactions.transaction_type',
    'reference': 'transactions.reference',
    'audit_trail_id': 'transactions.audit_trail_id',
    'is_opening_balance': "coalesce(transactions.transaction_type_id like '%OPENING_BALANCE%', false)",
    'document_stream': 'documents.stream',
    'document_id': 'documents.document_id',
    'document_number': 'documents.document_number',
} -%}
{%- set joins %}
inner join {{ ref('int_sage__days') }} as days on entries.business_id = days.business_id and entries.entry_date = days.day
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on entries.business_id = accounts.business_id and entries.ledger_account_id = accounts.ledger_account_id
left join {{ ref('stg_sage__transactions') }} as transactions
    on entries.business_id = transactions.business_id and entries.transaction_id = transactions.transaction_id
left join documents
    on entries.business_id = documents.business_id and entries.transaction_id = documents.transaction_id
left join {{ ref('stg_sage__contacts') }} as contacts
    on entries.business_id = contacts.business_id and entries.contact_id = contacts.contact_id
{%- endset -%}
{% call sage_contracted() %}
with documents as (
    select business_id, transaction_id, min(document_number) as document_number, min(document_id) as document_id, min(stream) as stream
    from {{ ref('stg_sage__documents') }}
    where transaction_id is not null
    group by business_id, transaction_id
),

{% if is_incremental() %}
-- Entries whose account, transaction, document, contact or financial year is no longer what stands beside them.
outdated as (
    select entries.business_id, entries.ledger_entry_id
    from {{ this }} as entries
    {{ joins }}
    where {% for name, value in attributes.items() %}{{ 'or ' if not loop.first }}entries.{{ name }} is distinct from {{ value }} {% endfor %}
),

entries as (
    select entries.*
    from {{ ref('stg_sage__ledger_entries') }} as entries
    left join outdated
        on entries.business_id = outdated.business_id and entries.ledger_entry_id = outdated.ledger_entry_id
    where not entries.is_deleted
        and (outdated.ledger_entry_id is not null or {{ sage_is_recent('entries.extracted_at') }})
)
{% else %}
entries as (
    select * from {{ ref('stg_sage__ledger_entries') }}
    where not is_deleted
)
{% endif %}

select
    entries.business_id,
    entries.ledger_entry_id,
    entries.entry_date,
    entries.ledger_account_id,
    entries.debit,
    entries.credit,
    entries.amount,
    entries.description,
    entries.contact_id,
    entries.tax_rate_id,
    entries.transaction_id,
    {%- for name, value in attributes.items() %}
    {{ value }} as {{ name }},
    {%- endfor %}
    entries.created_at,
    entries.updated_at,
    entries.extracted_at
from entries
{{ joins }}
{% endcall %}
