with rates as (
    {{ sage_source('tax_rates', ['business_id', 'id', 'name', 'displayed_as', 'percentage']) }}
)

select
    business_id,
    id as tax_rate_id,
    coalesce(name, displayed_as, id) as tax_rate_name,
    percentage
from rates
