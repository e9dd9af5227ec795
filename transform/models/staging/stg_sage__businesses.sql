with businesses as (
    {{ sage_source('businesses', ['business_id', 'name', 'displayed_as', 'country', 'created_at']) }}
),

settings as (
    {{ sage_source('financial_settings', [
        'business_id', 'year_end_date', 'year_end_lockdown_date', 'accounts_start_date', 'accounting_type',
        'base_currency', 'tax_scheme', 'tax_return_frequency', 'tax_number',
    ]) }}
),

balances as (
    {{ sage_source('trial_balance', ['business_id']) }}
),

-- A business whose own lists were not loaded is checked all the same: its books are there.
known as (
    select business_id from businesses
    union distinct
    select business_id from settings
    union distinct
    select business_id from balances
)

select
    known.business_id,
    coalesce(businesses.name, businesses.displayed_as, known.business_id) as business_name,
    {{ sage_text('businesses.country', 'id') }} as country_id,
    {{ sage_text('settings.base_currency', 'id') }} as base_currency_id,
    coalesce(settings.year_end_date, cast('2000-12-31' as date)) as year_end_date,
    settings.year_end_lockdown_date,
    settings.accounts_start_date,
    settings.accounting_type,
    {{ sage_text('settings.tax_scheme', 'id') }} as tax_scheme_id,
    {{ sage_text('settings.tax_return_frequency', 'id') }} as tax_return_frequency_id,
    settings.tax_number
from known
left join businesses on known.business_id = businesses.business_id
left join settings on known.business_id = settings.business_id
