-- Empty where the tap's stream of reads is not selected, as by default.
with reads as (
    {{ sage_source('run_reads', ['run_id', 'business_id', 'stream', 'status', 'reason', 'started_at', 'records']) }}
)

select
    run_id,
    nullif(business_id, '-') as business_id,
    stream,
    status,
    reason,
    started_at,
    records
from reads
