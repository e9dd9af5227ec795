-- Tax by rate, from the lines of documents and other payments, is what those posted to the tax accounts.
with lines as (
    select business_id, month, side, sum(base_tax_amount) as tax_amount
    from {{ ref('int_sage__tax_lines') }}
    group by 1, 2, 3
),

taxed_transactions as (
    select distinct business_id, transaction_id from {{ ref('int_sage__tax_lines') }}
),

entries as (
    select
        ledger.business_id,
        ledger.month,
        case when roles.role = 'sales_tax' then 'sales' else 'purchases' end as side,
        sum(case when roles.role = 'sales_tax' then -ledger.amount else ledger.amount end) as tax_amount,
        sum(case when taxed.transaction_id is not null then 0 when roles.role = 'sales_tax' then -ledger.amount else ledger.amount end) as of_others
    from {{ ref('sage__general_ledger') }} as ledger
    inner join {{ ref('int_sage__control_accounts') }} as roles
        on ledger.business_id = roles.business_id
        and ledger.ledger_account_id = roles.ledger_account_id
        and roles.role in ('sales_tax', 'purchases_tax')
    left join taxed_transactions as taxed
        on ledger.business_id = taxed.business_id and ledger.transaction_id = taxed.transaction_id
    group by 1, 2, 3
)

select
    coalesce(entries.business_id, lines.business_id) as business_id,
    coalesce(entries.month, lines.month) as month,
    'tax_on_' || coalesce(entries.side, lines.side) as check_id,
    coalesce(entries.tax_amount, 0) as expected,
    coalesce(lines.tax_amount, 0) as found,
    abs(coalesce(entries.tax_amount, 0) - coalesce(entries.of_others, 0) - coalesce(lines.tax_amount, 0)) as difference,
    coalesce(entries.of_others, 0) as explained,
    1 as compared
from entries
full outer join lines
    on entries.business_id = lines.business_id and entries.month = lines.month and entries.side = lines.side
