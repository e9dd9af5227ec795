-- Assets equal liabilities and equity at each month's end.
select
    business_id,
    month,
    'balance_sheet' as check_id,
    sum(case when section = 'Assets' then balance else 0 end) as expected,
    -sum(case when section = 'Assets' then 0 else balance end) as found,
    abs(sum(balance)) as difference,
    0 as explained,
    count(*) as compared
from {{ ref('sage__balance_sheet') }}
group by 1, 2
