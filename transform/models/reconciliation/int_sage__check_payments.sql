-- A payment is what it settled and what stayed on account.
with settled as (
    select business_id, source_id, sum(abs(amount)) as amount
    from {{ ref('stg_sage__allocations') }}
    where stream = 'contact_payments'
    group by 1, 2
)

select
    payments.business_id,
    {{ sage_month('payments.payment_date') }} as month,
    'payments' as check_id,
    sum(payments.total_amount) as expected,
    sum(coalesce(settled.amount, 0) + coalesce(payments.on_account_amount, 0)) as found,
    sum(abs(payments.total_amount - coalesce(settled.amount, 0) - coalesce(payments.on_account_amount, 0))) as difference,
    0 as explained,
    count(*) as compared
from {{ ref('stg_sage__payments') }} as payments
left join settled on payments.business_id = settled.business_id and payments.payment_id = settled.source_id
group by 1, 2
