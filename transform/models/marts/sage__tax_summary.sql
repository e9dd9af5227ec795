-- Tax by return period, side and rate, from the lines of documents and other payments, beside Sage's returns.
-- Lines that no return covers are put into the calendar quarter of their date, or into what the last return leaves of it.
{% call sage_contracted() %}
with returns as (
    select * from {{ ref('stg_sage__tax_returns') }}
),

returned as (
    select business_id, max(period_end_date) as last_day
    from returns
    group by 1
),

days as (
    select
        business_id,
        side,
        tax_rate_id,
        tax_date,
        sum(base_net_amount) as base_net_amount,
        sum(base_tax_amount) as base_tax_amount
    from {{ ref('int_sage__tax_lines') }}
    group by 1, 2, 3, 4
),

lines as (
    select
        lines.business_id,
        lines.side,
        lines.tax_rate_id,
        lines.base_net_amount,
        lines.base_tax_amount,
        returns.tax_return_id,
        returns.tax_return_number,
        returns.total_amount as return_total,
        case
            when returns.tax_return_id is not null then returns.period_start_date
            when returned.last_day between {{ sage_month(dbt.date_trunc('quarter', 'lines.tax_date')) }} and lines.tax_date
                then cast({{ dbt.dateadd('day', 1, 'returned.last_day') }} as date)
            else {{ sage_month(dbt.date_trunc('quarter', 'lines.tax_date')) }}
        end as period_start,
        coalesce(
            returns.period_end_date,
            {{ sage_month_end(sage_plus_months(sage_month(dbt.date_trunc('quarter', 'lines.tax_date')), 2)) }}
        ) as period_end
    from days as lines
    left join returns
        on lines.business_id = returns.business_id
        and lines.tax_date between returns.period_start_date and returns.period_end_date
    left join returned on lines.business_id = returned.business_id
),

-- A return of a period in which nothing was taxed.
nil_returns as (
    select
        returns.business_id,
        'sales' as side,
        cast(null as {{ dbt.type_string() }}) as tax_rate_id,
        0 as base_net_amount,
        0 as base_tax_amount,
        returns.tax_return_id,
        returns.tax_return_number,
        returns.total_amount as return_total,
        returns.period_start_date as period_start,
        returns.period_end_date as period_end
    from returns
    left join (select distinct business_id, tax_return_id from lines) as taxed
        on returns.business_id = taxed.business_id and returns.tax_return_id = taxed.tax_return_id
    where taxed.tax_return_id is null
),

rows_of_periods as (
    select * from lines
    union all
    select * from nil_returns
)

select
    lines.business_id,
    lines.period_start,
    lines.period_end,
    lines.tax_return_id,
    lines.tax_return_number,
    lines.side,
    coalesce(lines.tax_rate_id, 'none') as tax_rate_id,
    rates.tax_rate_name,
    rates.percentage,
    -- Boxes of the United Kingdom's return: tax due and reclaimed, sales and purchases without tax.
    case lines.side when 'sales' then 1 else 4 end as uk_tax_box,
    case lines.side when 'sales' then 6 else 7 end as uk_net_box,
    sum(lines.base_net_amount) as base_net_amount,
    sum(lines.base_tax_amount) as base_tax_amount,
    max(lines.return_total) as return_total
from rows_of_periods as lines
left join {{ ref('stg_sage__tax_rates') }} as rates
    on lines.business_id = rates.business_id and lines.tax_rate_id = rates.tax_rate_id
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
{% endcall %}
