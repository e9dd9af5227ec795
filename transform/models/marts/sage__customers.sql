-- Customers, with what they bought and owe, and how fast they pay.
{% call sage_contracted() %}
{{ sage_contacts('sales', 'is_customer') }}
{% endcall %}
