{{ config(materialized='table') }}
with transactions as (
    {{ sage_source('transactions', [
        'business_id', 'id', 'date', 'deleted', 'reference', 'total', 'total_in_transaction_currency', 'contact',
        'transaction_type', 'origin', 'audit_trail_id', 'created_at', 'updated_at',
    ]) }}
)

select
    business_id,
    id as transaction_id,
    date as transaction_date,
    coalesce(deleted, false) as is_deleted,
    reference,
    total,
    {{ sage_text('contact', 'id') }} as contact_id,
    {{ sage_text('transaction_type', 'id') }} as transaction_type_id,
    {{ sage_text('transaction_type', 'displayed_as') }} as transaction_type,
    {{ sage_text('origin', 'id') }} as origin_id,
    {{ sage_text('origin', 'displayed_as') }} as origin_name,
    {{ sage_text('origin', 'path') }} as origin_path,
    audit_trail_id,
    created_at,
    updated_at
from transactions
