{{ config(materialized='table') }}
{%- set columns = ['business_id', 'id', 'date', 'transaction', 'contact', 'allocated_artefacts'] -%}
with payments as (
    {{ sage_source('contact_payments', columns) }}
),

allocations as (
    {{ sage_source('contact_allocations', columns) }}
),

both_streams as (
    select 'contact_payments' as stream, payments.* from payments
    union all
    select 'contact_allocations' as stream, allocations.* from allocations
),

sources as (
    select
        stream,
        business_id,
        id as source_id,
        date as settled_on,
        {{ sage_text('transaction', 'id') }} as transaction_id,
        {{ sage_text('contact', 'id') }} as contact_id,
        allocated_artefacts
    from both_streams
),

elements as (
    {{ sage_element_fields(
        'sources', 'allocated_artefacts',
        ['stream', 'business_id', 'source_id', 'settled_on', 'transaction_id', 'contact_id'],
        {'item_id': ['artefact', 'id'], 'amount': 'amount', 'discount': 'discount'}
    ) }}
)

select
    business_id,
    stream,
    source_id,
    cast(position as {{ dbt.type_int() }}) as position,
    settled_on,
    transaction_id,
    contact_id,
    item_id,
    cast(amount as {{ sage_number_type() }}) as amount,
    coalesce(cast(discount as {{ sage_number_type() }}), 0) as discount
from elements
