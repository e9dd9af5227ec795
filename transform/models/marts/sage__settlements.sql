-- What settled what: each part of a payment or of an allocation, against the item that it settles.
{% call sage_contracted() %}
select
    settlements.business_id,
    settlements.stream,
    settlements.source_id,
    settlements.position,
    settlements.settled_on,
    {{ sage_month('settlements.settled_on') }} as month,
    settlements.transaction_id,
    settlements.side,
    settlements.contact_id,
    contacts.contact_name,
    settlements.item_id,
    settlements.item_kind,
    settlements.item_number,
    settlements.item_date,
    {{ dbt.datediff('settlements.item_date', 'settlements.settled_on', 'day') }} as days_to_settle,
    payments.bank_account_id,
    payments.payment_method,
    payments.reference as payment_reference,
    settlements.currency_id,
    settlements.sign * settlements.amount as amount,
    settlements.sign * settlements.discount as discount,
    settlements.sign * settlements.base_amount as base_amount
from {{ ref('int_sage__settlements') }} as settlements
left join {{ ref('stg_sage__payments') }} as payments
    on settlements.business_id = payments.business_id
    and settlements.source_id = payments.payment_id
    and settlements.stream = 'contact_payments'
left join {{ ref('stg_sage__contacts') }} as contacts
    on settlements.business_id = contacts.business_id and settlements.contact_id = contacts.contact_id
{% endcall %}
