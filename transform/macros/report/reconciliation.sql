{#- What each check compares, in the words of an accountant. -#}
{% macro sage_report_checks() %}
{{ return({
    'trial_balance': 'Trial balance, account by account, with Sage’s own',
    'oracle_months': 'Sage’s trial balance has every month',
    'double_entry': 'Debits with credits of each transaction',
    'balance_sheet': 'Assets with liabilities and equity',
    'earnings': 'Profit in the balance sheet with the profit and loss statement',
    'cash_flow': 'Cash flow with the bank accounts',
    'receivables': 'Open items of customers with the control account',
    'payables': 'Open items of suppliers with the control account',
    'document_totals': 'Documents with what they posted',
    'document_taxes': 'Tax of documents with what they posted',
    'document_lines': 'Lines with their documents',
    'payments': 'Payments with what they settled and what stayed on account',
    'outstanding_amounts': 'What Sage says is open with totals less settlements',
    'tax_on_sales': 'Tax of sales with the tax accounts',
    'tax_on_purchases': 'Tax of purchases with the tax accounts',
    'contact_balances': 'Balances of contacts with their open items',
    'bank_balances': 'Balances of bank accounts with the ledger',
    'stock_quantities': 'Quantities in stock with the movements of stock',
    'stock_values': 'Values of stock with quantities at average cost',
    'known_accounts': 'Accounts that something was posted to with those that were loaded',
}) }}
{% endmacro %}


{% macro sage_report_reconciliation(data) %}
{%- set counts = {} -%}
{%- for verdict in ('ties', 'explained', 'not checked', 'differs') -%}
  {%- do counts.update({verdict: data.verdicts | selectattr('verdict', 'equalto', verdict) | sum(attribute='months')}) -%}
{%- endfor -%}
{%- set errors = data.verdicts | selectattr('verdict', 'equalto', 'differs') | selectattr('severity', 'equalto', 'error') | list | length -%}
<section>
<h2>Does it tie?</h2>
<p class="verdict {{ 'bad' if errors else 'fair' if counts['differs'] else 'good' }}"><strong>
{%- if errors %}&#10007; It does not tie.{% elif counts['differs'] %}! The books tie; some balances that Sage shows differ.{% else %}&#10003; Everything ties.{% endif -%}
</strong> Of {{ sage_accounting.sage_report_count(counts.values() | sum, 'comparison', 'comparisons') }}, by business, check and month, {{ '{:,}'.format(counts['ties']) }} tie,
{{ '{:,}'.format(counts['explained']) }} tie with an explanation, {{ '{:,}'.format(counts['not checked']) }} could not be checked and {{ '{:,}'.format(counts['differs']) }} differ.</p>
{%- if data.findings %}
{% call sage_accounting.sage_report_table('What differs') %}
<thead><tr><th>What differs</th><th>Business</th><th>Month</th><th class="n">Expected</th><th class="n">Found</th><th class="n">Difference</th></tr></thead>
<tbody>
{%- for each in data.findings %}
<tr><th scope="row">{{ sage_accounting.sage_report_checks().get(each.check_id, each.check_id) }}</th>
<td>{{ (data.businesses | selectattr('business_id', 'equalto', each.business_id) | first).business_name }}</td><td>{{ each.month_end.strftime('%b %Y') }}</td>
{{ sage_accounting.sage_report_cell(each.expected) }}{{ sage_accounting.sage_report_cell(each.found) }}{{ sage_accounting.sage_report_cell(each.difference) }}</tr>
{%- endfor %}
</tbody>
{% endcall %}
{%- endif %}
{% call sage_accounting.sage_report_table('Verdicts by check and business', 'wide') %}
<thead><tr><th>Compared</th>{% for business in data.businesses %}<th>{{ business.business_name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- set found = data.verdicts | map(attribute='check_id') | list -%}
{%- for check_id in (sage_accounting.sage_report_checks().keys() | list + found) | unique if check_id in found %}
<tr><th scope="row">{{ sage_accounting.sage_report_checks().get(check_id, check_id) }}</th>
{%- for business in data.businesses %}<td>{{ sage_accounting.sage_report_verdict(sage_accounting.sage_report_of(business, data.verdicts) | selectattr('check_id', 'equalto', check_id) | list) }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody>
{% endcall %}
</section>
{% endmacro %}


{#- The worst verdict of a check of a business, and of how many months. -#}
{% macro sage_report_verdict(rows) -%}
{%- set found = {} -%}
{%- for row in rows -%}{%- do found.update({row.verdict: row.months}) -%}{%- endfor -%}
{%- set months = found.values() | sum -%}
{%- if 'differs' in found -%}
<span class="mark bad">&#10007; differs</span> <small>in {{ found['differs'] }} of {{ sage_accounting.sage_report_count(months, 'month', 'months') }}</small>
{%- elif 'not checked' in found -%}
<span class="mark none">&ndash; not checked</span>
{%- elif found -%}
<span class="mark good">&#10003; ties</span> <small>{{ sage_accounting.sage_report_count(months, 'month', 'months') }}{{ ', ' ~ found['explained'] ~ ' explained' if 'explained' in found }}</small>
{%- endif -%}
{%- endmacro %}
