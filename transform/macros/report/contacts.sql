{#- What is open by contact and age: the ten largest, the others in one line, and all of them.

    Args:
        title: the heading.
        whom: what a contact is called.
        figure: name of the total, for programs that read the page.
        rows: the contacts, the largest first.
        is_known: whether Sage lists documents of this side.
-#}
{% macro sage_report_aged_items(title, whom, figure, rows, is_known) %}
{%- set bands = {'not_due': 'Not due', 'days_1_to_30': '1 to 30 days', 'days_31_to_60': '31 to 60', 'days_61_to_90': '61 to 90', 'over_90_days': 'Over 90', 'amount': 'Total'} -%}
<h3>{{ title }} by age</h3>
{%- if rows %}
{% call sage_accounting.sage_report_table(title ~ ' by age', 'wide') %}
<thead><tr><th>{{ whom }}</th>{% for name in bands.values() %}<th class="n">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row in rows[:10] %}
<tr><th scope="row">{{ row.label or 'No name' }}</th>{% for band in bands %}{{ sage_accounting.sage_report_cell(row[band]) }}{% endfor %}</tr>
{%- endfor %}
{%- if rows | length > 10 %}
<tr><th scope="row">{{ sage_accounting.sage_report_count(rows | length - 10, 'other', 'others') }}</th>{% for band in bands %}{{ sage_accounting.sage_report_cell(rows[10:] | sum(attribute=band)) }}{% endfor %}</tr>
{%- endif %}
</tbody>
<tfoot><tr class="total"><th scope="row">All</th>{% for band in bands %}{{ sage_accounting.sage_report_cell(rows | sum(attribute=band), figure if loop.last) }}{% endfor %}</tr></tfoot>
{% endcall %}
{%- else %}
{{ sage_accounting.sage_report_empty('Nothing is open.' if is_known else 'Sage lists no documents of this side, so what is open is not known.') }}
{%- endif %}
{% endmacro %}


{% macro sage_report_tax(rows) %}
<h3>VAT and sales taxes</h3>
{%- if rows %}
{% call sage_accounting.sage_report_table('VAT and sales taxes', 'wide') %}
<thead><tr><th>Period</th><th class="n">Net sales</th><th class="n">Tax on sales</th><th class="n">Net purchases</th><th class="n">Tax on purchases</th><th class="n">Balance</th><th>Return</th><th class="n">Sage’s return</th></tr></thead>
<tbody>
{%- for row in rows[:8] %}
<tr><th scope="row">{{ sage_accounting.sage_report_day(row.period_start) }} to {{ sage_accounting.sage_report_day(row.period_end) }}</th>{{ sage_accounting.sage_report_cell(row.net_sales) }}{{ sage_accounting.sage_report_cell(row.sales) }}{{ sage_accounting.sage_report_cell(row.net_purchases) }}{{ sage_accounting.sage_report_cell(row.purchases) }}{{ sage_accounting.sage_report_cell(row.sales - row.purchases) }}<td>{{ row.tax_return_number if row.tax_return_number is not none else 'none yet' }}</td>{{ sage_accounting.sage_report_cell(row.return_total) }}</tr>
{%- endfor %}
</tbody>
{% endcall %}
<p class="empty">A return differs from the balance where tax counts when it is paid, or where Sage lists no purchases.</p>
{%- else %}
{{ sage_accounting.sage_report_empty('No sale or purchase has tax.') }}
{%- endif %}
{% endmacro %}


{#- The ten contacts with the most sales or purchases.

    Args:
        title: the heading.
        whom: what a contact is called.
        traded: what is counted, as a heading.
        rows: the contacts, the largest first.
-#}
{% macro sage_report_top(title, whom, traded, rows) %}
<h3>{{ title }}</h3>
{%- if rows %}
{% call sage_accounting.sage_report_table(title, 'wide') %}
<thead><tr><th>{{ whom }}</th><th class="n">Invoices</th><th class="n">{{ traded }}, net</th><th class="n">Open</th><th class="n">Overdue</th><th class="n">Days to pay</th></tr></thead>
<tbody>
{%- for row in rows[:10] %}
<tr><th scope="row">{{ row.label or 'No name' }}</th><td class="n">{{ '{:,.0f}'.format(row.invoices) }}</td>{{ sage_accounting.sage_report_cell(row.amount) }}{{ sage_accounting.sage_report_cell(row.base_outstanding) }}{{ sage_accounting.sage_report_cell(row.base_overdue) }}<td class="n">{{ '{:,.0f}'.format(row.average_days_to_pay) if row.average_days_to_pay is not none }}</td></tr>
{%- endfor %}
</tbody>
{% endcall %}
{%- else %}
{{ sage_accounting.sage_report_empty('None.') }}
{%- endif %}
{% endmacro %}
