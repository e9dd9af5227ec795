-- What was spent: lines of purchases, and payments without a document, by supplier, category and dimension.
{% call sage_contracted() %}
with lines as (
    select
        business_id, stream, document_id as source_id, line_number, document_date as expense_date, transaction_id,
        contact_id, contact_name, document_number as reference, description, ledger_account_id, analysis_category,
        second_analysis_category, tax_rate_id, base_net_amount, base_tax_amount, base_total_amount
    from {{ ref('sage__invoice_lines') }}
    where side = 'purchases'

    union all

    select
        payments.business_id, 'other_payments' as stream, payments.other_payment_id as source_id, payments.line_number,
        payments.payment_date as expense_date, payments.transaction_id, payments.contact_id, contacts.contact_name,
        payments.reference, payments.description, payments.ledger_account_id, payments.analysis_category,
        payments.second_analysis_category, payments.tax_rate_id,
        payments.net_amount as base_net_amount, payments.tax_amount as base_tax_amount,
        payments.total_amount as base_total_amount
    from {{ ref('stg_sage__other_payments') }} as payments
    left join {{ ref('stg_sage__contacts') }} as contacts
        on payments.business_id = contacts.business_id and payments.contact_id = contacts.contact_id
    where payments.side = 'purchases'
)

select
    lines.business_id,
    lines.stream,
    lines.source_id,
    lines.line_number,
    lines.expense_date,
    {{ sage_month('lines.expense_date') }} as month,
    lines.transaction_id,
    lines.contact_id,
    lines.contact_name as supplier,
    lines.reference,
    lines.description,
    lines.ledger_account_id,
    accounts.nominal_code,
    accounts.account_name as category,
    accounts.account_type as category_type,
    lines.analysis_category,
    lines.second_analysis_category,
    lines.tax_rate_id,
    lines.base_net_amount,
    lines.base_tax_amount,
    lines.base_total_amount
from lines
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on lines.business_id = accounts.business_id and lines.ledger_account_id = accounts.ledger_account_id
{% endcall %}
