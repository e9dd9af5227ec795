{{ config(
    materialized='incremental' if var('sage_incremental') else 'table',
    unique_key=['business_id', 'stream', 'document_id', 'line_number'],
    on_schema_change='fail',
    post_hook="{{ sage_accounting.sage_remove_missing(sage_accounting.sage_posted_lines(), 'true') }}",
) }}
{%- set attributes = {
    'month': 'days.month',
    'financial_year_end': 'days.financial_year_end',
    'item_code': 'products.item_code',
    'product': 'products.description',
    'nominal_code': 'accounts.nominal_code',
    'account_name': 'accounts.account_name',
} -%}
{%- set joins %}
inner join {{ ref('int_sage__days') }} as days on joined.business_id = days.business_id and joined.document_date = days.day
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on joined.business_id = accounts.business_id and joined.ledger_account_id = accounts.ledger_account_id
left join {{ ref('stg_sage__products') }} as products
    on joined.business_id = products.business_id and joined.product_id = products.product_id
{%- endset -%}
-- Lines of all posted sales and purchases; credit notes are negative. In base currency they add up to what was posted:
-- lines are converted one by one, the document as a whole, and its last line takes the cents between them.
{% call sage_contracted() %}
with {% if is_incremental() %}
-- Documents of lines whose account, product or financial year is no longer what stands beside them.
outdated as (
    select distinct joined.business_id, joined.stream, joined.document_id
    from {{ this }} as joined
    {{ joins }}
    where {% for name, value in attributes.items() %}{{ 'or ' if not loop.first }}joined.{{ name }} is distinct from {{ value }} {% endfor %}
),

documents as (
    select documents.*
    from {{ ref('int_sage__posted_documents') }} as documents
    left join outdated
        on documents.business_id = outdated.business_id
        and documents.stream = outdated.stream
        and documents.document_id = outdated.document_id
    where not documents.is_opening_balance
        and (outdated.document_id is not null or {{ sage_is_recent('documents.extracted_at') }})
),
{% else %}
documents as (
    select * from {{ ref('int_sage__posted_documents') }}
    where not is_opening_balance
),
{% endif %}
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
        documents.extracted_at,
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
        documents.sign * case
            when lines.line_number = documents.last_line_number then lines.base_net_amount + documents.base_net_rounding
            else lines.base_net_amount
        end as base_net_amount,
        documents.sign * case
            when lines.line_number = documents.last_line_number then lines.base_tax_amount + documents.base_tax_rounding
            else lines.base_tax_amount
        end as base_tax_amount
    from documents
    inner join {{ ref('stg_sage__document_lines') }} as lines
        on documents.business_id = lines.business_id
        and documents.stream = lines.stream
        and documents.document_id = lines.document_id
)

select
    joined.*,
    joined.base_net_amount + joined.base_tax_amount as base_total_amount
    {%- for name, value in attributes.items() %},
    {{ value }} as {{ name }}
    {%- endfor %}
from joined
{{ joins }}
{% endcall %}
