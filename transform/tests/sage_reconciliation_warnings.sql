-- Warns when a check differs that rests on something that Sage does not document.
{{ config(severity='warn') }}
{{ sage_reconciliation_findings('warning') }}
