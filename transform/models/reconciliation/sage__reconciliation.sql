{% call sage_contracted() %}
{%- set checks = [
    'trial_balance', 'oracle_months', 'double_entry', 'balance_sheet', 'earnings', 'cash_flow', 'control_accounts',
    'documents', 'lines', 'payments', 'outstanding', 'taxes', 'contacts', 'bank_accounts', 'accounts', 'stock',
] -%}
-- One row per business, check and month. A certain check that differs is an error; one that rests on what Sage does not
-- document is a warning. What other transactions explain is named apart.
with checked as (
    {% for check in checks %}
    select
        business_id, month, check_id,
        cast(expected as {{ sage_number_type() }}) as expected,
        cast(found as {{ sage_number_type() }}) as found,
        cast(difference as {{ sage_number_type() }}) as difference,
        cast(explained as {{ sage_number_type() }}) as explained,
        cast(compared as {{ dbt.type_bigint() }}) as compared
    from {{ ref('int_sage__check_' ~ check) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

paying as (
    select distinct business_id
    from {{ ref('stg_sage__payments') }}
),

recorded as (
    select distinct business_id
    from {{ ref('stg_sage__transactions') }}
),

-- Checks that need all entries, or all movements of stock, say nothing where the ledger was not loaded, or from some day
-- on only. Those that need documents say nothing where the business has none of that side, as Start has no purchases;
-- those that need Sage's trial balance, where none of it was loaded. What is open says nothing where the edition, or the
-- user's rights, leave out all payments: then what settled it is not known. Without any transaction, nobody knows which
-- documents are missing, nor what opened the accounts. Without any account, no statement has lines: that is certain.
judged as (
    select
        checked.*,
        coverage.ledger_source,
        checked.check_id in ({{ sage_list([
            'contact_balances', 'bank_balances', 'known_accounts', 'stock_quantities', 'stock_values',
        ]) }}) and not (checked.check_id = 'known_accounts' and checked.found = 0) as is_hint,
        checked.check_id in ({{ sage_list([
            'receivables', 'payables', 'document_totals', 'document_taxes', 'tax_on_sales', 'tax_on_purchases',
            'contact_balances', 'bank_balances', 'double_entry', 'stock_quantities',
        ]) }}) as needs_entries,
        checked.check_id in ('oracle_months', 'trial_balance') and coverage.first_month is null as lacks_oracle,
        checked.check_id in ('receivables', 'tax_on_sales', 'contact_balances') and not coverage.has_sales_documents
            or checked.check_id in ('payables', 'tax_on_purchases', 'contact_balances') and not coverage.has_purchase_documents
                as lacks_documents,
        checked.check_id in ('outstanding_amounts', 'receivables', 'payables', 'contact_balances')
            and paying.business_id is null as lacks_payments,
        checked.check_id in ({{ sage_list([
            'receivables', 'payables', 'tax_on_sales', 'tax_on_purchases', 'cash_flow',
        ]) }}) and coverage.ledger_source = 'entries' and recorded.business_id is null as lacks_transactions
    from checked
    inner join {{ ref('int_sage__coverage') }} as coverage on checked.business_id = coverage.business_id
    left join paying on checked.business_id = paying.business_id
    left join recorded on checked.business_id = recorded.business_id
)

select
    business_id,
    check_id,
    month,
    {{ sage_month_end('month') }} as month_end,
    expected,
    found,
    difference,
    explained,
    compared,
    case when is_hint then 'warning' else 'error' end as severity,
    case
        when needs_entries and ledger_source <> 'entries' or lacks_documents or lacks_oracle or lacks_payments
            or lacks_transactions then 'not checked'
        when difference > {{ var('sage_tolerance') }} then 'differs'
        when abs(explained) > {{ var('sage_tolerance') }} then 'explained'
        else 'ties'
    end as verdict
from judged
{% endcall %}
