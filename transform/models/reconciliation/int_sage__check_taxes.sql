-- Tax by rate, from the lines of documents and other payments, is what those posted to the tax accounts. What others
-- posted there, such as the journal that settles a return, is named apart; so is tax that the buyer accounts for under
-- a reverse charge, which stands in both tax accounts and in no line.
with lines as (
    select business_id, month, side, sum(base_tax_amount) as tax_amount
    from {{ ref('int_sage__tax_lines') }}
    group by 1, 2, 3
),

taxed_transactions as (
    select business_id, transaction_id, min(side) as side
    from (
        select business_id, transaction_id, side from {{ ref('int_sage__posted_documents') }}
        where not is_opening_balance and last_line_number is not null
        union all
        select business_id, transaction_id, side from {{ ref('stg_sage__other_payments') }}
        union all
        select business_id, transaction_id, side from {{ ref('int_sage__missing_documents') }}
    ) as all_kinds
    group by 1, 2
),

entries as (
    select
        ledger.business_id,
        ledger.month,
        case when ledger.role = 'sales_tax' then 'sales' else 'purchases' end as account_side,
        taxed.side as transaction_side,
        sum(case when ledger.role = 'sales_tax' then -ledger.amount else ledger.amount end) as amount
    from {{ ref('int_sage__control_entries') }} as ledger
    left join taxed_transactions as taxed
        on ledger.business_id = taxed.business_id and ledger.transaction_id = taxed.transaction_id
    where ledger.role in ('sales_tax', 'purchases_tax')
    group by 1, 2, 3, 4
),

parts as (
    select
        business_id,
        month,
        account_side as side,
        amount as posted,
        case when transaction_side = account_side then 0 else amount end as explained,
        0 as of_lines
    from entries

    union all

    -- The other half of a reverse charge.
    select business_id, month, transaction_side as side, 0 as posted, amount as explained, 0 as of_lines
    from entries
    where transaction_side <> account_side

    union all

    select business_id, month, side, 0 as posted, 0 as explained, tax_amount as of_lines
    from lines
)

select
    business_id,
    month,
    'tax_on_' || side as check_id,
    sum(posted) as expected,
    sum(of_lines) as found,
    abs(sum(posted) - sum(explained) - sum(of_lines)) as difference,
    sum(explained) as explained,
    1 as compared
from parts
group by 1, 2, 3
