-- Open items equal the control accounts at each month's end, contact by contact. What other transactions posted there,
-- such as journals and corrections, is not an item: it explains its part of the difference.
with item_transactions as (
    select business_id, transaction_id from {{ ref('int_sage__open_items') }}
    union distinct
    select business_id, transaction_id from {{ ref('stg_sage__payments') }}
    union distinct
    select business_id, transaction_id from {{ ref('stg_sage__allocations') }}
    union distinct
    select business_id, transaction_id from {{ ref('int_sage__missing_documents') }}
),

entries as (
    select
        ledger.business_id,
        ledger.role,
        coalesce(ledger.contact_id, '') as contact_id,
        ledger.month,
        sum(case when item_transactions.transaction_id is null then 0 else ledger.amount end) as of_items,
        sum(case when item_transactions.transaction_id is null then ledger.amount else 0 end) as of_others
    from {{ ref('int_sage__control_entries') }} as ledger
    left join item_transactions
        on ledger.business_id = item_transactions.business_id
        and ledger.transaction_id = item_transactions.transaction_id
    where ledger.role in ('receivables', 'payables')
    group by 1, 2, 3, 4
),

items as (
    select
        business_id,
        case when side = 'sales' then 'receivables' else 'payables' end as role,
        coalesce(contact_id, '') as contact_id,
        month,
        sum(base_outstanding * case when side = 'sales' then 1 else -1 end) as outstanding
    from {{ ref('sage__open_items_by_month') }}
    group by 1, 2, 3, 4
),

contacts as (
    select business_id, role, contact_id, min(month) as first_month
    from (
        select business_id, role, contact_id, month from entries
        union all
        select business_id, role, contact_id, month from items
    ) as both_sides
    group by 1, 2, 3
),

spread as (
    select contacts.business_id, contacts.role, contacts.contact_id, months.month
    from contacts
    inner join {{ ref('int_sage__months') }} as months
        on contacts.business_id = months.business_id and months.month >= contacts.first_month
),

balances as (
    select
        spread.business_id,
        spread.role,
        spread.contact_id,
        spread.month,
        sum(coalesce(entries.of_items, 0)) over contact_so_far as balance_of_items,
        sum(coalesce(entries.of_others, 0)) over contact_so_far as balance_of_others
    from spread
    left join entries
        on spread.business_id = entries.business_id
        and spread.role = entries.role
        and spread.contact_id = entries.contact_id
        and spread.month = entries.month
    window contact_so_far as (
        partition by spread.business_id, spread.role, spread.contact_id order by spread.month
        rows between unbounded preceding and current row
    )
)

select
    balances.business_id,
    balances.month,
    balances.role as check_id,
    sum(balances.balance_of_items + balances.balance_of_others) as expected,
    sum(coalesce(items.outstanding, 0)) as found,
    sum(abs(balances.balance_of_items - coalesce(items.outstanding, 0))) as difference,
    sum(balances.balance_of_others) as explained,
    count(*) as compared
from balances
left join items
    on balances.business_id = items.business_id
    and balances.role = items.role
    and balances.contact_id = items.contact_id
    and balances.month = items.month
group by 1, 2, 3
