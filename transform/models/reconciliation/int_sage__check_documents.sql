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
        is_opening_balance
    from {{ ref('stg_sage__documents') }}
    where transaction_id is not null
),

posted as (
    select
        ledger.business_id,
        ledger.transaction_id,
        sum(case when roles.role in ('receivables', 'payables') then ledger.amount else 0 end) as total,
        sum(case when roles.role in ('sales_tax', 'purchases_tax') then ledger.amount else 0 end) as tax
    from {{ ref('sage__general_ledger') }} as ledger
    inner join {{ ref('int_sage__control_accounts') }} as roles
        on ledger.business_id = roles.business_id and ledger.ledger_account_id = roles.ledger_account_id
    group by 1, 2
),

compared as (
    select
        documents.*,
        coalesce(posted.total, 0) as posted_total,
        coalesce(posted.tax, 0) as posted_tax
    from documents
    left join posted
        on documents.business_id = posted.business_id and documents.transaction_id = posted.transaction_id
)

select
    business_id, month, 'document_totals' as check_id,
    sum(abs(posted_total)) as expected, sum(abs(total)) as found, sum(abs(posted_total - total)) as difference,
    0 as explained, count(*) as compared
from compared
group by 1, 2

union all

select
    business_id, month, 'document_taxes' as check_id,
    sum(abs(posted_tax)) as expected, sum(abs(tax)) as found, sum(abs(posted_tax - tax)) as difference,
    0 as explained, count(*) as compared
from compared
where not is_opening_balance
group by 1, 2
