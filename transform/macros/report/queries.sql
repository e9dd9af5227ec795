{#- What the report shows, read from the marts in SQL that every warehouse knows. -#}

{#- Run a query.

    Returns: a list of rows, each a map from column to value. Texts are escaped for HTML here and nowhere else.
-#}
{% macro sage_report_rows(query) %}
{%- set table = run_query(query) -%}
{%- set rows = [] -%}
{%- for values in table.rows -%}
  {%- set row = {} -%}
  {%- for name in table.column_names -%}
    {%- set value = values[loop.index0] -%}
    {%- do row.update({name | lower: (value | e) ~ '' if value is string else value}) -%}
  {%- endfor -%}
  {%- do rows.append(row) -%}
{%- endfor -%}
{{ return(rows) }}
{% endmacro %}


{#- Read all that the report shows.

    Returns: a map from part to rows, of all businesses.
-#}
{% macro sage_report_data() %}
{%- set queries = {
    'businesses': sage_accounting.sage_report_businesses(),
    'verdicts': sage_accounting.sage_report_verdicts(),
    'findings': sage_accounting.sage_report_findings(),
    'profit': sage_accounting.sage_report_profit(),
    'balances': sage_accounting.sage_report_balances(),
    'banks': sage_accounting.sage_report_banks(),
    'cash_flow': sage_accounting.sage_report_cash_flow(),
    'receivables': sage_accounting.sage_report_aged('sage__aged_receivables'),
    'payables': sage_accounting.sage_report_aged('sage__aged_payables'),
    'taxes': sage_accounting.sage_report_taxes(),
    'customers': sage_accounting.sage_report_contacts('sage__customers'),
    'suppliers': sage_accounting.sage_report_contacts('sage__suppliers'),
} -%}
{%- set data = {} -%}
{%- for part, query in queries.items() -%}
  {%- do data.update({part: sage_accounting.sage_report_rows(query)}) -%}
{%- endfor -%}
{{ return(data) }}
{% endmacro %}


{#- Join rows of a month to their business, the last so many months up to its today. -#}
{% macro sage_report_months(relation, count=12) %}
from {{ relation }} as rows_of_month
inner join {{ ref('sage__dim_businesses') }} as businesses
    on rows_of_month.business_id = businesses.business_id
    and rows_of_month.month <= {{ sage_accounting.sage_month('businesses.as_of_date') }}
    and rows_of_month.month > {{ sage_accounting.sage_plus_months(sage_accounting.sage_month('businesses.as_of_date'), -count) }}
{% endmacro %}

{% macro sage_report_businesses() %}
select
    businesses.business_id, businesses.business_name, businesses.base_currency_id, businesses.as_of_date,
    businesses.ledger_source, coverage.has_sales_documents, coverage.has_purchase_documents
from {{ ref('sage__dim_businesses') }} as businesses
inner join {{ ref('int_sage__coverage') }} as coverage on businesses.business_id = coverage.business_id
order by businesses.business_name, businesses.business_id
{% endmacro %}

{% macro sage_report_verdicts() %}
select business_id, check_id, severity, verdict, count(*) as months
from {{ ref('sage__reconciliation') }}
group by business_id, check_id, severity, verdict
order by severity, check_id
{% endmacro %}

{% macro sage_report_findings() %}
select business_id, check_id, month_end, expected, found, difference
from {{ ref('sage__reconciliation') }}
where verdict = 'differs'
order by severity, month_end desc, check_id
limit 40
{% endmacro %}

{% macro sage_report_profit() %}
select
    rows_of_month.business_id, rows_of_month.month, rows_of_month.section_order, rows_of_month.section,
    rows_of_month.ledger_account_id as line_id, rows_of_month.nominal_code, rows_of_month.account_name as label,
    sum(rows_of_month.amount) as amount
{{ sage_accounting.sage_report_months(ref('sage__profit_and_loss')) }}
group by 1, 2, 3, 4, 5, 6, 7
order by rows_of_month.section_order, rows_of_month.nominal_code, rows_of_month.ledger_account_id
{% endmacro %}

{% macro sage_report_balances() %}
select
    rows_of_month.business_id, rows_of_month.month, rows_of_month.month_end, rows_of_month.section_order,
    rows_of_month.section, rows_of_month.line_id, rows_of_month.nominal_code, rows_of_month.account_name as label,
    rows_of_month.balance as amount
{{ sage_accounting.sage_report_months(ref('sage__balance_sheet'), 13) }}
where rows_of_month.month = {{ sage_accounting.sage_month('businesses.as_of_date') }}
    or rows_of_month.month = {{ sage_accounting.sage_plus_months(sage_accounting.sage_month('businesses.as_of_date'), -12) }}
order by rows_of_month.section_order, coalesce(rows_of_month.nominal_code, 99999999), rows_of_month.line_id
{% endmacro %}

{% macro sage_report_banks() %}
select
    rows_of_month.business_id, rows_of_month.month, rows_of_month.ledger_account_id as line_id,
    rows_of_month.nominal_code, rows_of_month.bank_account_name as label, rows_of_month.currency_id,
    rows_of_month.opening_balance, rows_of_month.movement, rows_of_month.closing_balance as amount
{{ sage_accounting.sage_report_months(ref('sage__bank_position')) }}
order by rows_of_month.nominal_code, rows_of_month.ledger_account_id, rows_of_month.month
{% endmacro %}

{% macro sage_report_cash_flow() %}
select rows_of_month.business_id, rows_of_month.section_order, rows_of_month.section, sum(rows_of_month.amount) as amount
{{ sage_accounting.sage_report_months(ref('sage__cash_flow')) }}
group by rows_of_month.business_id, rows_of_month.section_order, rows_of_month.section
order by rows_of_month.section_order
{% endmacro %}

{% macro sage_report_aged(model) %}
select
    business_id, contact_id, max(contact_name) as label, sum(base_outstanding) as amount, sum(not_due) as not_due,
    sum(days_1_to_30) as days_1_to_30, sum(days_31_to_60) as days_31_to_60, sum(days_61_to_90) as days_61_to_90,
    sum(over_90_days) as over_90_days
from {{ ref(model) }}
group by business_id, contact_id
order by sum(base_outstanding) desc, contact_id
{% endmacro %}

{% macro sage_report_taxes() %}
select
    business_id, period_start, period_end, tax_return_number,
    sum(case when side = 'sales' then base_net_amount else 0 end) as net_sales,
    sum(case when side = 'sales' then base_tax_amount else 0 end) as sales,
    sum(case when side = 'purchases' then base_net_amount else 0 end) as net_purchases,
    sum(case when side = 'purchases' then base_tax_amount else 0 end) as purchases,
    max(return_total) as return_total
from {{ ref('sage__tax_summary') }}
group by business_id, period_start, period_end, tax_return_number
order by period_start desc, period_end desc
{% endmacro %}

{% macro sage_report_contacts(model) %}
select
    business_id, contact_id, contact_name as label, invoices, base_net_amount as amount, base_outstanding, base_overdue,
    average_days_to_pay
from {{ ref(model) }}
where base_net_amount <> 0
order by base_net_amount desc, contact_id
{% endmacro %}
