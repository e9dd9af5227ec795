{#- These columns are the key: each combination of them is there once, and none of them is null.

    Args:
        columns: the key.
        nullable: those of them that may be null all the same.
-#}
{% test sage_key(model, columns, nullable=[]) %}
select {{ columns | join(', ') }}, count(*) as times
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1 {% for name in columns if name not in nullable %}or {{ name }} is null {% endfor %}
{% endtest %}
