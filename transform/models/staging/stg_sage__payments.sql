{{ config(materialized='table') }}
with payments as (
    {{ sage_source('contact_payments', [
        'business_id', 'id', 'date', 'transaction', 'transaction_type', 'contact', 'bank_account', 'payment_method',
        'total_amount', 'currency', 'exchange_rate', 'base_currency_total_amount', 'reference', 'payment_on_account',
        'created_at', 'updated_at',
    ]) }}
)

select
    business_id,
    id as payment_id,
    date as payment_date,
    {{ sage_text('transaction', 'id') }} as transaction_id,
    {{ sage_text('transaction_type', 'id') }} as transaction_type_id,
    case when {{ sage_text('transaction_type', 'id') }} like 'CUSTOMER%' then 'sales' else 'purchases' end as side,
    -- A refund goes the other way.
    case when {{ sage_text('transaction_type', 'id') }} like '%REFUND' then -1 else 1 end as sign,
    {{ sage_text('contact', 'id') }} as contact_id,
    {{ sage_text('contact', 'displayed_as') }} as contact_name,
    {{ sage_text('bank_account', 'id') }} as bank_account_id,
    {{ sage_text('payment_method', 'displayed_as') }} as payment_method,
    total_amount,
    {{ sage_text('currency', 'id') }} as currency_id,
    coalesce(exchange_rate, 1) as exchange_rate,
    base_currency_total_amount as base_total_amount,
    reference,
    {{ sage_text('payment_on_account', 'id') }} as on_account_id,
    {{ sage_number('payment_on_account', 'total_amount') }} as on_account_amount,
    {{ sage_number('payment_on_account', 'outstanding_amount') }} as on_account_outstanding,
    {{ sage_number('payment_on_account', 'base_currency_total_amount') }} as base_on_account_amount,
    {{ sage_number('payment_on_account', 'exchange_rate') }} as on_account_exchange_rate,
    created_at,
    updated_at
from payments
