{% call sage_contracted() %}
{{ sage_contacts('purchases', 'is_supplier') }}
{% endcall %}
