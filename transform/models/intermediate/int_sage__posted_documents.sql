-- Posted documents, with what their lines add up to: in the document's currency, and converted one by one.
with totals as (
    select
        business_id,
        stream,
        document_id,
        max(line_number) as last_line_number,
        sum(net_amount) as net_amount,
        sum(tax_amount) as tax_amount,
        sum(base_net_amount) as base_net_amount,
        sum(base_tax_amount) as base_tax_amount
    from {{ ref('stg_sage__document_lines') }}
    group by 1, 2, 3
)

select
    documents.business_id,
    documents.stream,
    documents.document_id,
    documents.side,
    documents.sign,
    documents.document_number,
    documents.document_date,
    documents.transaction_id,
    documents.contact_id,
    documents.contact_name,
    documents.currency_id,
    documents.status_id,
    documents.is_opening_balance,
    documents.net_amount,
    documents.tax_amount,
    coalesce(totals.net_amount, 0) as net_of_lines,
    coalesce(totals.tax_amount, 0) as tax_of_lines,
    totals.last_line_number,
    -- The document as a whole is converted, too: its last line takes the cents between them.
    documents.base_total_amount - documents.base_tax_amount - totals.base_net_amount as base_net_rounding,
    documents.base_tax_amount - totals.base_tax_amount as base_tax_rounding,
    documents.extracted_at
from {{ ref('stg_sage__documents') }} as documents
left join totals
    on documents.business_id = totals.business_id
    and documents.stream = totals.stream
    and documents.document_id = totals.document_id
where documents.is_posted
