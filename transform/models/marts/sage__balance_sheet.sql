-- As of each month's end; assets are positive, what they are financed by is negative: the sum is nothing.
{% call sage_contracted() %}
with accounts as (
    select
        business_id, month, month_end, financial_year_end, ledger_account_id, nominal_code, account_name, account_type,
        account_group, closing_balance as balance
    from {{ ref('sage__trial_balance') }}
    where statement = 'balance_sheet'
),

earnings as (
    select business_id, month, financial_year_end, sum(movement) as movement
    from {{ ref('int_sage__account_movements') }}
    where statement = 'profit_and_loss'
    group by 1, 2, 3
),

profits as (
    select
        months.business_id,
        months.month,
        months.month_end,
        months.financial_year_end,
        sum(case when earnings.financial_year_end = months.financial_year_end then earnings.movement else 0 end) as this_year,
        sum(case when earnings.financial_year_end < months.financial_year_end then earnings.movement else 0 end) as earlier
    from {{ ref('int_sage__months') }} as months
    inner join earnings on months.business_id = earnings.business_id and earnings.month <= months.month
    group by 1, 2, 3, 4
),

lines as (
    select accounts.*, account_group as section from accounts
    {% for name, column in {'Profit of earlier years': 'earlier', 'Profit of this year': 'this_year'}.items() %}
    union all
    select
        business_id, month, month_end, financial_year_end,
        cast(null as {{ dbt.type_string() }}) as ledger_account_id,
        cast(null as {{ dbt.type_bigint() }}) as nominal_code,
        '{{ name }}' as account_name,
        'Profit' as account_type,
        'equity' as account_group,
        {{ column }} as balance,
        'equity' as section
    from profits
    {% endfor %}
)

select
    business_id,
    month,
    month_end,
    financial_year_end,
    case section when 'asset' then 'Assets' when 'liability' then 'Liabilities' else 'Equity' end as section,
    case section when 'asset' then 1 when 'liability' then 2 else 3 end as section_order,
    account_type,
    coalesce(ledger_account_id, account_name) as line_id,
    ledger_account_id,
    nominal_code,
    account_name,
    balance
from lines
{% endcall %}
