-- Warns when a check differs that rests on something that Sage does not document.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'sage__reconciliation'}}}) }}
{{ sage_reconciliation_findings('warning') }}
