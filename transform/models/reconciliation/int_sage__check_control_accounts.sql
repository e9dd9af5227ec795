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
    inner join {{ ref('int_sage__months') }} as months
        on ledger.business_id = months.business_id and ledger.month = months.month
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

-- A row for every month of a contact, whether or not something happened in it.
by_month as (
    select
        business_id,
        role,
        contact_id,
        month,
        sum(of_items) as of_items,
        sum(of_others) as of_others,
        sum(outstanding) as outstanding
    from (
        select business_id, role, contact_id, month, of_items, of_others, 0 as outstanding from entries
        union all
        select business_id, role, contact_id, month, 0 as of_items, 0 as of_others, outstanding from items
        union all
        select contacts.business_id, contacts.role, contacts.contact_id, months.month, 0 as of_items, 0 as of_others, 0 as outstanding
        from contacts
        inner join {{ ref('int_sage__months') }} as months
            on contacts.business_id = months.business_id and months.month >= contacts.first_month
    ) as everything
    group by 1, 2, 3, 4
),

balances as (
    select
        business_id,
        role,
        month,
        outstanding,
        {%- for part in ('items', 'others') %}
        sum(of_{{ part }}) over (
            partition by business_id, role, contact_id order by month rows between unbounded preceding and current row
        ) as balance_of_{{ part }}{{ ',' if not loop.last }}
        {%- endfor %}
    from by_month
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
