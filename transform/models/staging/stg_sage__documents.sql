{{ config(materialized='table') }}
with documents as (
    {{ sage_documents('sales_invoices', 'sales', 'invoice_number') }}
    union all
    {{ sage_documents('sales_credit_notes', 'sales', 'credit_note_number', credit_note=true) }}
    union all
    {{ sage_documents('sales_quick_entries', 'sales', 'reference', quick=true) }}
    union all
    {{ sage_documents('purchase_invoices', 'purchases', 'vendor_reference') }}
    union all
    {{ sage_documents('purchase_credit_notes', 'purchases', 'vendor_reference', credit_note=true) }}
    union all
    {{ sage_documents('purchase_quick_entries', 'purchases', 'reference', quick=true) }}
)

select
    documents.*,
    transaction_type_id like '%OPENING_BALANCE%' as is_opening_balance,
    -- A draft has no transaction, and a void one no effect.
    transaction_id is not null and coalesce(status_id, '') not in ('DRAFT', 'VOID') as is_posted
from documents
