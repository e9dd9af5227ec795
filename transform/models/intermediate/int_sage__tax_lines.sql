{{ config(materialized='view') }}
-- Every taxed line of sales, purchases and other payments, in base currency.
with lines as (
    select
        business_id,
        stream,
        document_id as source_id,
        line_number,
        side,
        document_date as tax_date,
        month,
        transaction_id,
        tax_rate_id,
        base_net_amount,
        base_tax_amount
    from {{ ref('sage__invoice_lines') }}
),

payments as (
    select
        business_id,
        'other_payments' as stream,
        other_payment_id as source_id,
        line_number,
        side,
        payment_date as tax_date,
        {{ sage_month('payment_date') }} as month,
        transaction_id,
        tax_rate_id,
        net_amount as base_net_amount,
        tax_amount as base_tax_amount
    from {{ ref('stg_sage__other_payments') }}
)

select * from lines
union all
select * from payments
