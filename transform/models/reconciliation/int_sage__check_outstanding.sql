-- What Sage says is open of an item is its total less what settled it.
with settled as (
    select business_id, item_id, sum(amount + discount) as amount
    from {{ ref('int_sage__settlements') }}
    group by 1, 2
)

select
    items.business_id,
    {{ sage_month('items.item_date') }} as month,
    'outstanding_amounts' as check_id,
    sum(items.stated_outstanding) as expected,
    sum(items.total_amount - coalesce(settled.amount, 0)) as found,
    sum(abs(items.stated_outstanding - items.total_amount + coalesce(settled.amount, 0))) as difference,
    0 as explained,
    count(*) as compared
from {{ ref('int_sage__open_items') }} as items
left join settled on items.business_id = settled.business_id and items.item_id = settled.item_id
where items.stated_outstanding is not null
group by 1, 2
