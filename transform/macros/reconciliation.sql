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
  {%- set absent = sage_accounting.sage_lists_not_loaded() | join(', ') -%}
  {%- for row in rows -%}
    {%- do log(
        'Reconciliation, ' ~ sage_accounting.sage_printable(row['business_name']) ~ ', ' ~ row['month_end'] ~ ': ' ~ row['check_id'] ~ ' differs by ' ~ row['difference']
        ~ ' (expected ' ~ row['expected'] ~ ', found ' ~ row['found'] ~ ('; not loaded: ' ~ absent if absent else '') ~ ').', info=true
    ) -%}
  {%- endfor -%}
  {%- if absent and severity == 'error' -%}
    {%- do log('Reconciliation: its checks need lists that were not loaded: ' ~ absent ~ '. Select them, and load again.', info=true) -%}
  {%- endif -%}
{%- endif -%}
{{ findings }}
{% endmacro %}


{#- List what the checks need together and what has no table. The tap makes a table for each list that is selected, also
    for an empty one. -#}
{% macro sage_lists_not_loaded() %}
{%- set needed = [
    'businesses', 'financial_settings', 'trial_balance', 'ledger_accounts', 'ledger_entries', 'transactions',
    'sales_invoices', 'sales_credit_notes', 'sales_quick_entries', 'purchase_invoices', 'purchase_credit_notes',
    'purchase_quick_entries', 'contacts', 'contact_payments', 'contact_allocations', 'other_payments',
] -%}
{%- set node = graph.sources.values() | selectattr('source_name', 'equalto', 'sage') | first -%}
{%- set relation = api.Relation.create(database=node.database, schema=node.schema) -%}
{%- set tables = run_query(
    "select distinct table_name from " ~ sage_accounting.sage_catalog(relation)
    ~ " where table_catalog in ('" ~ node.database ~ "', '" ~ node.database | upper ~ "')"
    ~ " and table_schema in ('" ~ node.schema ~ "', '" ~ node.schema | upper ~ "')"
).columns[0].values() | map('lower') | list -%}
{{ return(needed | reject('in', tables) | sort | list) }}
{% endmacro %}


{#- Replace what a terminal would obey instead of show: control characters, and those that turn the direction of text. -#}
{% macro sage_printable(text) -%}
{{ modules.re.sub('[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]', '?', text or '') }}
{%- endmacro %}
