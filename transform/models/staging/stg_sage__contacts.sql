{{ config(materialized='table') }}
with contacts as (
    {{ sage_source('contacts', [
        'business_id', 'id', 'name', 'displayed_as', 'reference', 'contact_types', 'balance', 'credit_limit',
        'credit_days', 'currency', 'email', 'tax_number', 'is_active', 'created_at', 'updated_at',
    ]) }}
),

types as (
    {{ sage_element_fields('contacts', 'contact_types', ['business_id', 'id'], {'contact_type_id': 'id'}) }}
),

roles as (
    select
        business_id,
        id,
        max(case when contact_type_id = 'CUSTOMER' then 1 else 0 end) = 1 as is_customer,
        max(case when contact_type_id = 'VENDOR' then 1 else 0 end) = 1 as is_supplier
    from types
    group by business_id, id
)

select
    contacts.business_id,
    contacts.id as contact_id,
    coalesce(contacts.name, contacts.displayed_as, contacts.id) as contact_name,
    contacts.reference,
    coalesce(roles.is_customer, false) as is_customer,
    coalesce(roles.is_supplier, false) as is_supplier,
    contacts.balance as sage_balance,
    contacts.credit_limit,
    contacts.credit_days,
    {{ sage_text('contacts.currency', 'id') }} as currency_id,
    contacts.email,
    contacts.tax_number,
    coalesce(contacts.is_active, true) as is_active,
    contacts.created_at,
    contacts.updated_at
from contacts
left join roles on contacts.business_id = roles.business_id and contacts.id = roles.id
