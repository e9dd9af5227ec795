-- Sage's own trial balance against ours: every account and month; the difference is the sum of all differences.
-- Accounts that an entry touched after Sage served its figures are left out from that month on.
with oracle as (
    select * from {{ ref('stg_sage__trial_balance') }}
),

served as (
    select business_id, min(read_at) as read_at from oracle group by 1
),

late as (
    select
        entries.business_id,
        entries.ledger_account_id,
        min(entries.month) as month,
        max(entries.updated_at) as changed_at
    from {{ ref('int_sage__changed_entries') }} as entries
    inner join served on entries.business_id = served.business_id and entries.updated_at >= served.read_at
    group by 1, 2
),

ours as (
    select business_id, ledger_account_id, month, opening_balance, movement, closing_balance
    from {{ ref('sage__trial_balance') }}
),

bounds as (
    select business_id, min(month) as first_month, max(month) as last_month from oracle group by 1
),

compared as (
    select
        coalesce(oracle.business_id, ours.business_id) as business_id,
        coalesce(oracle.ledger_account_id, ours.ledger_account_id) as ledger_account_id,
        coalesce(oracle.month, ours.month) as month,
        coalesce(oracle.closing_balance, 0) as expected,
        coalesce(ours.closing_balance, 0) as found,
        abs(coalesce(oracle.closing_balance, 0) - coalesce(ours.closing_balance, 0))
            + abs(coalesce(oracle.movement, 0) - coalesce(ours.movement, 0)) as difference,
        oracle.read_at
    from oracle
    full outer join ours
        on oracle.business_id = ours.business_id
        and oracle.ledger_account_id = ours.ledger_account_id
        and oracle.month = ours.month
)

select
    compared.business_id,
    compared.month,
    'trial_balance' as check_id,
    sum(abs(compared.expected)) as expected,
    sum(abs(compared.found)) as found,
    sum(case when late.month is null then compared.difference else 0 end) as difference,
    sum(case when late.month is null then 0 else compared.difference end) as explained,
    count(*) as compared
from compared
inner join bounds
    on compared.business_id = bounds.business_id
    and compared.month between bounds.first_month and bounds.last_month
left join late
    on compared.business_id = late.business_id
    and compared.ledger_account_id = late.ledger_account_id
    and compared.month >= late.month
    and (compared.read_at is null or late.changed_at >= compared.read_at)
group by 1, 2
