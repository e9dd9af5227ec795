{#- Write a list of texts for `in (...)`; an empty one matches nothing. -#}
{% macro sage_list(values) %}{% if values %}'{{ values | join("', '") }}'{% else %}null{% endif %}{% endmacro %}


{#- Round an amount to the cent; halves go away from zero, in every warehouse. -#}
{% macro sage_cents(amount) %}round(cast({{ amount }} as {{ sage_accounting.sage_decimal(38, 10) }}), 2){% endmacro %}


{#- Put the age of an open item into a band.

    Args:
        days: days since it was due; negative before.
-#}
{% macro sage_age_band(days) %}
case
    when {{ days }} <= 0 then 'not due'
    when {{ days }} <= 30 then '1 to 30 days'
    when {{ days }} <= 60 then '31 to 60 days'
    when {{ days }} <= 90 then '61 to 90 days'
    else 'over 90 days'
end
{% endmacro %}
