-- Debits equal credits in each transaction.
with transactions as (
    select business_id, transaction_id, min(month) as month, sum(debit) as debit, sum(credit) as credit
    from {{ ref('sage__general_ledger') }}
    group by 1, 2
)

select
    business_id,
    month,
    'double_entry' as check_id,
    sum(debit) as expected,
    sum(credit) as found,
    sum(abs(debit - credit)) as difference,
    0 as explained,
    count(*) as compared
from transactions
group by 1, 2
