-- What settled open items, and when, with the part of the item's base amount that left the control account.
with allocations as (
    select
        business_id,
        item_id,
        stream,
        source_id,
        position,
        settled_on,
        transaction_id,
        abs(amount) as amount,
        abs(discount) as discount
    from {{ ref('stg_sage__allocations') }}
),

against_items as (
    select
        allocations.*,
        items.side,
        items.sign,
        items.contact_id,
        items.item_kind,
        items.item_number,
        items.item_date,
        items.currency_id,
        items.total_amount,
        items.base_total_amount,
        items.rate,
        sum(allocations.amount + allocations.discount) over (
            partition by allocations.item_id, allocations.business_id
            order by allocations.settled_on, allocations.transaction_id, allocations.source_id, allocations.position
            rows between unbounded preceding and current row
        ) as settled_so_far
    from allocations
    inner join {{ ref('int_sage__open_items') }} as items
        on allocations.business_id = items.business_id and allocations.item_id = items.item_id
),

converted as (
    select
        against_items.*,
        {{ sage_cents('(amount + discount) * rate') }} as base_converted
    from against_items
),

running as (
    select
        converted.*,
        sum(base_converted) over (
            partition by item_id, business_id
            order by settled_on, transaction_id, source_id, position
            rows between unbounded preceding and current row
        ) as base_converted_so_far
    from converted
)

select
    business_id,
    item_id,
    stream,
    source_id,
    position,
    settled_on,
    transaction_id,
    side,
    sign,
    contact_id,
    item_kind,
    item_number,
    item_date,
    currency_id,
    amount,
    discount,
    cast(settled_so_far as {{ sage_number_type() }}) as settled_so_far,
    -- The last part takes the rounding.
    cast(
        case
            when settled_so_far = total_amount then base_total_amount - (base_converted_so_far - base_converted)
            else base_converted
        end as {{ sage_number_type() }}
    ) as base_amount
from running
