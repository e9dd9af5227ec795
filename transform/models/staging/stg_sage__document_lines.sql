{{ config(materialized='table') }}
with lines as (
    {{ sage_document_lines('sales_invoices', 'invoice_lines') }}
    union all
    {{ sage_document_lines('sales_credit_notes', 'credit_note_lines') }}
    union all
    {{ sage_document_lines('purchase_invoices', 'invoice_lines') }}
    union all
    {{ sage_document_lines('purchase_credit_notes', 'credit_note_lines') }}
),

quick_entries as (
    {% for stream in ('sales_quick_entries', 'purchase_quick_entries') %}
    {{ 'union all' if not loop.first }}
    select
        business_id,
        id as document_id,
        '{{ stream }}' as stream,
        1 as line_number,
        details as description,
        cast(null as {{ dbt.type_string() }}) as product_id,
        {{ sage_text('ledger_account', 'id') }} as ledger_account_id,
        {{ sage_text('tax_rate', 'id') }} as tax_rate_id,
        cast(1 as {{ sage_number_type('quantity') }}) as quantity,
        cast(net_amount as {{ sage_number_type('unit_price') }}) as unit_price,
        cast(0 as {{ sage_number_type() }}) as discount_amount,
        net_amount,
        coalesce(tax_amount, 0) as tax_amount,
        total_amount,
        base_currency_net_amount as base_net_amount,
        base_currency_tax_amount as base_tax_amount,
        {{ sage_text(sage_element('analysis_type_categories', 0), 'displayed_as') }} as analysis_category,
        {{ sage_text(sage_element('analysis_type_categories', 1), 'displayed_as') }} as second_analysis_category
    from ({{ sage_source(stream, [
        'business_id', 'id', 'details', 'ledger_account', 'tax_rate', 'net_amount', 'tax_amount', 'total_amount',
        'base_currency_net_amount', 'base_currency_tax_amount', 'analysis_type_categories',
    ]) }}) as entries
    {% endfor %}
)

select * from lines
union all
select * from quick_entries
