-- What the lines of each document add up to: in its own currency and, converted one by one, in base currency.
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
