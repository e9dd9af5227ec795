{#- Describe the contacts of one side: what they bought or sold, owe or are owed, and how fast they settle.

    Args:
        side: 'sales' or 'purchases'.
        role: the column of stg_sage__contacts that names them.
-#}
{% macro sage_contacts(side, role) %}
with contacts as (
    select * from {{ ref('stg_sage__contacts') }}
),

documents as (
    select
        business_id,
        contact_id,
        min(document_date) as first_document_date,
        max(document_date) as last_document_date,
        sum(case when sign > 0 and not is_opening_balance then 1 else 0 end) as invoices,
        sum(case when is_opening_balance then 0 else sign * base_net_amount end) as base_net_amount
    from {{ ref('stg_sage__documents') }}
    where side = '{{ side }}' and is_posted
    group by 1, 2
),

open_items as (
    select
        business_id,
        contact_id,
        sum(base_outstanding) as base_outstanding,
        sum(case when due_date < as_of_date then base_outstanding else 0 end) as base_overdue
    from {{ ref('int_sage__open_items_today') }}
    where side = '{{ side }}'
    group by 1, 2
),

payments as (
    select business_id, contact_id, max(payment_date) as last_payment_date
    from {{ ref('stg_sage__payments') }}
    where side = '{{ side }}'
    group by 1, 2
),

-- Days to pay, of invoices, weighted by what was settled.
speed as (
    select
        business_id,
        contact_id,
        sum(days_to_settle * base_amount) / nullif(sum(base_amount), 0) as average_days_to_pay
    from {{ ref('sage__settlements') }}
    where side = '{{ side }}' and item_kind = 'invoice'
    group by 1, 2
)

select
    contacts.business_id,
    contacts.contact_id,
    contacts.contact_name,
    contacts.reference,
    contacts.email,
    contacts.tax_number,
    contacts.currency_id,
    contacts.credit_limit,
    contacts.credit_days,
    contacts.is_active,
    coalesce(documents.invoices, 0) as invoices,
    coalesce(documents.base_net_amount, 0) as base_net_amount,
    documents.first_document_date,
    documents.last_document_date,
    payments.last_payment_date,
    coalesce(open_items.base_outstanding, 0) as base_outstanding,
    coalesce(open_items.base_overdue, 0) as base_overdue,
    cast(speed.average_days_to_pay as {{ sage_accounting.sage_number_type() }}) as average_days_to_pay
from contacts
left join documents on contacts.business_id = documents.business_id and contacts.contact_id = documents.contact_id
left join open_items on contacts.business_id = open_items.business_id and contacts.contact_id = open_items.contact_id
left join payments on contacts.business_id = payments.business_id and contacts.contact_id = payments.contact_id
left join speed on contacts.business_id = speed.business_id and contacts.contact_id = speed.contact_id
where contacts.{{ role }} or documents.contact_id is not null or payments.contact_id is not null
{% endmacro %}
