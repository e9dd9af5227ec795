with payments as (
    {{ sage_source('other_payments', [
        'business_id', 'id', 'date', 'transaction', 'transaction_type', 'contact', 'bank_account', 'net_amount',
        'tax_amount', 'total_amount', 'reference', 'payment_lines', 'created_at', 'updated_at',
    ]) }}
),

elements as (
    {{ sage_elements('payments', 'payment_lines', [
        'business_id', 'id', 'date', 'transaction', 'transaction_type', 'contact', 'bank_account', 'reference',
    ]) }}
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
    {{ sage_text('item', 'details') }} as description,
    {{ sage_text('item', ['ledger_account', 'id']) }} as ledger_account_id,
    {{ sage_text('item', ['tax_rate', 'id']) }} as tax_rate_id,
    {{ sage_text('item', ['analysis_type_categories', 0, 'displayed_as']) }} as analysis_category,
    {{ sage_text('item', ['analysis_type_categories', 1, 'displayed_as']) }} as second_analysis_category,
    {{ sage_number('item', 'net_amount') }} as net_amount,
    coalesce({{ sage_number('item', 'tax_amount') }}, 0) as tax_amount,
    {{ sage_number('item', 'total_amount') }} as total_amount
from elements
