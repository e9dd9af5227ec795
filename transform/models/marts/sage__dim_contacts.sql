{% call sage_contracted() %}
select
    business_id, contact_id, contact_name, reference, is_customer, is_supplier, email, tax_number, currency_id,
    credit_limit, credit_days, is_active, created_at, updated_at
from {{ ref('stg_sage__contacts') }}
{% endcall %}
