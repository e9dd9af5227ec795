-- Every open item as of each month's end at which something of it was open.
with items as (
    select * from {{ ref('int_sage__open_items') }}
),

settled as (
    select
        business_id,
        item_id,
        {{ sage_month('settled_on') }} as month,
        sum(amount + discount) as amount,
        sum(base_amount) as base_amount
    from {{ ref('int_sage__settlements') }}
    group by 1, 2, 3
),

-- An item that was settled in full is open until its last settlement.
lives as (
    select
        items.business_id,
        items.item_id,
        min(settled.month) as first_settled,
        max(settled.month) as last_settled,
        coalesce(sum(settled.amount), 0) as settled_amount
    from items
    left join settled on items.business_id = settled.business_id and items.item_id = settled.item_id
    group by 1, 2
),

spans as (
    select
        items.business_id,
        items.item_id,
        case
            when lives.first_settled < {{ sage_month('items.item_date') }} then lives.first_settled
            else {{ sage_month('items.item_date') }}
        end as first_month,
        case when lives.settled_amount = items.total_amount then lives.last_settled end as last_month
    from items
    inner join lives on items.business_id = lives.business_id and items.item_id = lives.item_id
),

spread as (
    select
        spans.business_id,
        spans.item_id,
        months.month,
        months.month_end
    from spans
    inner join {{ ref('int_sage__months') }} as months
        on spans.business_id = months.business_id
        and months.month >= spans.first_month
        and (spans.last_month is null or months.month <= spans.last_month)
),

running as (
    select
        spread.business_id,
        spread.item_id,
        spread.month,
        spread.month_end,
        sum(coalesce(settled.amount, 0)) over item_so_far as settled_amount,
        sum(coalesce(settled.base_amount, 0)) over item_so_far as base_settled_amount
    from spread
    left join settled
        on spread.business_id = settled.business_id
        and spread.item_id = settled.item_id
        and spread.month = settled.month
    window item_so_far as (
        partition by spread.business_id, spread.item_id order by spread.month
        rows between unbounded preceding and current row
    )
),

valued as (
    select
        running.business_id,
        running.item_id,
        running.month,
        running.month_end,
        cast(
            case when items.item_date <= running.month_end then items.total_amount else 0 end
            - running.settled_amount as {{ sage_number_type() }}
        ) as outstanding,
        cast(
            case when items.item_date <= running.month_end then items.base_total_amount else 0 end
            - running.base_settled_amount as {{ sage_number_type() }}
        ) as base_outstanding
    from running
    inner join items on running.business_id = items.business_id and running.item_id = items.item_id
)

select * from valued
where outstanding <> 0 or base_outstanding <> 0
