-- The lines of a document add up to its net amount and its tax, in its own currency.
with documents as (
    select business_id, stream, document_id, {{ sage_month('document_date') }} as month, net_amount, tax_amount
    from {{ ref('stg_sage__documents') }}
    where is_posted
)

select
    documents.business_id,
    documents.month,
    'document_lines' as check_id,
    sum(documents.net_amount + documents.tax_amount) as expected,
    sum(coalesce(lines.net_amount, 0) + coalesce(lines.tax_amount, 0)) as found,
    sum(abs(documents.net_amount - coalesce(lines.net_amount, 0)) + abs(documents.tax_amount - coalesce(lines.tax_amount, 0))) as difference,
    0 as explained,
    count(*) as compared
from documents
left join {{ ref('int_sage__line_totals') }} as lines
    on documents.business_id = lines.business_id
    and documents.stream = lines.stream
    and documents.document_id = lines.document_id
group by 1, 2
