{% call sage_contracted() %}
with movements as (
    select
        business_id, ledger_account_id, nominal_code, account_name, account_type, account_group, statement, month,
        sum(movement) as movement
    from {{ ref('int_sage__account_movements') }}
    group by 1, 2, 3, 4, 5, 6, 7, 8
),

accounts as (
    select
        business_id, ledger_account_id, nominal_code, account_name, account_type, account_group, statement,
        min(month) as first_month
    from movements
    group by 1, 2, 3, 4, 5, 6, 7
),

spread as (
    select accounts.*, months.month, months.month_end, months.financial_year_end
    from accounts
    inner join {{ ref('int_sage__months') }} as months
        on accounts.business_id = months.business_id and months.month >= accounts.first_month
),

running as (
    select
        spread.business_id,
        spread.ledger_account_id,
        spread.nominal_code,
        spread.account_name,
        spread.account_type,
        spread.account_group,
        spread.statement,
        spread.month,
        spread.month_end,
        spread.financial_year_end,
        coalesce(movements.movement, 0) as movement,
        sum(coalesce(movements.movement, 0)) over (
            partition by spread.business_id, spread.ledger_account_id order by spread.month
            rows between unbounded preceding and current row
        ) as closing_balance
    from spread
    left join movements
        on spread.business_id = movements.business_id
        and spread.ledger_account_id = movements.ledger_account_id
        and spread.month = movements.month
)

select
    business_id,
    ledger_account_id,
    nominal_code,
    account_name,
    account_type,
    account_group,
    statement,
    month,
    month_end,
    financial_year_end,
    closing_balance - movement as opening_balance,
    movement,
    closing_balance,
    case when closing_balance > 0 then closing_balance else 0 end as closing_debit,
    case when closing_balance < 0 then -closing_balance else 0 end as closing_credit
from running
{% endcall %}
