-- What Sage says a contact's balance is, against the contact's open items, now. Sage may keep either the one or the other
-- behind, and does not say in which currency: a hint, no proof.
with items as (
    select business_id, contact_id, sum(base_outstanding) as base_outstanding, sum(outstanding) as outstanding
    from {{ ref('int_sage__open_items_today') }}
    group by 1, 2
),

compared as (
    select
        contacts.business_id,
        abs(contacts.sage_balance) as expected,
        abs(coalesce(items.base_outstanding, 0)) as found,
        abs(coalesce(items.outstanding, 0)) as found_in_currency
    from {{ ref('stg_sage__contacts') }} as contacts
    left join items on contacts.business_id = items.business_id and contacts.contact_id = items.contact_id
    where contacts.sage_balance is not null
)

select
    compared.business_id,
    {{ sage_month('coverage.as_of_date') }} as month,
    'contact_balances' as check_id,
    sum(compared.expected) as expected,
    sum(compared.found) as found,
    sum(case
        when abs(compared.expected - compared.found) <= abs(compared.expected - compared.found_in_currency)
            then abs(compared.expected - compared.found)
        else abs(compared.expected - compared.found_in_currency)
    end) as difference,
    0 as explained,
    count(*) as compared
from compared
inner join {{ ref('int_sage__coverage') }} as coverage on compared.business_id = coverage.business_id
group by 1, 2
