{#- The last months of a business, up to its today, oldest first. -#}
{% macro sage_report_last_months(business) %}
{%- set months = [] -%}
{%- for back in range(11, -1, -1) -%}
  {%- set number = business.as_of_date.year * 12 + business.as_of_date.month - 1 - back -%}
  {%- do months.append(modules.datetime.date(number // 12, number % 12 + 1, 1)) -%}
{%- endfor -%}
{{ return(months) }}
{% endmacro %}


{#- Put the rows of each line of a statement together, in the order of their first ones. -#}
{% macro sage_report_lines(rows) %}
{%- set lines = {} -%}
{%- for row in rows -%}{%- do lines.setdefault(row.line_id, []).append(row) -%}{%- endfor -%}
{{ return(lines.values() | list) }}
{% endmacro %}


{#- Sum rows by month, with their total last. -#}
{% macro sage_report_by_month(rows, months) %}
{%- set amounts = [] -%}
{%- for month in months -%}
  {%- do amounts.append(rows | selectattr('month', 'equalto', month) | sum(attribute='amount')) -%}
{%- endfor -%}
{{ return(amounts + [rows | sum(attribute='amount')]) }}
{% endmacro %}

{% macro sage_report_month_row(label, rows, months, kind='line', figure=none) %}
<tr class="{{ kind }}"><th scope="row">{{ label }}</th>
{%- for amount in sage_accounting.sage_report_by_month(rows, months) %}{{ sage_accounting.sage_report_cell(amount, figure if loop.last) }}{% endfor %}</tr>
{%- endmacro %}


{% macro sage_report_profit_and_loss(business, data) %}
{%- set rows = sage_accounting.sage_report_of(business, data.profit) -%}
{%- set months = sage_accounting.sage_report_last_months(business) -%}
<h3>Profit and loss by month</h3>
{%- if rows %}
{{ sage_accounting.sage_report_bars('Profit by month, ' ~ business.base_currency_id, months, sage_accounting.sage_report_by_month(rows, months)[:-1]) }}
{% call sage_accounting.sage_report_table('Profit and loss by month', 'wide dense') %}
<thead><tr><th>{{ business.base_currency_id }}</th>{% for month in months %}<th class="n">{{ month.strftime('%b %y') }}</th>{% endfor %}<th class="n">12 months</th></tr></thead>
<tbody>
{%- for section, lines in rows | groupby('section_order') %}
{%- for of_account in sage_accounting.sage_report_lines(lines) %}
{{ sage_accounting.sage_report_month_row(of_account[0].label, of_account, months) }}
{%- endfor %}
{{ sage_accounting.sage_report_month_row(lines[0].section, lines, months, 'subtotal') }}
{%- if section == 2 %}
{{ sage_accounting.sage_report_month_row('Gross profit', rows | rejectattr('section_order', 'greaterthan', 2) | list, months, 'subtotal') }}
{%- endif %}
{%- endfor %}
</tbody>
<tfoot>{{ sage_accounting.sage_report_month_row('Profit', rows, months, 'total', 'profit_and_loss') }}</tfoot>
{% endcall %}
{%- else %}
{{ sage_accounting.sage_report_empty('Nothing was earned or spent in the last 12 months.') }}
{%- endif %}
{% endmacro %}


{#- A line of the balance sheet, of today's month and of the same month a year before.

    Args:
        sign: -1 where the books are negative and readers expect otherwise, as with equity.
-#}
{% macro sage_report_balance_row(label, rows, months, sign=1, kind='line', figure=none) %}
<tr class="{{ kind }}"><th scope="row">{{ label }}</th>
{%- for month in months %}{{ sage_accounting.sage_report_cell(sign * (rows | selectattr('month', 'equalto', month) | sum(attribute='amount')), figure if loop.first) }}{% endfor %}</tr>
{%- endmacro %}

{% macro sage_report_balance_sheet(business, data) %}
{%- set rows = sage_accounting.sage_report_of(business, data.balances) -%}
{%- set months = rows | map(attribute='month') | unique | sort(reverse=true) | list -%}
<h3>Balance sheet</h3>
{%- if rows %}
{% call sage_accounting.sage_report_table('Balance sheet') %}
<thead><tr><th>{{ business.base_currency_id }}</th>{% for month in months %}<th class="n">{{ sage_accounting.sage_report_day((rows | selectattr('month', 'equalto', month) | first).month_end) }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for section, lines in rows | groupby('section_order') %}
{%- for of_line in sage_accounting.sage_report_lines(lines) %}
{%- if of_line | rejectattr('amount', 'equalto', 0) | list %}
{{ sage_accounting.sage_report_balance_row(of_line[0].label, of_line, months, -1 if section == 3 else 1) }}
{%- endif %}
{%- endfor %}
{{ sage_accounting.sage_report_balance_row(lines[0].section, lines, months, -1 if section == 3 else 1, 'subtotal', lines[0].section | lower) }}
{%- if section == 2 %}
{{ sage_accounting.sage_report_balance_row('Assets less liabilities', rows | rejectattr('section_order', 'equalto', 3) | list, months, 1, 'total') }}
{%- endif %}
{%- endfor %}
</tbody>
{% endcall %}
{%- else %}
{{ sage_accounting.sage_report_empty('The ledger is empty.') }}
{%- endif %}
{% endmacro %}


{% macro sage_report_cash(business, data) %}
{%- set rows = sage_accounting.sage_report_of(business, data.banks) -%}
{%- set flows = sage_accounting.sage_report_of(business, data.cash_flow) -%}
{%- set months = sage_accounting.sage_report_last_months(business) -%}
<h3>Cash</h3>
{%- if rows %}
{{ sage_accounting.sage_report_bars('Cash at each month’s end, ' ~ business.base_currency_id, months, sage_accounting.sage_report_by_month(rows, months)[:-1]) }}
{% call sage_accounting.sage_report_table('Bank accounts') %}
<thead><tr><th>Account</th><th>Currency</th><th class="n">12 months ago</th><th class="n">Change</th><th class="n">Now, in {{ business.base_currency_id }}</th></tr></thead>
<tbody>
{%- for of_account in sage_accounting.sage_report_lines(rows) %}
<tr><th scope="row">{{ of_account[0].label }}</th><td>{{ of_account[0].currency_id or '' }}</td>{{ sage_accounting.sage_report_cell(of_account[0].opening_balance) }}{{ sage_accounting.sage_report_cell(of_account | sum(attribute='movement')) }}{{ sage_accounting.sage_report_cell(of_account[-1].amount) }}</tr>
{%- endfor %}
</tbody>
{% endcall %}
{%- else %}
{{ sage_accounting.sage_report_empty('There is no bank account.') }}
{%- endif %}
{%- if flows %}
{% call sage_accounting.sage_report_table('Cash flow of 12 months') %}
<thead><tr><th>Cash flow of 12 months</th><th class="n">{{ business.base_currency_id }}</th></tr></thead>
<tbody>
{%- for each in flows %}
<tr><th scope="row">{{ each.section }}</th>{{ sage_accounting.sage_report_cell(each.amount) }}</tr>
{%- endfor %}
</tbody>
<tfoot><tr class="total"><th scope="row">Change of cash</th>{{ sage_accounting.sage_report_cell(flows | sum(attribute='amount')) }}</tr></tfoot>
{% endcall %}
{%- endif %}
{% endmacro %}
