{#- Count up from 0: a subquery with a column `n`, 0 to 1,199: a hundred years of months. -#}
{% macro sage_numbers() %}
(
    select a.n + 10 * b.n + 100 * c.n + 1000 * d.n as n
    from {{ sage_accounting.sage_digits() }} as a
    cross join {{ sage_accounting.sage_digits() }} as b
    cross join {{ sage_accounting.sage_digits() }} as c
    cross join (select 0 as n union all select 1) as d
    where a.n + 10 * b.n + 100 * c.n + 1000 * d.n < 1200
)
{% endmacro %}

{% macro sage_digits() %}
({% for n in range(10) %}{{ 'union all ' if not loop.first }}select {{ n }}{{ ' as n' if loop.first }} {% endfor %})
{% endmacro %}


{#- The first day of the month of a date. -#}
{% macro sage_month(day) %}cast({{ dbt.date_trunc('month', day) }} as date){% endmacro %}


{#- The last day of the month of a date. -#}
{% macro sage_month_end(day) %}cast({{ dbt.last_day(day, 'month') }} as date){% endmacro %}


{#- The first day of a month so many months later. -#}
{% macro sage_plus_months(month, count) %}cast({{ dbt.dateadd('month', count, month) }} as date){% endmacro %}


{#- The last day of the financial year that a date belongs to.

    A year end on the last day of a month stays there in leap years; any other day of the month stays that day.

    Args:
        day: a date.
        year_end: a date on which a financial year ends, of any year.
-#}
{% macro sage_financial_year_end(day, year_end) %}
case
    when {{ day }} <= {{ sage_accounting.sage_year_end_in(day, year_end, 0) }}
        then {{ sage_accounting.sage_year_end_in(day, year_end, 0) }}
    else {{ sage_accounting.sage_year_end_in(day, year_end, 1) }}
end
{% endmacro %}

{#- The financial year's end that falls in the calendar year of a date, or so many years later. -#}
{% macro sage_year_end_in(day, year_end, later) %}
{%- set january = "cast(" ~ dbt.date_trunc('year', day) ~ " as date)" -%}
{%- set month = sage_accounting.sage_plus_months(january, "cast(extract(month from " ~ year_end ~ ") as integer) - 1 + " ~ (12 * later)) -%}
case
    when {{ year_end }} = {{ sage_accounting.sage_month_end(year_end) }} then {{ sage_accounting.sage_month_end(month) }}
    else cast({{ dbt.dateadd('day', "cast(extract(day from " ~ year_end ~ ") as integer) - 1", month) }} as date)
end
{%- endmacro %}
