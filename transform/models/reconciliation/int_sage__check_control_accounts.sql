-- Open items equal the control accounts at each month's end, contact by contact. What other transactions posted there,
-- such as journals and corrections, is not an item: it explains its part of the difference.
with item_transactions as (
    select business_id, transaction_id from {{ ref('int_sage__open_items') }}
    union distinct
    select business_id, transaction_id from {{ ref('stg_sage__payments') }}
    union distinct
    select business_id, transaction_id from {{ ref('stg_sage__allocations') }} where stream = 'contact_allocations'
    union distinct
    select business_id, transaction_id from {{ ref('int_sage__missing_documents') }}
),

entries as (
    select
        ledger.business_id,
        ledger.role,
        coalesce(ledger.contact_id, '') as contact_id,
        ledger.month,
        sum(case when item_transactions.transaction_id is not null then ledger.amount end) as of_items,
        sum(case when item_transactions.transaction_id is null then ledger.amount end) as of_others
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
        sum(case when side = 'sales' then base_outstanding else -base_outstanding end) as outstanding
    from {{ ref('sage__open_items_by_month') }}
    group by business_id, side, contact_id, month
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

-- A row for every month of a contact, whether or not something happened in it.
balances as (
    select
        contacts.business_id,
        contacts.role,
        months.month,
        coalesce(items.outstanding, 0) as outstanding,
        {%- for part in ('items', 'others') %}
        sum(coalesce(entries.of_{{ part }}, 0)) over (
            partition by contacts.contact_id, contacts.business_id, contacts.role order by months.month
            rows between unbounded preceding and current row
        ) as balance_of_{{ part }}{{ ',' if not loop.last }}
        {%- endfor %}
    from contacts
    inner join {{ ref('int_sage__months') }} as months
        on contacts.business_id = months.business_id and months.month >= contacts.first_month
    left join entries
        on contacts.business_id = entries.business_id
        and contacts.role = entries.role
        and contacts.contact_id = entries.contact_id
        and months.month = entries.month
    left join items
        on contacts.business_id = items.business_id
        and contacts.role = items.role
        and contacts.contact_id = items.contact_id
        and months.month = items.month
)

select
    business_id,
    month,
    role as check_id,
    sum(balance_of_items + balance_of_others) as expected,
    sum(outstanding) as found,
    sum(abs(balance_of_items - outstanding)) as difference,
    sum(balance_of_others) as explained,
    count(*) as compared
from balances
group by 1, 2, 3
