{{ config(materialized='table') }}
with accounts as (
    {{ sage_source('ledger_accounts', [
        'business_id', 'id', 'name', 'displayed_as', 'nominal_code', 'ledger_account_group', 'ledger_account_type',
        'is_control_account', 'control_name',
    ]) }}
),

read as (
    select
        business_id,
        id as ledger_account_id,
        nominal_code,
        coalesce(name, displayed_as, id) as account_name,
        {{ sage_text('ledger_account_group', 'id') }} as sage_group_id,
        {{ sage_text('ledger_account_type', 'id') }} as account_type_id,
        {{ sage_text('ledger_account_type', 'displayed_as') }} as account_type,
        coalesce(is_control_account, false) as is_control_account,
        control_name
    from accounts
),

grouped as (
    select
        read.*,
        case
            when account_type_id in ('SALES', 'OTHER_INCOME') then 'income'
            when account_type_id in ('DIRECT_EXPENSES', 'OVERHEADS', 'DEPRECIATION') then 'expense'
            when account_type_id in ('BANK', 'CURRENT_ASSETS', 'FIXED_ASSETS', 'FUTURE_ASSETS') then 'asset'
            when account_type_id in ('CURRENT_LIABILITIES', 'FUTURE_LIABILITIES', 'CREDIT_CARDS', 'LOANS') then 'liability'
            when account_type_id = 'EQUITY' then 'equity'
            when sage_group_id = 'INCOME' then 'income'
            when sage_group_id = 'EXPENSE' then 'expense'
            when sage_group_id = 'ASSET' then 'asset'
            when sage_group_id = 'LIABILITY' then 'liability'
            else 'equity'
        end as account_group
    from read
)

select
    grouped.*,
    case when account_group in ('income', 'expense') then 'profit_and_loss' else 'balance_sheet' end as statement,
    case when account_group in ('asset', 'expense') then 1 else -1 end as natural_sign
from grouped
