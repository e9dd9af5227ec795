-- Up to when each list was read, and how its last read ended.
{% call sage_contracted() %}
select
    business_id,
    stream,
    max(case when status = 'complete' then started_at end) as fresh_until,
    max(case when place = 1 then started_at end) as last_read_at,
    max(case when place = 1 then status end) as last_status,
    max(case when place = 1 then reason end) as last_reason,
    max(case when place = 1 then run_id end) as last_run_id
from (
    select
        *,
        row_number() over (partition by business_id, stream order by started_at desc, run_id desc) as place
    from {{ ref('stg_sage__run_reads') }}
) as placed
group by business_id, stream
{% endcall %}
