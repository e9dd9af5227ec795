-- The ledger accounts behind documents, found by what documents post: Sage's names for them are not documented.
with documents as (
    select business_id, transaction_id, side, sign, base_total_amount, base_tax_amount
    from {{ ref('stg_sage__documents') }}
    where is_posted
),

directed as (
    select documents.*, sign * case when side = 'sales' then 1 else -1 end as direction from documents
),

posted as (
    select
        directed.business_id,
        directed.side,
        entries.ledger_account_id,
        sum(case when entries.amount = directed.direction * directed.base_total_amount then 1 else 0 end) as control,
        sum(case
            when directed.base_tax_amount <> 0 and entries.amount = -directed.direction * directed.base_tax_amount then 1
            else 0
        end) as tax
    from directed
    inner join {{ ref('sage__general_ledger') }} as entries
        on directed.business_id = entries.business_id
        and directed.transaction_id = entries.transaction_id
    where entries.document_id is not null
    group by directed.business_id, directed.side, entries.ledger_account_id
),

counted as (
    {% for part in ('control', 'tax') %}
    {{ 'union all' if not loop.first }}
    select business_id, side, '{{ part }}' as part, ledger_account_id, {{ part }} as times
    from posted
    where {{ part }} > 0
    {% endfor %}
),

ranked as (
    select
        counted.*,
        row_number() over (partition by business_id, side, part order by times desc, ledger_account_id) as place
    from counted
),

found as (
    select
        business_id,
        ledger_account_id,
        case
            when part = 'tax' then side || '_tax'
            when side = 'sales' then 'receivables'
            else 'payables'
        end as role
    from ranked
    where place = 1
),

named as (
    select
        business_id,
        ledger_account_id,
        case
            when control_name like '%DEBTORS%' or control_name like '%RECEIVABLE%' then 'receivables'
            when control_name like '%CREDITORS%' or control_name like '%PAYABLE%' then 'payables'
            when control_name like '%SALES_TAX%' then 'sales_tax'
            when control_name like '%PURCHASE_TAX%' then 'purchases_tax'
        end as role
    from {{ ref('stg_sage__ledger_accounts') }}
    where is_control_account
),

configured as (
    select
        business_id,
        ledger_account_id,
        case
            when ledger_account_id in ({{ sage_list(var('sage_receivables_accounts')) }}) then 'receivables'
            else 'payables'
        end as role
    from {{ ref('stg_sage__ledger_accounts') }}
    where ledger_account_id in ({{ sage_list(var('sage_receivables_accounts') + var('sage_payables_accounts')) }})
),

by_source as (
    select 1 as preference, configured.* from configured
    union all
    select 2 as preference, found.* from found
    union all
    select 3 as preference, named.* from named where role is not null
),

preferred as (
    select by_source.*, min(preference) over (partition by business_id, role) as best from by_source
)

select distinct business_id, ledger_account_id, role
from preferred
where preference = best
