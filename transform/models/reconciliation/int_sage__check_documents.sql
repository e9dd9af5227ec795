-- What a document says of its total and its tax is what its transaction posted to the control and the tax account.
-- Posted and void documents are compared: a void one has nothing in the ledger any more.
with documents as (
    select
        business_id,
        document_id,
        stream,
        side,
        transaction_id,
        {{ sage_month('document_date') }} as month,
        case when side = 'sales' then 1 else -1 end * sign * case when is_posted then base_total_amount else 0 end as total,
        case when side = 'sales' then -1 else 1 end * sign * case when is_posted then base_tax_amount else 0 end as tax,
        is_opening_balance,
        is_posted
    from {{ ref('stg_sage__documents') }}
    where transaction_id is not null
),

posted as (
    select
        business_id,
        transaction_id,
        sum(case when role in ('receivables', 'payables') then amount end) as total,
        sum(case when role in ('sales_tax', 'purchases_tax') then amount end) as tax
    from {{ ref('int_sage__control_entries') }}
    where is_of_document
    group by 1, 2
),

-- Sage does not say whether a void document's entries are flagged, or taken back by another transaction.
taken_back as (
    select
        documents.business_id,
        documents.stream,
        documents.document_id,
        sum(case when entries.role in ('receivables', 'payables') then entries.amount end) as total,
        sum(case when entries.role in ('sales_tax', 'purchases_tax') then entries.amount end) as tax
    from {{ ref('stg_sage__documents') }} as documents
    inner join {{ ref('stg_sage__transactions') }} as transactions
        on documents.business_id = transactions.business_id
        and documents.document_id = transactions.origin_id
        and transactions.transaction_type_id in ('CORRECTION', 'VOID_PAYMENT')
        and not transactions.is_deleted
    inner join {{ ref('int_sage__control_entries') }} as entries
        on transactions.business_id = entries.business_id and transactions.transaction_id = entries.transaction_id
    where documents.transaction_id is not null and not documents.is_posted
    group by 1, 2, 3
),

compared as (
    select
        documents.business_id,
        documents.month,
        documents.is_posted,
        documents.is_opening_balance,
        documents.total,
        documents.tax,
        coalesce(posted.total, 0) + coalesce(taken_back.total, 0) as posted_total,
        coalesce(posted.tax, 0) + coalesce(taken_back.tax, 0) as posted_tax
    from documents
    left join posted on documents.business_id = posted.business_id and documents.transaction_id = posted.transaction_id
    left join taken_back
        on documents.business_id = taken_back.business_id
        and documents.stream = taken_back.stream
        and documents.document_id = taken_back.document_id
),

by_month as (
    select
        business_id,
        month,
        is_posted,
        is_opening_balance,
        {%- for part in ('total', 'tax') %}
        sum(abs(posted_{{ part }})) as posted_{{ part }},
        sum(abs({{ part }})) as {{ part }},
        sum(abs(posted_{{ part }} - {{ part }})) as {{ part }}_difference,
        {%- endfor %}
        count(*) as documents
    from compared
    group by 1, 2, 3, 4
)

{% for check, part in {'document_totals': 'total', 'document_taxes': 'tax'}.items() %}
{{ 'union all' if not loop.first }}
select
    business_id,
    month,
    '{{ check }}' as check_id,
    sum(posted_{{ part }}) as expected,
    sum({{ part }}) as found,
    sum(case when is_posted then {{ part }}_difference else 0 end) as difference,
    sum(case when is_posted then 0 else posted_{{ part }} end) as explained,
    sum(documents) as compared
from by_month
{% if part == 'tax' %}where not is_opening_balance{% endif %}
group by 1, 2
{% endfor %}
