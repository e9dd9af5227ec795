-- Every taxed line of sales and purchases, in base currency; a document's tax is converted as a whole, and its last
-- line takes the cents between.
with lines as (
    select
        documents.business_id,
        documents.stream,
        documents.document_id as source_id,
        lines.line_number,
        documents.side,
        documents.document_date as tax_date,
        documents.transaction_id,
        lines.tax_rate_id,
        documents.sign * lines.base_net_amount as base_net_amount,
        documents.sign * (
            lines.base_tax_amount
            + case
                when row_number() over (
                    partition by documents.business_id, documents.stream, documents.document_id
                    order by lines.line_number desc
                ) = 1
                    then documents.base_tax_amount - sum(lines.base_tax_amount) over (
                        partition by documents.business_id, documents.stream, documents.document_id
                    )
                else 0
            end
        ) as base_tax_amount
    from {{ ref('stg_sage__documents') }} as documents
    inner join {{ ref('stg_sage__document_lines') }} as lines
        on documents.business_id = lines.business_id
        and documents.stream = lines.stream
        and documents.document_id = lines.document_id
    where documents.is_posted and not documents.is_opening_balance
),

payments as (
    select
        business_id,
        'other_payments' as stream,
        other_payment_id as source_id,
        line_number,
        side,
        payment_date as tax_date,
        transaction_id,
        tax_rate_id,
        net_amount as base_net_amount,
        tax_amount as base_tax_amount
    from {{ ref('stg_sage__other_payments') }}
),

both_kinds as (
    select * from lines
    union all
    select * from payments
)

select both_kinds.*, {{ sage_month('tax_date') }} as month from both_kinds
