with returns as (
    {{ sage_source('tax_returns', [
        'business_id', 'id', 'tax_return_number', 'period_start_date', 'period_end_date', 'total_amount', 'paid', 'status',
    ]) }}
)

select
    business_id,
    id as tax_return_id,
    tax_return_number,
    period_start_date,
    period_end_date,
    total_amount,
    paid as is_paid,
    {{ sage_text('status', 'id') }} as status_id
from returns
