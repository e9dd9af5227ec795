-- Fails when a certain check differs, and logs its figures.
{{ config(meta={'dagster': {'ref': {'name': 'sage__reconciliation'}}}) }}
{{ sage_reconciliation_findings('error') }}
