{#- Give Postgres memory for a model's hashes and sorts, which otherwise go through the disk. -#}
{% macro sage_memory() %}{{ return(adapter.dispatch('sage_memory', 'sage_accounting')()) }}{% endmacro %}

{% macro default__sage_memory() %}{% endmacro %}

{% macro postgres__sage_memory() %}{% if config.get('materialized') != 'view' %}set local work_mem = '{{ var('sage_work_mem') }}'{% endif %}{% endmacro %}


{#- Let Postgres look at a new table before others join it: without statistics it may loop where it should hash.

    A sample of 3,000 rows says enough of that, and costs a tenth of the usual one. Tables that each build makes anew for
    other models alone are not worth vacuuming meanwhile.
-#}
{% macro sage_statistics() %}{{ return(adapter.dispatch('sage_statistics', 'sage_accounting')()) }}{% endmacro %}

{% macro default__sage_statistics() %}{% endmacro %}

{% macro postgres__sage_statistics() %}
{%- if config.get('materialized') != 'view' -%}
set local default_statistics_target = 10;
analyze {{ this }};
{% if config.get('unlogged') %}alter table {{ this }} set (autovacuum_enabled = false);{% endif %}
{%- endif -%}
{% endmacro %}
