{% call sage_contracted() %}
with bank as (
    select balances.*
    from {{ ref('sage__trial_balance') }} as balances
    inner join {{ ref('stg_sage__ledger_accounts') }} as accounts
        on balances.business_id = accounts.business_id and balances.ledger_account_id = accounts.ledger_account_id
    where accounts.account_type_id = 'BANK'
),

-- Two bank accounts may share a ledger account; their names stand side by side.
named as (
    select
        business_id,
        ledger_account_id,
        min(bank_account_id) as bank_account_id,
        min(bank_account_name) as bank_account_name,
        min(currency_id) as currency_id,
        count(*) as bank_accounts
    from {{ ref('stg_sage__bank_accounts') }}
    group by 1, 2
)

select
    bank.business_id,
    bank.month,
    bank.month_end,
    bank.ledger_account_id,
    bank.nominal_code,
    coalesce(named.bank_account_name, bank.account_name) as bank_account_name,
    case when named.bank_accounts = 1 then named.bank_account_id end as bank_account_id,
    case when named.bank_accounts = 1 then named.currency_id end as currency_id,
    bank.opening_balance,
    bank.movement,
    bank.closing_balance
from bank
left join named on bank.business_id = named.business_id and bank.ledger_account_id = named.ledger_account_id
{% endcall %}
