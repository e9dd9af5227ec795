{#- Print the report, a page of HTML that needs nothing else.

    It is the standard output of: dbt --quiet run-operation sage_report
-#}
{% macro sage_report() %}
{%- if execute -%}
  {%- do print(sage_accounting.sage_report_page(sage_accounting.sage_report_data())) -%}
{%- endif -%}
{% endmacro %}


{% macro sage_report_page(data) -%}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Finance report</title>
{{ sage_accounting.sage_report_style() }}
</head>
<body>
<header>
<h1>Finance report</h1>
<p>Written {{ run_started_at.strftime('%d %b %Y, %H:%M') }} UTC from the finance models of tap-sage-accounting. Amounts are in each business’s base currency.</p>
</header>
<main>
{{ sage_accounting.sage_report_reconciliation(data) }}
{{ sage_accounting.sage_report_overview(data) }}
{%- for business in data.businesses %}
{{ sage_accounting.sage_report_business(business, data, 'b' ~ loop.index) }}
{%- endfor %}
</main>
</body>
</html>
{%- endmacro %}


{#- Keep the rows of one business. -#}
{% macro sage_report_of(business, rows) %}
{{ return(rows | selectattr('business_id', 'equalto', business.business_id) | list) }}
{% endmacro %}


{% macro sage_report_overview(data) %}
<section>
<h2>Businesses</h2>
{% call sage_accounting.sage_report_table('Businesses') %}
<thead><tr><th>Business</th><th>Currency</th><th>As of</th><th class="n">Profit this year</th><th class="n">Cash</th><th class="n">Receivable</th><th class="n">Payable</th></tr></thead>
<tbody>
{%- for business in data.businesses %}
{%- set figures = sage_accounting.sage_report_figures(business, data) %}
<tr><th scope="row"><a href="#b{{ loop.index }}">{{ business.business_name }}</a></th><td>{{ business.base_currency_id }}</td><td class="day">{{ sage_accounting.sage_report_day(business.as_of_date) }}</td>
{%- for amount in figures.values() %}{% if amount is none %}<td class="n zero">not known</td>{% else %}{{ sage_accounting.sage_report_cell(amount) }}{% endif %}{% endfor %}</tr>
{%- endfor %}
</tbody>
{% endcall %}
</section>
{% endmacro %}


{#- The figures that one looks at first; none where Sage lists no documents to know them from. -#}
{% macro sage_report_figures(business, data) %}
{%- set month = business.as_of_date.replace(day=1) -%}
{%- set balances = sage_accounting.sage_report_of(business, data.balances) | selectattr('month', 'equalto', month) -%}
{%- set banks = sage_accounting.sage_report_of(business, data.banks) | selectattr('month', 'equalto', month) -%}
{{ return({
    'profit': -(balances | selectattr('line_id', 'equalto', 'Profit of this year') | sum(attribute='amount')),
    'cash': banks | sum(attribute='amount'),
    'receivable': sage_accounting.sage_report_of(business, data.receivables) | sum(attribute='amount') if business.has_sales_documents else none,
    'payable': sage_accounting.sage_report_of(business, data.payables) | sum(attribute='amount') if business.has_purchase_documents else none,
}) }}
{% endmacro %}


{% macro sage_report_business(business, data, anchor) %}
<section class="business" id="{{ anchor }}" data-business="{{ business.business_id | e }}">
<h2>{{ business.business_name }}</h2>
<p>{{ business.base_currency_id }}, as of {{ sage_accounting.sage_report_day(business.as_of_date) }}.
{%- if business.ledger_source == 'trial balance' %} Without the right to read the ledger's entries: the statements come from Sage's trial balance.
{%- elif business.ledger_source != 'entries' %} The ledger was not loaded from its beginning: Sage's trial balance brings it forward.
{%- endif %}</p>
<dl class="figures">
{%- for name, amount in sage_accounting.sage_report_figures(business, data).items() %}
<div><dt>{{ {'profit': 'Profit this financial year', 'cash': 'Cash', 'receivable': 'Customers owe', 'payable': 'Owed to suppliers'}[name] }}</dt>{% if amount is none %}<dd>not known</dd>{% else %}<dd class="{{ 'negative' if amount < 0 }}" data-figure="{{ name }}">{{ sage_accounting.sage_report_amount(amount) }}</dd>{% endif %}</div>
{%- endfor %}
</dl>
{{ sage_accounting.sage_report_profit_and_loss(business, data) }}
{{ sage_accounting.sage_report_balance_sheet(business, data) }}
{{ sage_accounting.sage_report_cash(business, data) }}
{{ sage_accounting.sage_report_aged_items('Receivables', 'Customer', 'receivables_total', sage_accounting.sage_report_of(business, data.receivables), business.has_sales_documents) }}
{{ sage_accounting.sage_report_aged_items('Payables', 'Supplier', 'payables_total', sage_accounting.sage_report_of(business, data.payables), business.has_purchase_documents) }}
{{ sage_accounting.sage_report_tax(sage_accounting.sage_report_of(business, data.taxes)) }}
{{ sage_accounting.sage_report_top('Top customers', 'Customer', 'Sales', sage_accounting.sage_report_of(business, data.customers)) }}
{{ sage_accounting.sage_report_top('Top suppliers', 'Supplier', 'Purchases', sage_accounting.sage_report_of(business, data.suppliers)) }}
</section>
{% endmacro %}
