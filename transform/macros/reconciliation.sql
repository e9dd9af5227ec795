{#- Select the checks of one severity that differ, and log their figures, the first twenty of them. -#}
{% macro sage_reconciliation_findings(severity) %}
{%- set findings -%}
select reconciliation.*, businesses.business_name
from {{ ref('sage__reconciliation') }} as reconciliation
inner join {{ ref('sage__dim_businesses') }} as businesses on reconciliation.business_id = businesses.business_id
where reconciliation.verdict = 'differs' and reconciliation.severity = '{{ severity }}'
{%- endset -%}
{%- if execute and flags.WHICH in ('build', 'test') -%}
  {%- set rows = run_query(findings ~ ' order by reconciliation.month, reconciliation.check_id limit 20') -%}
  {%- for row in rows -%}
    {%- do log(
        'Reconciliation, ' ~ sage_accounting.sage_printable(row['business_name']) ~ ', ' ~ row['month_end'] ~ ': ' ~ row['check_id'] ~ ' differs by ' ~ row['difference']
        ~ ' (expected ' ~ row['expected'] ~ ', found ' ~ row['found'] ~ ').', info=true
    ) -%}
  {%- endfor -%}
{%- endif -%}
{{ findings }}
{% endmacro %}


{#- Replace what a terminal would obey instead of show: control characters, and those that turn the direction of text. -#}
{% macro sage_printable(text) -%}
{{ modules.re.sub('[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]', '?', text or '') }}
{%- endmacro %}
