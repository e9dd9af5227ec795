{% call sage_contracted() %}
select
    businesses.business_id,
    businesses.business_name,
    businesses.country_id,
    businesses.base_currency_id,
    businesses.year_end_date,
    businesses.year_end_lockdown_date,
    businesses.accounts_start_date,
    businesses.accounting_type,
    businesses.tax_scheme_id,
    businesses.tax_return_frequency_id,
    coverage.as_of_date,
    coverage.ledger_source
from {{ ref('stg_sage__businesses') }} as businesses
inner join {{ ref('int_sage__coverage') }} as coverage on businesses.business_id = coverage.business_id
{% endcall %}
