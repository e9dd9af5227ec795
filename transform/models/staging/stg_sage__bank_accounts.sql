with accounts as (
    {{ sage_source('bank_accounts', [
        'business_id', 'id', 'displayed_as', 'ledger_account', 'bank_account_type', 'balance', 'currency', 'nominal_code',
        'is_active',
    ]) }}
)

select
    business_id,
    id as bank_account_id,
    coalesce(displayed_as, id) as bank_account_name,
    {{ sage_text('ledger_account', 'id') }} as ledger_account_id,
    {{ sage_text('bank_account_type', 'id') }} as bank_account_type_id,
    balance as sage_balance,
    {{ sage_text('currency', 'id') }} as currency_id,
    coalesce(is_active, true) as is_active
from accounts
