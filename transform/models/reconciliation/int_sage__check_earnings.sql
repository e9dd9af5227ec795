-- The profit of the year in the balance sheet is what the profit and loss statement shows of the year so far.
with sheet as (
    select business_id, month, financial_year_end, -balance as profit
    from {{ ref('sage__balance_sheet') }}
    where line_id = 'Profit of this year'
),

statement as (
    select sheet.business_id, sheet.month, sum(coalesce(lines.amount, 0)) as profit
    from sheet
    left join {{ ref('sage__profit_and_loss') }} as lines
        on sheet.business_id = lines.business_id
        and sheet.financial_year_end = lines.financial_year_end
        and lines.month <= sheet.month
    group by 1, 2
)

select
    sheet.business_id,
    sheet.month,
    'earnings' as check_id,
    statement.profit as expected,
    sheet.profit as found,
    abs(statement.profit - sheet.profit) as difference,
    0 as explained,
    1 as compared
from sheet
inner join statement on sheet.business_id = statement.business_id and sheet.month = statement.month
