{{ config(materialized='table') }}
with payments as (
    {{ sage_source('other_payments', [
        'business_id', 'id', 'date', 'transaction', 'transaction_type', 'contact', 'bank_account', 'net_amount',
        'tax_amount', 'total_amount', 'reference', 'payment_lines', 'created_at', 'updated_at',
    ]) }}
),

elements as (
    {{ sage_element_fields(
        'payments', 'payment_lines',
        ['business_id', 'id', 'date', 'transaction', 'transaction_type', 'contact', 'bank_account', 'reference'],
        {
            'details': 'details',
            'ledger_account_id': ['ledger_account', 'id'],
            'tax_rate_id': ['tax_rate', 'id'],
            'analysis_category': ['analysis_type_categories', 0, 'displayed_as'],
            'second_analysis_category': ['analysis_type_categories', 1, 'displayed_as'],
            'net_amount': 'net_amount',
            'tax_amount': 'tax_amount',
            'total_amount': 'total_amount',
        }
    ) }}
)

select
    business_id,
    id as other_payment_id,
    cast(position as {{ dbt.type_int() }}) as line_number,
    date as payment_date,
    {{ sage_text('transaction', 'id') }} as transaction_id,
    {{ sage_text('transaction_type', 'id') }} as transaction_type_id,
    case when {{ sage_text('transaction_type', 'id') }} like '%RECEIPT' then 'sales' else 'purchases' end as side,
    {{ sage_text('contact', 'id') }} as contact_id,
    {{ sage_text('bank_account', 'id') }} as bank_account_id,
    reference,
    details as description,
    ledger_account_id,
    tax_rate_id,
    analysis_category,
    second_analysis_category,
    cast(net_amount as {{ sage_number_type() }}) as net_amount,
    coalesce(cast(tax_amount as {{ sage_number_type() }}), 0) as tax_amount,
    cast(total_amount as {{ sage_number_type() }}) as total_amount
from elements
