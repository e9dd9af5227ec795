{{ sage_contacts('sales', 'is_customer') }}
