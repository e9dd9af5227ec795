{#- Small parts that the report is put together from. -#}

{#- Write an amount with two decimals in a cell. -#}
{% macro sage_report_cell(amount, figure=none) %}
{%- set kind = 'none' if amount is none else 'zero' if amount == 0 else 'negative' if amount < 0 else 'positive' -%}
<td class="n {{ kind }}"{% if figure %} data-figure="{{ figure }}"{% endif %}>{{ sage_accounting.sage_report_amount(amount) }}</td>
{%- endmacro %}

{% macro sage_report_amount(amount) -%}
{{ '' if amount is none else '{:,.2f}'.format(amount + 0) }}
{%- endmacro %}

{% macro sage_report_day(day) -%}
{{ '' if day is none else day.strftime('%d %b %Y') }}
{%- endmacro %}

{#- Write how many there are of a thing, in words that agree. -#}
{% macro sage_report_count(number, one, many) -%}
{{ '{:,}'.format(number) }} {{ one if number == 1 else many }}
{%- endmacro %}


{#- Write a table that scrolls by itself where the page is narrower.

    Args:
        label: what the table is, for those who do not see it.
        kind: 'wide' where it has many columns, of which the first stays in sight; 'wide dense' for very many.
-#}
{% macro sage_report_table(label, kind='') %}
<div class="scroll {{ kind }}" tabindex="0" role="region" aria-label="{{ label }}">
<table>
{{ caller() }}
</table>
</div>
{% endmacro %}

{% macro sage_report_empty(sentence) %}<p class="empty">{{ sentence }}</p>{% endmacro %}


{#- Draw amounts as bars, one per month; what is below zero hangs from the line.

    Args:
        label: what the amounts are.
        months: the months.
        amounts: an amount for each of them.
-#}
{% macro sage_report_bars(label, months, amounts) %}
{%- set top = ([0] + amounts) | max -%}
{%- set bottom = ([0] + amounts) | min -%}
{%- set span = top - bottom -%}
{%- if span -%}
<figure>
<figcaption>{{ label }}</figcaption>
<div class="bars" role="img" aria-label="{{ label }}: {% for amount in amounts %}{{ months[loop.index0].strftime('%b %Y') }} {{ '{:,.0f}'.format(amount) }}{{ ', ' if not loop.last }}{% endfor %}">
{%- for amount in amounts %}
<div class="bar">
<div class="up" style="height:{{ '{:.1f}'.format(110 * top / span) }}px"><i style="height:{{ '{:.1f}'.format(100 * amount / top) if amount > 0 else 0 }}%"></i></div>
<div class="down" style="height:{{ '{:.1f}'.format(-110 * bottom / span) }}px"><i style="height:{{ '{:.1f}'.format(100 * amount / bottom) if amount < 0 else 0 }}%"></i></div>
<b>{{ '{:,.1f}k'.format(amount / 1000) if amount >= 10000 or amount <= -10000 else '{:,.0f}'.format(amount) }}</b><span>{{ months[loop.index0].strftime('%b') }}</span>
</div>
{%- endfor %}
</div>
</figure>
{%- endif -%}
{% endmacro %}
