-- What was open of each item from the end of a month on, until that of the next month in which something changed it.
with changes as (
    select
        business_id,
        item_id,
        {{ sage_month('item_date') }} as month,
        sign * total_amount as amount,
        sign * base_total_amount as base_amount
    from {{ ref('int_sage__open_items') }}

    union all

    select
        business_id,
        item_id,
        {{ sage_month('settled_on') }} as month,
        -sign * (amount + discount) as amount,
        -sign * base_amount as base_amount
    from {{ ref('int_sage__settlements') }}
),

-- All changes of a month are added up in each of its rows; the last one is kept. Items come first, as businesses are few
-- and a sort by them compares in vain.
running as (
    select
        business_id,
        item_id,
        month,
        lead(month) over (partition by item_id, business_id order by month) as next_month,
        cast(sum(amount) over (partition by item_id, business_id order by month) as {{ sage_number_type() }}) as outstanding,
        cast(sum(base_amount) over (partition by item_id, business_id order by month) as {{ sage_number_type() }}) as base_outstanding
    from changes
)

select * from running
where (next_month is null or next_month > month)
    and (outstanding <> 0 or base_outstanding <> 0)
