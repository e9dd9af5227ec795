{{ config(materialized='view') }}
-- Every open item as of each month's end at which something of it was open: what changed it, month by month, added up,
-- and each result spread over the months until the next change.
with changes as (
    select
        business_id,
        item_id,
        {{ sage_month('item_date') }} as month,
        total_amount as amount,
        base_total_amount as base_amount
    from {{ ref('int_sage__open_items') }}

    union all

    select
        business_id,
        item_id,
        {{ sage_month('settled_on') }} as month,
        -(amount + discount) as amount,
        -base_amount as base_amount
    from {{ ref('int_sage__settlements') }}
),

by_month as (
    select business_id, item_id, month, sum(amount) as amount, sum(base_amount) as base_amount
    from changes
    group by 1, 2, 3
),

running as (
    select
        business_id,
        item_id,
        month,
        lead(month) over (partition by business_id, item_id order by month) as next_month,
        cast(
            sum(amount) over (
                partition by business_id, item_id order by month rows between unbounded preceding and current row
            ) as {{ sage_number_type() }}
        ) as outstanding,
        cast(
            sum(base_amount) over (
                partition by business_id, item_id order by month rows between unbounded preceding and current row
            ) as {{ sage_number_type() }}
        ) as base_outstanding
    from by_month
),

still_open as (
    select * from running
    where outstanding <> 0 or base_outstanding <> 0
)

select
    still_open.business_id,
    still_open.item_id,
    months.month,
    months.month_end,
    still_open.outstanding,
    still_open.base_outstanding
from still_open
inner join {{ ref('int_sage__months') }} as months
    on still_open.business_id = months.business_id
    and months.month >= still_open.month
    and (still_open.next_month is null or months.month < still_open.next_month)
