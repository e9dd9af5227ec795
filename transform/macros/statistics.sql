{#- Set what Postgres may use for one model: memory for its hashes and sorts, which otherwise go through the disk, and
    processes. dbt's threads build several models at once: more processes for one of them cost more than they save.
-#}
{% macro sage_resources() %}{{ return(adapter.dispatch('sage_resources', 'sage_accounting')()) }}{% endmacro %}

{% macro default__sage_resources() %}{% endmacro %}

{% macro postgres__sage_resources() %}
{%- if config.get('materialized') != 'view' -%}
set local work_mem = '{{ var('sage_work_mem') }}';
set local max_parallel_workers_per_gather = {{ var('sage_parallel_workers') }}
{%- endif -%}
{% endmacro %}


{#- Let Postgres look at a new table before others join it: without statistics it may loop where it should hash.

    A sample of 3,000 rows says enough of that, and costs a tenth of the usual one. In tables that each build makes anew
    nothing is deleted: they are not worth vacuuming meanwhile.
-#}
{% macro sage_statistics() %}{{ return(adapter.dispatch('sage_statistics', 'sage_accounting')()) }}{% endmacro %}

{% macro default__sage_statistics() %}{% endmacro %}

{% macro postgres__sage_statistics() %}
{%- if config.get('materialized') != 'view' -%}
set local default_statistics_target = 10;
analyze {{ this }};
alter table {{ this }} set (autovacuum_enabled = {{ 'false' if config.get('materialized') == 'table' else 'true' }});
{%- endif -%}
{% endmacro %}
