with movements as (
    {{ sage_source('stock_movements', ['business_id', 'id', 'date', 'quantity', 'cost_price', 'details', 'stock_item']) }}
)

select
    business_id,
    id as stock_movement_id,
    {{ sage_text('stock_item', 'id') }} as product_id,
    date as moved_at,
    quantity,
    cost_price,
    details,
    extracted_at
from movements
