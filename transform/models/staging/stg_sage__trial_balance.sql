with balances as (
    {{ sage_source('trial_balance', [
        'business_id', 'from_date', 'to_date', 'ledger_account_id', 'opening_balance_debit', 'opening_balance_credit',
        'debit', 'credit', 'closing_balance_debit', 'closing_balance_credit', 'read_at',
    ]) }}
)

select
    business_id,
    from_date as month,
    ledger_account_id,
    coalesce(opening_balance_debit, 0) - coalesce(opening_balance_credit, 0) as opening_balance,
    coalesce(debit, 0) - coalesce(credit, 0) as movement,
    coalesce(closing_balance_debit, 0) - coalesce(closing_balance_credit, 0) as closing_balance,
    coalesce(read_at, extracted_at) as read_at
from balances
