-- Suppliers, with what was bought from them, what they are owed, and how fast they are paid.
{% call sage_contracted() %}
{{ sage_contacts('purchases', 'is_supplier') }}
{% endcall %}
