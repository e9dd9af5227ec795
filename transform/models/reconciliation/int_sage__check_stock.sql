-- What Sage says is in stock is what its movements add up to, and its value is that quantity at average cost. Sage may
-- round the average; it posts no stock to the ledger but what people write as journals, so that there is no tie to that.
with moved as (
    select business_id, product_id, sum(quantity) as quantity
    from {{ ref('stg_sage__stock_movements') }}
    group by 1, 2
),

read_by_business as (
    select business_id, max(extracted_at) as read_at
    from {{ ref('stg_sage__stock_movements') }}
    group by 1
),

read_at_all as (
    select count(*) as movements, max(extracted_at) as read_at
    from {{ ref('stg_sage__stock_movements') }}
),

parts as (
    select
        items.business_id,
        'stock_quantities' as check_id,
        coalesce(moved.quantity, 0) as expected,
        coalesce(items.quantity_in_stock, 0) as found,
        0 as rounding
    from {{ ref('stg_sage__products') }} as items
    cross join read_at_all
    left join read_by_business on items.business_id = read_by_business.business_id
    left join moved on items.business_id = moved.business_id and items.product_id = moved.product_id
    -- An item that was read after the movements, which are read less often, may have moved in between.
    where items.kind = 'STOCK_ITEM'
        and read_at_all.movements > 0
        and coalesce(items.extracted_at <= coalesce(read_by_business.read_at, read_at_all.read_at), true)

    union all

    select
        business_id,
        'stock_values' as check_id,
        stock_value as expected,
        coalesce(quantity_in_stock * average_cost_price, 0) as found,
        abs(coalesce(quantity_in_stock, 0)) * {{ var('sage_tolerance') }} as rounding
    from {{ ref('sage__stock_valuation') }}
    where stock_value is not null
)

select
    parts.business_id,
    {{ sage_month('coverage.as_of_date') }} as month,
    parts.check_id,
    sum(parts.expected) as expected,
    sum(parts.found) as found,
    sum(case when abs(parts.expected - parts.found) <= parts.rounding then 0 else abs(parts.expected - parts.found) end) as difference,
    0 as explained,
    count(*) as compared
from parts
inner join {{ ref('int_sage__coverage') }} as coverage on parts.business_id = coverage.business_id
group by 1, 2, 3
