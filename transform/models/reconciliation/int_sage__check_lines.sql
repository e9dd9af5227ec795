-- The lines of a document add up to its net amount and its tax, in its own currency.
select
    business_id,
    {{ sage_month('document_date') }} as month,
    'document_lines' as check_id,
    sum(net_amount + tax_amount) as expected,
    sum(net_of_lines + tax_of_lines) as found,
    sum(abs(net_amount - net_of_lines) + abs(tax_amount - tax_of_lines)) as difference,
    0 as explained,
    count(*) as compared
from {{ ref('int_sage__posted_documents') }}
group by 1, 2
