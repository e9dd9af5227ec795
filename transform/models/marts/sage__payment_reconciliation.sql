-- Money and documents that do not meet: receipts without an invoice, invoices paid in part, more settled than was due.
{% call sage_contracted() %}
with settled as (
    select business_id, item_id, sum(amount + discount) as settled_amount, sum(base_amount) as base_settled_amount, max(settled_on) as last_settled_on
    from {{ ref('int_sage__settlements') }}
    group by 1, 2
),

items as (
    select
        items.business_id,
        items.item_id,
        items.stream,
        items.item_kind,
        items.side,
        items.sign,
        items.item_number,
        items.item_date,
        items.due_date,
        items.contact_id,
        items.contact_name,
        items.currency_id,
        items.total_amount,
        items.base_total_amount,
        coalesce(settled.settled_amount, 0) as settled_amount,
        items.total_amount - coalesce(settled.settled_amount, 0) as outstanding,
        items.base_total_amount - coalesce(settled.base_settled_amount, 0) as base_outstanding,
        settled.last_settled_on
    from {{ ref('int_sage__open_items') }} as items
    left join settled on items.business_id = settled.business_id and items.item_id = settled.item_id
),

judged as (
    select
        items.*,
        case
            when outstanding < 0 then 'settled by more than it is'
            when item_kind = 'payment on account' and outstanding > 0 then 'payment without a document'
            when item_kind = 'credit note' and outstanding > 0 then 'credit not used'
            when settled_amount > 0 and outstanding > 0 then 'settled in part'
        end as finding
    from items
)

select * from judged
where finding is not null
{% endcall %}
