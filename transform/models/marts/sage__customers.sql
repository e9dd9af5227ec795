{% call sage_contracted() %}
{{ sage_contacts('sales', 'is_customer') }}
{% endcall %}
