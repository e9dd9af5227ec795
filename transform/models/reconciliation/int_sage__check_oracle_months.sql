-- Sage's trial balance has every month from its first to today's, and none of them is empty.
with months as (
    select months.business_id, months.month
    from {{ ref('int_sage__months') }} as months
    inner join {{ ref('int_sage__coverage') }} as coverage
        on months.business_id = coverage.business_id
        and months.month between coverage.first_month and {{ sage_month('coverage.as_of_date') }}
),

oracle as (
    select business_id, month, count(*) as accounts
    from {{ ref('stg_sage__trial_balance') }}
    group by 1, 2
)

select
    months.business_id,
    months.month,
    'oracle_months' as check_id,
    1 as expected,
    case when coalesce(oracle.accounts, 0) > 0 then 1 else 0 end as found,
    case when coalesce(oracle.accounts, 0) > 0 then 0 else 1 end as difference,
    0 as explained,
    1 as compared
from months
left join oracle on months.business_id = oracle.business_id and months.month = oracle.month

{% for check in ['oracle_months', 'trial_balance'] %}
union all

-- Where nothing of it was loaded, the reconciliation says that nothing was checked.
select
    business_id,
    {{ sage_month('as_of_date') }} as month,
    '{{ check }}' as check_id,
    1 as expected,
    0 as found,
    1 as difference,
    0 as explained,
    0 as compared
from {{ ref('int_sage__coverage') }}
where first_month is null and as_of_date is not null
{% endfor %}
