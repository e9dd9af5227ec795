-- Transactions of the kinds that documents and payments post, whose document was not loaded: nothing explains them.
-- One that was taken back by another of the same origin is none of them.
{%- set sales = [
    'SALES_INVOICE', 'SALES_CREDIT_NOTE', 'SALES_QUICK_INVOICE', 'SALES_QUICK_CREDIT_NOTE', 'CUSTOMER_RECEIPT',
    'CUSTOMER_REFUND', 'CUSTOMER_ALLOCATION', 'CUSTOMER_OPENING_BALANCE_INVOICE',
    'CUSTOMER_OPENING_BALANCE_CREDIT_NOTE', 'OTHER_RECEIPT',
] -%}
{%- set purchases = [
    'PURCHASE_INVOICE', 'PURCHASE_CREDIT_NOTE', 'PURCHASE_QUICK_INVOICE', 'PURCHASE_QUICK_CREDIT_NOTE',
    'VENDOR_PAYMENT', 'VENDOR_REFUND', 'VENDOR_ALLOCATION', 'VENDOR_OPENING_BALANCE_INVOICE',
    'VENDOR_OPENING_BALANCE_CREDIT_NOTE', 'OTHER_PAYMENT',
] %}
with loaded as (
    select business_id, transaction_id from {{ ref('stg_sage__documents') }}
    union all
    select business_id, transaction_id from {{ ref('stg_sage__payments') }}
    union all
    select business_id, transaction_id from {{ ref('stg_sage__allocations') }} where stream = 'contact_allocations'
    union all
    select business_id, transaction_id from {{ ref('stg_sage__other_payments') }}
),

taken_back as (
    select distinct business_id, origin_id
    from {{ ref('stg_sage__transactions') }}
    where transaction_type_id in ('CORRECTION', 'VOID_PAYMENT') and not is_deleted
)

select
    transactions.business_id,
    transactions.transaction_id,
    transactions.transaction_type_id,
    case when transactions.transaction_type_id in ({{ sage_list(sales) }}) then 'sales' else 'purchases' end as side
from {{ ref('stg_sage__transactions') }} as transactions
left join loaded
    on transactions.business_id = loaded.business_id and transactions.transaction_id = loaded.transaction_id
left join taken_back
    on transactions.business_id = taken_back.business_id and transactions.origin_id = taken_back.origin_id
where transactions.transaction_type_id in ({{ sage_list(sales + purchases) }})
    and not transactions.is_deleted
    and loaded.transaction_id is null
    and taken_back.origin_id is null
