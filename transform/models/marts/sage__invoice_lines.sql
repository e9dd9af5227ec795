-- Lines of all posted sales and purchases; credit notes are negative. In base currency they add up to what was posted:
-- lines are converted one by one, the document as a whole, and its last line takes the cents between them.
{% call sage_contracted() %}
with documents as (
    select * from {{ ref('stg_sage__documents') }}
    where is_posted and not is_opening_balance
),

joined as (
    select
        documents.business_id,
        documents.stream,
        documents.side,
        documents.document_id,
        documents.document_number,
        documents.document_date,
        documents.transaction_id,
        documents.contact_id,
        documents.contact_name,
        documents.currency_id,
        documents.status_id,
        lines.line_number,
        lines.description,
        lines.product_id,
        lines.ledger_account_id,
        lines.tax_rate_id,
        lines.analysis_category,
        lines.second_analysis_category,
        documents.sign * lines.quantity as quantity,
        lines.unit_price,
        documents.sign * lines.discount_amount as discount_amount,
        documents.sign * lines.net_amount as net_amount,
        documents.sign * lines.tax_amount as tax_amount,
        documents.sign * lines.total_amount as total_amount,
        documents.sign * (
            lines.base_net_amount
            + case
                when lines.line_number = totals.last_line_number
                    then documents.base_total_amount - documents.base_tax_amount - totals.base_net_amount
                else 0
            end
        ) as base_net_amount,
        documents.sign * (
            lines.base_tax_amount
            + case
                when lines.line_number = totals.last_line_number then documents.base_tax_amount - totals.base_tax_amount
                else 0
            end
        ) as base_tax_amount
    from documents
    inner join {{ ref('stg_sage__document_lines') }} as lines
        on documents.business_id = lines.business_id
        and documents.stream = lines.stream
        and documents.document_id = lines.document_id
    inner join {{ ref('int_sage__line_totals') }} as totals
        on documents.business_id = totals.business_id
        and documents.stream = totals.stream
        and documents.document_id = totals.document_id
)

select
    joined.business_id,
    joined.stream,
    joined.side,
    joined.document_id,
    joined.line_number,
    joined.document_number,
    joined.document_date,
    days.month,
    days.financial_year_end,
    joined.transaction_id,
    joined.contact_id,
    joined.contact_name,
    joined.status_id,
    joined.currency_id,
    joined.description,
    joined.product_id,
    products.item_code,
    products.description as product,
    joined.ledger_account_id,
    accounts.nominal_code,
    accounts.account_name,
    joined.tax_rate_id,
    joined.analysis_category,
    joined.second_analysis_category,
    joined.quantity,
    joined.unit_price,
    joined.discount_amount,
    joined.net_amount,
    joined.tax_amount,
    joined.total_amount,
    joined.base_net_amount,
    joined.base_tax_amount,
    joined.base_net_amount + joined.base_tax_amount as base_total_amount
from joined
inner join {{ ref('int_sage__days') }} as days on joined.business_id = days.business_id and joined.document_date = days.day
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on joined.business_id = accounts.business_id and joined.ledger_account_id = accounts.ledger_account_id
left join {{ ref('stg_sage__products') }} as products
    on joined.business_id = products.business_id and joined.product_id = products.product_id
{% endcall %}
