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
        sum(case when role in ('receivables', 'payables') then amount else 0 end) as total,
        sum(case when role in ('sales_tax', 'purchases_tax') then amount else 0 end) as tax
    from {{ ref('int_sage__control_entries') }}
    group by 1, 2
),

-- Sage does not say whether a void document's entries are flagged, or taken back by another transaction.
taken_back as (
    select business_id, origin_id as document_id, transaction_id
    from {{ ref('stg_sage__transactions') }}
    where transaction_type_id in ('CORRECTION', 'VOID_PAYMENT') and origin_id is not null and not is_deleted
),

of_documents as (
    select business_id, stream, document_id, transaction_id from documents
    union all
    select documents.business_id, documents.stream, documents.document_id, taken_back.transaction_id
    from documents
    inner join taken_back
        on documents.business_id = taken_back.business_id and documents.document_id = taken_back.document_id
    where not documents.is_posted
),

posted_by_document as (
    select
        of_documents.business_id,
        of_documents.stream,
        of_documents.document_id,
        sum(posted.total) as total,
        sum(posted.tax) as tax
    from of_documents
    inner join posted
        on of_documents.business_id = posted.business_id and of_documents.transaction_id = posted.transaction_id
    group by 1, 2, 3
),

compared as (
    select
        documents.*,
        coalesce(posted.total, 0) as posted_total,
        coalesce(posted.tax, 0) as posted_tax
    from documents
    left join posted_by_document as posted
        on documents.business_id = posted.business_id
        and documents.stream = posted.stream
        and documents.document_id = posted.document_id
)

{% for check, part in {'document_totals': 'total', 'document_taxes': 'tax'}.items() %}
{{ 'union all' if not loop.first }}
select
    business_id,
    month,
    '{{ check }}' as check_id,
    sum(abs(posted_{{ part }})) as expected,
    sum(abs({{ part }})) as found,
    sum(case when is_posted then abs(posted_{{ part }} - {{ part }}) else 0 end) as difference,
    sum(case when is_posted then 0 else abs(posted_{{ part }}) end) as explained,
    count(*) as compared
from compared
{% if part == 'tax' %}where not is_opening_balance{% endif %}
group by 1, 2
{% endfor %}
