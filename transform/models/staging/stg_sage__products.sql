{{ config(materialized='table') }}
{%- set streams = {'products': 'PRODUCT', 'services': 'SERVICE', 'stock_items': 'STOCK_ITEM'} -%}
with items as (
    {% for stream, kind in streams.items() %}
    {{ 'union all' if not loop.first }}
    select
        business_id, id as product_id, item_code, description, active as is_active, '{{ kind }}' as kind_of_stream,
        {% if stream == 'products' %}{{ sage_text('catalog_item_type', 'id') }}{% else %}cast(null as {{ dbt.type_string() }}){% endif %} as catalog_item_type_id,
        {% if stream == 'services' %}cast(null as {{ sage_number_type('price') }}){% else %}cost_price{% endif %} as cost_price,
        {% if stream == 'stock_items' %}quantity_in_stock, average_cost_price, average_cost_price_stock_value
        {% else %}cast(null as {{ sage_number_type('quantity') }}) as quantity_in_stock,
        cast(null as {{ sage_number_type('price') }}) as average_cost_price,
        cast(null as {{ sage_number_type() }}) as average_cost_price_stock_value{% endif %},
        extracted_at
    from ({{ sage_source(stream, ['business_id', 'id', 'item_code', 'description', 'active']
        + (['catalog_item_type'] if stream == 'products' else [])
        + (['cost_price'] if stream != 'services' else [])
        + (['quantity_in_stock', 'average_cost_price', 'average_cost_price_stock_value'] if stream == 'stock_items' else [])
    ) }}) as source
    {% endfor %}
)

-- Sage lists stock items among the products once more.
select
    business_id,
    product_id,
    item_code,
    description,
    kind_of_stream as kind,
    coalesce(is_active, true) as is_active,
    cost_price,
    quantity_in_stock,
    average_cost_price,
    average_cost_price_stock_value as stock_value,
    extracted_at
from items
where not (kind_of_stream = 'PRODUCT' and coalesce(catalog_item_type_id, 'PRODUCT') = 'STOCK_ITEM')
