{% call sage_contracted() %}
select business_id, product_id, item_code, description, kind, is_active, cost_price from {{ ref('stg_sage__products') }}
{% endcall %}
