{#- Read one of the document streams in the shape that all of them share.

    Args:
        stream: the stream.
        side: 'sales' or 'purchases'.
        number: the column with the document's number.
        quick: whether it holds quick entries, whose type distinguishes invoices from credit notes.
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
    created_at, updated_at, extracted_at
from ({{ sage_accounting.sage_source(stream, columns) }}) as documents
{% endmacro %}


{#- Select the keys of the lines of posted documents, as sage__invoice_lines has them. -#}
{% macro sage_posted_lines() %}
(
    select lines.business_id, lines.stream, lines.document_id, lines.line_number
    from {{ ref('stg_sage__document_lines') }} as lines
    inner join {{ ref('stg_sage__documents') }} as documents
        on lines.business_id = documents.business_id
        and lines.stream = documents.stream
        and lines.document_id = documents.document_id
    where documents.is_posted and not documents.is_opening_balance
)
{% endmacro %}


{#- Read the lines of one of the document streams in the shape that all of them share. -#}
{% macro sage_document_lines(stream, lines) %}
{%- set documents = '(select business_id, id as document_id, ' ~ lines ~ ' from (' ~ sage_accounting.sage_source(stream, ['business_id', 'id', lines]) ~ ') as documents)' -%}
{%- set numbers = {
    'quantity': 'quantity', 'unit_price': 'unit_price', 'discount_amount': 'discount_amount', 'net_amount': 'net_amount',
    'tax_amount': 'tax_amount', 'total_amount': 'total_amount', 'base_net_amount': 'base_currency_net_amount',
    'base_tax_amount': 'base_currency_tax_amount',
} -%}
{%- set texts = {
    'description': 'description',
    'product_id': ['product', 'id'],
    'service_id': ['service', 'id'],
    'ledger_account_id': ['ledger_account', 'id'],
    'tax_rate_id': ['tax_rate', 'id'],
    'analysis_category': ['analysis_type_categories', 0, 'displayed_as'],
    'second_analysis_category': ['analysis_type_categories', 1, 'displayed_as'],
} -%}
{%- do texts.update(numbers) -%}
select
    business_id,
    document_id,
    '{{ stream }}' as stream,
    cast(position as {{ dbt.type_int() }}) as line_number,
    description,
    coalesce(product_id, service_id) as product_id,
    ledger_account_id,
    tax_rate_id,
    {%- for name in numbers %}
    {% if name in ('discount_amount', 'tax_amount') %}coalesce(cast({{ name }} as {{ sage_accounting.sage_number_type(name) }}), 0)
    {%- else %}cast({{ name }} as {{ sage_accounting.sage_number_type(name) }}){% endif %} as {{ name }},
    {%- endfor %}
    analysis_category,
    second_analysis_category
from (
    {{ sage_accounting.sage_element_fields(documents, lines, ['business_id', 'document_id'], texts) }}
) as fields_of_lines
{% endmacro %}
