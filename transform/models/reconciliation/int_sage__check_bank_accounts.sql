-- What Sage says a bank account holds, against its ledger account, now; only where the account is kept in base currency
-- and has a ledger account of its own.
select
    accounts.business_id,
    {{ sage_month('coverage.as_of_date') }} as month,
    'bank_balances' as check_id,
    sum(accounts.sage_balance) as expected,
    sum(coalesce(position.closing_balance, 0)) as found,
    sum(abs(accounts.sage_balance - coalesce(position.closing_balance, 0))) as difference,
    0 as explained,
    count(*) as compared
from {{ ref('stg_sage__bank_accounts') }} as accounts
inner join {{ ref('stg_sage__businesses') }} as businesses
    on accounts.business_id = businesses.business_id and accounts.currency_id = businesses.base_currency_id
inner join {{ ref('int_sage__coverage') }} as coverage on accounts.business_id = coverage.business_id
left join {{ ref('sage__bank_position') }} as position
    on accounts.business_id = position.business_id
    and accounts.ledger_account_id = position.ledger_account_id
    and position.month = {{ sage_month('coverage.as_of_date') }}
where accounts.sage_balance is not null and (position.bank_account_id is not null or position.ledger_account_id is null)
group by 1, 2
