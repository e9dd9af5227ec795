-- Indirect: the profit, what of it is no cash, and what other balances took or gave, add up to the change of the bank.
{% call sage_contracted() %}
with movements as (
    select
        business_id, month, ledger_account_id, nominal_code, account_name, account_type_id, account_type, account_group,
        statement, sum(movement) as movement
    from {{ ref('int_sage__account_movements') }}
    where not is_opening_balance
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
),

classified as (
    select
        movements.*,
        case
            when account_type_id = 'BANK' then 'Bank'
            when statement = 'profit_and_loss' or account_type_id in ('CURRENT_ASSETS', 'CURRENT_LIABILITIES') then 'Operating'
            when account_group = 'asset' then 'Investing'
            else 'Financing'
        end as section
    from movements
),

lines as (
    select
        business_id, month, section,
        case when statement = 'profit_and_loss' then 'Profit' else account_name end as line,
        case when statement = 'profit_and_loss' then 'profit' else ledger_account_id end as line_id,
        case when statement = 'profit_and_loss' then null else nominal_code end as nominal_code,
        -movement as amount
    from classified
    where section <> 'Bank'

    union all

    -- Depreciation lowers the profit and costs no cash; it lowers the assets, too, which is no investment.
    select business_id, month, 'Operating' as section, 'Depreciation' as line, 'depreciation' as line_id, null as nominal_code, movement as amount
    from classified
    where account_type_id = 'DEPRECIATION'

    union all

    select business_id, month, 'Investing' as section, 'Depreciation' as line, 'depreciation' as line_id, null as nominal_code, -movement as amount
    from classified
    where account_type_id = 'DEPRECIATION'
)

select
    business_id,
    month,
    {{ sage_month_end('month') }} as month_end,
    section,
    case section when 'Operating' then 1 when 'Investing' then 2 else 3 end as section_order,
    line_id,
    max(nominal_code) as nominal_code,
    max(line) as line,
    sum(amount) as amount
from lines
group by 1, 2, 3, 4, 5, 6
{% endcall %}
