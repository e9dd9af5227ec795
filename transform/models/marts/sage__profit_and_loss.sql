-- Income is positive, expenses are negative: their sum is the profit.
{% call sage_contracted() %}
select
    business_id,
    month,
    {{ sage_month_end('month') }} as month_end,
    financial_year_end,
    ledger_account_id,
    nominal_code,
    account_name,
    account_type,
    case
        when account_type_id = 'SALES' then 1
        when account_type_id = 'DIRECT_EXPENSES' then 2
        when account_type_id = 'OTHER_INCOME' then 3
        when account_type_id = 'DEPRECIATION' then 5
        else 4
    end as section_order,
    case
        when account_type_id = 'SALES' then 'Sales'
        when account_type_id = 'DIRECT_EXPENSES' then 'Direct expenses'
        when account_type_id = 'OTHER_INCOME' then 'Other income'
        when account_type_id = 'DEPRECIATION' then 'Depreciation'
        else 'Overheads'
    end as section,
    -sum(movement) as amount
from {{ ref('int_sage__account_movements') }}
where statement = 'profit_and_loss'
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
{% endcall %}
