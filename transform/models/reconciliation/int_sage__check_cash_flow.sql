-- The cash flow statement adds up to what moved in the bank accounts, opening balances apart.
with flows as (
    select business_id, month, sum(amount) as amount
    from {{ ref('sage__cash_flow') }}
    group by 1, 2
),

bank as (
    select business_id, month, sum(movement) as movement
    from {{ ref('int_sage__account_movements') }}
    where account_type_id = 'BANK' and not is_opening_balance
    group by 1, 2
)

select
    coalesce(bank.business_id, flows.business_id) as business_id,
    coalesce(bank.month, flows.month) as month,
    'cash_flow' as check_id,
    coalesce(bank.movement, 0) as expected,
    coalesce(flows.amount, 0) as found,
    abs(coalesce(bank.movement, 0) - coalesce(flows.amount, 0)) as difference,
    0 as explained,
    1 as compared
from bank
full outer join flows on bank.business_id = flows.business_id and bank.month = flows.month
