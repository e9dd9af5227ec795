{{ sage_contacts('purchases', 'is_supplier') }}
