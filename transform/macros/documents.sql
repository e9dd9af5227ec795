{#- Read one of the document streams in the shape that all of them share.

    Args:
        stream: the stream.
        side: 'sales' or 'purchases'.
        number: the column with the document's number.
        quick: whether it holds quick entries, whose type tells invoices from credit notes.
        credit_note: whether its documents are credit notes.
-#}
{% macro sage_documents(stream, side, number, quick=false, credit_note=false) %}
{%- set columns = [
    'business_id', 'id', 'date', 'due_date', 'reference', 'contact', 'status', 'currency', 'exchange_rate',
    'inverse_exchange_rate', 'net_amount', 'tax_amount', 'total_amount', 'outstanding_amount',
    'base_currency_net_amount', 'base_currency_tax_amount', 'base_currency_total_amount',
    'base_currency_outstanding_amount', 'transaction', 'transaction_type', 'created_at', 'updated_at',
] -%}
{%- if number not in columns -%}{%- do columns.append(number) -%}{%- endif -%}
{%- if credit_note -%}{%- do columns.remove('due_date') -%}{%- endif -%}
select
    business_id,
    id as document_id,
    '{{ stream }}' as stream,
    '{{ side }}' as side,
    {%- if quick %}
    case when {{ sage_accounting.sage_text('transaction_type', 'id') }} like '%CREDIT_NOTE' then -1 else 1 end as sign,
    {%- else %}
    {{ -1 if credit_note else 1 }} as sign,
    {%- endif %}
    {{ number }} as document_number,
    date as document_date,
    {{ 'date' if credit_note else 'coalesce(due_date, date)' }} as due_date,
    reference,
    {{ sage_accounting.sage_text('contact', 'id') }} as contact_id,
    {{ sage_accounting.sage_text('contact', 'displayed_as') }} as contact_name,
    {{ sage_accounting.sage_text('status', 'id') }} as status_id,
    {{ sage_accounting.sage_text('currency', 'id') }} as currency_id,
    coalesce(exchange_rate, 1) as exchange_rate,
    inverse_exchange_rate,
    net_amount, tax_amount, total_amount, outstanding_amount,
    base_currency_net_amount as base_net_amount,
    base_currency_tax_amount as base_tax_amount,
    base_currency_total_amount as base_total_amount,
    base_currency_outstanding_amount as base_outstanding_amount,
    {{ sage_accounting.sage_text('transaction', 'id') }} as transaction_id,
    {{ sage_accounting.sage_text('transaction_type', 'id') }} as transaction_type_id,
    created_at, updated_at
from ({{ sage_accounting.sage_source(stream, columns) }}) as documents
{% endmacro %}


{#- Read the lines of one of the document streams in the shape that all of them share. -#}
{% macro sage_document_lines(stream, lines) %}
select
    business_id,
    document_id,
    '{{ stream }}' as stream,
    cast(position as {{ dbt.type_int() }}) as line_number,
    {{ sage_accounting.sage_text('item', 'description') }} as description,
    coalesce({{ sage_accounting.sage_text('item', ['product', 'id']) }}, {{ sage_accounting.sage_text('item', ['service', 'id']) }}) as product_id,
    {{ sage_accounting.sage_text('item', ['ledger_account', 'id']) }} as ledger_account_id,
    {{ sage_accounting.sage_text('item', ['tax_rate', 'id']) }} as tax_rate_id,
    {{ sage_accounting.sage_number('item', 'quantity') }} as quantity,
    {{ sage_accounting.sage_number('item', 'unit_price') }} as unit_price,
    coalesce({{ sage_accounting.sage_number('item', 'discount_amount') }}, 0) as discount_amount,
    {{ sage_accounting.sage_number('item', 'net_amount') }} as net_amount,
    coalesce({{ sage_accounting.sage_number('item', 'tax_amount') }}, 0) as tax_amount,
    {{ sage_accounting.sage_number('item', 'total_amount') }} as total_amount,
    {{ sage_accounting.sage_number('item', 'base_currency_net_amount') }} as base_net_amount,
    {{ sage_accounting.sage_number('item', 'base_currency_tax_amount') }} as base_tax_amount,
    {{ sage_accounting.sage_text('item', ['analysis_type_categories', 0, 'displayed_as']) }} as analysis_category,
    {{ sage_accounting.sage_text('item', ['analysis_type_categories', 1, 'displayed_as']) }} as second_analysis_category
from (
    {{ sage_accounting.sage_elements('(select business_id, id as document_id, ' ~ lines ~ ' from (' ~ sage_accounting.sage_source(stream, ['business_id', 'id', lines]) ~ ') as documents)', lines, ['business_id', 'document_id']) }}
) as elements
{% endmacro %}
