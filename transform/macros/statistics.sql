{#- Let Postgres look at a new table before others join it: without statistics it may loop where it should hash. -#}
{% macro sage_statistics() %}{{ return(adapter.dispatch('sage_statistics', 'sage_accounting')()) }}{% endmacro %}

{% macro default__sage_statistics() %}{% endmacro %}

{% macro postgres__sage_statistics() %}{% if config.get('materialized') != 'view' %}analyze {{ this }}{% endif %}{% endmacro %}
