-- Stock items with what is in stock and what Sage values it at.
{% call sage_contracted() %}
select
    business_id,
    product_id,
    item_code,
    description,
    is_active,
    quantity_in_stock,
    average_cost_price,
    stock_value
from {{ ref('stg_sage__products') }}
where kind = 'STOCK_ITEM'
{% endcall %}
