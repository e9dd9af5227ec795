-- Every day of every business's months, with its financial year.
{% call sage_contracted() %}
with days as (
    select
        months.business_id,
        months.month,
        months.month_end,
        coverage.year_end_date,
        cast({{ dbt.dateadd('day', 'numbers.n', 'months.month') }} as date) as day
    from {{ ref('int_sage__months') }} as months
    inner join {{ ref('int_sage__coverage') }} as coverage on months.business_id = coverage.business_id
    cross join {{ sage_numbers() }} as numbers
    where numbers.n < 31
)

select
    business_id,
    day,
    month,
    month_end,
    cast(extract(year from day) as {{ dbt.type_int() }}) as calendar_year,
    cast(extract(quarter from day) as {{ dbt.type_int() }}) as calendar_quarter,
    {{ sage_financial_year_end('day', 'year_end_date') }} as financial_year_end
from days
where day <= month_end
{% endcall %}
