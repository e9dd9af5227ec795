-- Fails when a certain check differs, and logs its figures.
{{ sage_reconciliation_findings('error') }}
