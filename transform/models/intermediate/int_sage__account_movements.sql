-- The one pass over the ledger that feeds all statements: business x account x month x financial year.
with coverage as (
    select * from {{ ref('int_sage__coverage') }}
),

ledger as (
    select
        general_ledger.business_id,
        general_ledger.ledger_account_id,
        general_ledger.month,
        general_ledger.financial_year_end,
        general_ledger.is_opening_balance,
        sum(general_ledger.debit) as debit,
        sum(general_ledger.credit) as credit,
        count(*) as entries
    from {{ ref('sage__general_ledger') }} as general_ledger
    inner join coverage on general_ledger.business_id = coverage.business_id
    where coverage.ledger_source = 'entries'
        or (coverage.ledger_source = 'brought forward' and general_ledger.entry_date >= coverage.first_month)
    group by 1, 2, 3, 4, 5
),

brought_forward as (
    select
        balances.business_id,
        balances.ledger_account_id,
        {{ sage_plus_months('balances.month', -1) }} as month,
        {{ dbt.dateadd('day', -1, 'balances.month') }} as last_day,
        true as is_opening_balance,
        balances.opening_balance as movement,
        coverage.year_end_date
    from {{ ref('stg_sage__trial_balance') }} as balances
    inner join coverage
        on balances.business_id = coverage.business_id
        and balances.month = coverage.first_month
    where coverage.ledger_source in ('brought forward', 'trial balance') and balances.opening_balance <> 0
),

-- Without entries, Sage's own months are all there is; one that two financial years share counts to the second.
from_oracle as (
    select
        balances.business_id,
        balances.ledger_account_id,
        balances.month,
        {{ sage_month_end('balances.month') }} as last_day,
        false as is_opening_balance,
        balances.movement,
        coverage.year_end_date
    from {{ ref('stg_sage__trial_balance') }} as balances
    inner join coverage on balances.business_id = coverage.business_id
    where coverage.ledger_source = 'trial balance' and balances.movement <> 0
),

from_sage as (
    select * from brought_forward
    union all
    select * from from_oracle
),

all_movements as (
    select
        business_id, ledger_account_id, month, financial_year_end, is_opening_balance, debit, credit, debit - credit as movement,
        entries
    from ledger

    union all

    select
        business_id,
        ledger_account_id,
        month,
        {{ sage_financial_year_end('cast(last_day as date)', 'year_end_date') }} as financial_year_end,
        is_opening_balance,
        case when movement > 0 then movement else 0 end as debit,
        case when movement < 0 then -movement else 0 end as credit,
        movement,
        0 as entries
    from from_sage
)

select
    movements.business_id,
    movements.ledger_account_id,
    movements.month,
    movements.financial_year_end,
    movements.is_opening_balance,
    movements.debit,
    movements.credit,
    movements.movement,
    movements.entries,
    accounts.nominal_code,
    coalesce(accounts.account_name, movements.ledger_account_id) as account_name,
    accounts.account_type_id,
    accounts.account_type,
    coalesce(accounts.account_group, 'equity') as account_group,
    coalesce(accounts.statement, 'balance_sheet') as statement
from all_movements as movements
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on movements.business_id = accounts.business_id
    and movements.ledger_account_id = accounts.ledger_account_id
