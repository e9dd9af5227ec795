-- The entries of the accounts behind documents: all that is compared with documents, payments and tax.
select
    ledger.business_id,
    ledger.ledger_entry_id,
    roles.role,
    ledger.transaction_id,
    ledger.contact_id,
    ledger.month,
    ledger.document_id is not null as is_of_document,
    ledger.amount
from {{ ref('sage__general_ledger') }} as ledger
inner join {{ ref('int_sage__control_accounts') }} as roles
    on ledger.business_id = roles.business_id and ledger.ledger_account_id = roles.ledger_account_id
