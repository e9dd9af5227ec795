-- Every account that something was posted to was loaded: without its type, nothing is known of its place in a statement.
with moved as (
    select distinct business_id, ledger_account_id from {{ ref('int_sage__account_movements') }}
)

select
    moved.business_id,
    {{ sage_month('coverage.as_of_date') }} as month,
    'known_accounts' as check_id,
    count(*) as expected,
    count(accounts.ledger_account_id) as found,
    count(*) - count(accounts.ledger_account_id) as difference,
    0 as explained,
    count(*) as compared
from moved
inner join {{ ref('int_sage__coverage') }} as coverage on moved.business_id = coverage.business_id
left join {{ ref('stg_sage__ledger_accounts') }} as accounts
    on moved.business_id = accounts.business_id and moved.ledger_account_id = accounts.ledger_account_id
group by 1, 2
