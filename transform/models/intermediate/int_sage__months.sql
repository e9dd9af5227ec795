-- Every month of each business, from its first movement to its today.
with bounded as (
    select
        business_id,
        year_end_date,
        first_movement as first_month,
        case
            when last_movement > {{ sage_month('as_of_date') }} then last_movement
            else {{ sage_month('as_of_date') }}
        end as last_month
    from {{ ref('int_sage__coverage') }}
    where first_movement is not null
),

spread as (
    select
        bounded.business_id,
        bounded.year_end_date,
        {{ sage_plus_months('bounded.first_month', 'numbers.n') }} as month
    from bounded
    cross join {{ sage_numbers() }} as numbers
    where numbers.n <= {{ dbt.datediff('bounded.first_month', 'bounded.last_month', 'month') }}
)

select
    business_id,
    month,
    {{ sage_month_end('month') }} as month_end,
    {{ sage_financial_year_end(sage_month_end('month'), 'year_end_date') }} as financial_year_end
from spread
