-- Whatever a contact owes or is owed: posted documents, opening balances, and payments on account.
with documents as (
    select
        business_id,
        document_id as item_id,
        stream,
        case when is_opening_balance then 'opening balance' when sign < 0 then 'credit note' else 'invoice' end as item_kind,
        side,
        sign,
        document_number as item_number,
        contact_id,
        contact_name,
        document_date as item_date,
        due_date,
        currency_id,
        total_amount,
        base_total_amount,
        exchange_rate,
        outstanding_amount as stated_outstanding,
        transaction_id
    from {{ ref('stg_sage__documents') }}
    where is_posted
),

on_account as (
    select
        business_id,
        on_account_id as item_id,
        'contact_payments' as stream,
        'payment on account' as item_kind,
        side,
        -sign as sign,
        reference as item_number,
        contact_id,
        contact_name,
        payment_date as item_date,
        payment_date as due_date,
        currency_id,
        on_account_amount as total_amount,
        base_on_account_amount as base_total_amount,
        coalesce(on_account_exchange_rate, exchange_rate) as exchange_rate,
        on_account_outstanding as stated_outstanding,
        transaction_id
    from {{ ref('stg_sage__payments') }}
    where on_account_id is not null
),

items as (
    select * from documents
    union all
    select * from on_account
)

select
    items.*,
    -- Sage does not say which way its rates go: take the one that leads from the total to its base.
    case
        when exchange_rate in (0, 1) then 1
        when abs(total_amount * exchange_rate - base_total_amount) <= abs(total_amount / exchange_rate - base_total_amount)
            then exchange_rate
        else cast(1 as {{ sage_decimal(38, 10) }}) / exchange_rate
    end as rate
from items
