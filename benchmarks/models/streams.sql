-- The streams of the books, in tables `streams.*`: the columns that differ from record to record, named as the tap does.
-- `line_of_invoice` and `line_of_payment` are lists of lines that the tap loaded; lines here replace what differs in them.

create schema streams;

create or replace macro business_key(business) as sage_id('business', business);
create or replace macro written(day) as cast(day as timestamp) + interval 20 hour;
create or replace macro currency(rate) as linked('currencies', case when rate = 1 then 'GBP' else 'EUR' end, null);

create table streams.businesses as
select business_key(business) as business_id, sage_id('business', business) as id, 'Business ' || business as name
from range(getvariable('businesses')) as businesses (business);

create table streams.financial_settings as
select business_id, getvariable('today') - getvariable('days') as accounts_start_date, date '2025-04-05' as year_end_date
from streams.businesses;

create table streams.ledger_accounts as
select
    business_key(business) as business_id,
    sage_id('account', business || '/' || account) as id,
    'Account ' || account as name,
    account as nominal_code,
    coded(case when kind in ('SALES') then 'INCOME' when kind in ('DIRECT_EXPENSES', 'OVERHEADS') then 'EXPENSE' else 'ASSET' end) as ledger_account_group,
    coded(kind) as ledger_account_type
from made.account;

create table streams.bank_accounts as
select
    business_key(business) as business_id,
    sage_id('bank', business || '/' || account) as id,
    'Bank ' || account as displayed_as,
    linked_account(business, account) as ledger_account,
    coalesce(sum(amount), 0) as balance,
    currency(1) as currency
from made.account
left join made.entry using (business, account)
where account between 4 and 7
group by business, account;

create table streams.contacts as
with numbered as (
    select business, business + getvariable('businesses') * number as contact, number
    from range(getvariable('businesses')) as businesses (business)
    cross join range(getvariable('contacts')) as contacts (number)
),
owed as (
    select contact, sum(case account when 0 then amount else -amount end) as balance from made.entry where account < 2 and not is_deleted group by contact
)
select
    business_key(business) as business_id,
    sage_id('contact', contact) as id,
    'Contact ' || contact as name,
    'Contact ' || contact as displayed_as,
    'C' || number as reference,
    '[{"id": "CUSTOMER"}, {"id": "VENDOR"}]' as contact_types,
    abs(coalesce(balance, 0)) as balance
from numbered
left join owed using (contact);

create table streams.products as
select
    business_key(business) as business_id,
    sage_id('product', product) as id,
    'ITEM-' || product as item_code,
    'Product ' || product as description,
    coded('PRODUCT') as catalog_item_type
from range(getvariable('businesses')) as businesses (business)
cross join range(getvariable('products')) as products (product);

create table streams.tax_rates as
select business_id, rates.id, rates.name, percentage
from streams.businesses
cross join (values ('GB_STANDARD', 'STANDARD', 20), ('GB_ZERO', 'ZERO', 0)) as rates (id, name, percentage);

-- Documents: all of their streams have these columns, with names of their own for number and lines.
create table streams.document as
with lines as (
    select document, to_json(list(json_merge_patch(getvariable('line_of_invoice'), json_object(
        'id', md5(document || '/' || line),
        'product', linked('products', sage_id('product', product), 'Product ' || product),
        'description', 'Product ' || product,
        'ledger_account', linked_account(business, account),
        'tax_rate', coded(tax_rate),
        'quantity', 1, 'unit_price', net, 'discount_amount', 0,
        'net_amount', net, 'tax_amount', tax, 'total_amount', net + tax,
        'base_currency_net_amount', base_net, 'base_currency_tax_amount', cents(tax * rate)
    )) order by line)) as documented_lines, min(account) as account, min(tax_rate) as tax_rate
    from made.line group by document
)
select
    stream,
    document,
    business_key(business) as business_id,
    sage_id('document', document) as id,
    document_date as date,
    document_date + 30 as due_date,
    document as reference,
    linked_contact(contact) as contact,
    'Contact ' || contact as contact_name,
    coded(case when state <> 'UNPAID' then state when outstanding = 0 then 'PAID' when outstanding < total then 'PART_PAID' else 'UNPAID' end) as status,
    currency(rate) as currency,
    rate as exchange_rate,
    rate as inverse_exchange_rate,
    net as net_amount,
    tax as tax_amount,
    total as total_amount,
    outstanding as outstanding_amount,
    base_total - base_tax as base_currency_net_amount,
    base_tax as base_currency_tax_amount,
    base_total as base_currency_total_amount,
    base_outstanding as base_currency_outstanding_amount,
    case when state <> 'DRAFT' then linked_transaction(document) end as transaction,
    coded(case stream
        when 'sales_invoices' then 'SALES_INVOICE'
        when 'sales_credit_notes' then 'SALES_CREDIT_NOTE'
        when 'sales_quick_entries' then 'SALES_QUICK_INVOICE'
        when 'purchase_invoices' then 'PURCHASE_INVOICE'
        when 'purchase_credit_notes' then 'PURCHASE_CREDIT_NOTE'
        else 'PURCHASE_QUICK_INVOICE'
    end) as transaction_type,
    written(document_date) as created_at,
    written(document_date) as updated_at,
    documented_lines as lines,
    linked_account(business, account) as ledger_account,
    coded(tax_rate) as tax_rate
from made.outstanding
inner join lines using (document);

create table streams.sales_invoices as
select * exclude (stream, document, lines, ledger_account, tax_rate), document as invoice_number, lines as invoice_lines
from streams.document where stream = 'sales_invoices';

create table streams.sales_credit_notes as
select * exclude (stream, document, due_date, lines, ledger_account, tax_rate), document as credit_note_number, lines as credit_note_lines
from streams.document where stream = 'sales_credit_notes';

create table streams.purchase_invoices as
select * exclude (stream, document, lines, ledger_account, tax_rate), document as vendor_reference, lines as invoice_lines
from streams.document where stream = 'purchase_invoices';

create table streams.purchase_credit_notes as
select * exclude (stream, document, due_date, lines, ledger_account, tax_rate), document as vendor_reference, lines as credit_note_lines
from streams.document where stream = 'purchase_credit_notes';

create table streams.sales_quick_entries as
select * exclude (stream, document, lines) from streams.document where stream = 'sales_quick_entries';

create table streams.purchase_quick_entries as
select * exclude (stream, document, lines) from streams.document where stream = 'purchase_quick_entries';

create table streams.contact_payments as
select
    business_key(business) as business_id,
    sage_id('payment', payment) as id,
    day as date,
    linked_transaction(payment) as transaction,
    coded(case when stream like 'sales%' then 'CUSTOMER_RECEIPT' else 'VENDOR_PAYMENT' end) as transaction_type,
    linked_contact(contact) as contact,
    linked('bank_accounts', sage_id('bank', business || '/' || bank), 'Bank ' || bank) as bank_account,
    amount + on_account as total_amount,
    currency(rate) as currency,
    rate as exchange_rate,
    base_amount + on_account as base_currency_total_amount,
    payment as reference,
    case when on_account > 0 then json_object(
        'id', sage_id('on account', payment), 'total_amount', on_account, 'outstanding_amount', on_account,
        'base_currency_total_amount', on_account, 'exchange_rate', 1
    ) end as payment_on_account,
    json_array(json_object(
        'id', md5(payment), 'artefact', linked(stream, sage_id('document', document), document), 'amount', amount, 'discount', 0
    )) as allocated_artefacts,
    written(day) as created_at,
    written(day) as updated_at
from made.payment;

create table streams.contact_allocations as
select
    business_key(business) as business_id,
    sage_id('allocation', source) as id,
    day as date,
    linked_transaction(source) as transaction,
    linked_contact(contact) as contact,
    json_array(
        json_object('id', md5(source || '1'), 'artefact', linked(stream, sage_id('document', document), document), 'amount', amount, 'discount', 0),
        json_object('id', md5(source || '2'), 'artefact', linked(stream, sage_id('document', document || 'c'), document), 'amount', -amount, 'discount', 0)
    ) as allocated_artefacts,
    written(day) as created_at,
    written(day) as updated_at
from made.settlement
where source like 'allocation%';

create table streams.other_payments as
with cash as (
    select business, source, min(day) as day, max(account) filter (account >= 10) as account,
        abs(sum(amount) filter (account >= 10)) as net, abs(coalesce(sum(amount) filter (account in (2, 3)), 0)) as tax,
        bool_or(account = 3 or account >= 100) as is_payment
    from made.entry where source like 'cash%' group by business, source
)
select
    business_key(business) as business_id,
    sage_id('cash', source) as id,
    day as date,
    linked_transaction(source) as transaction,
    coded(case when is_payment then 'OTHER_PAYMENT' else 'OTHER_RECEIPT' end) as transaction_type,
    net as net_amount,
    tax as tax_amount,
    net + tax as total_amount,
    source as reference,
    linked('bank_accounts', sage_id('bank', business || '/4'), 'Bank 4') as bank_account,
    json_array(json_merge_patch(json_extract(getvariable('line_of_payment'), '$[0]'), json_object(
        'id', md5(source), 'ledger_account', linked_account(business, account), 'tax_rate', coded('GB_STANDARD'),
        'net_amount', net, 'tax_amount', tax, 'total_amount', net + tax
    ))) as payment_lines,
    written(day) as created_at,
    written(day) as updated_at
from cash;

create table streams.transactions as
select
    business_key(business) as business_id,
    sage_id('transaction', source) as id,
    day as date,
    is_deleted as deleted,
    source as reference,
    total,
    total as total_in_transaction_currency,
    case when contact is not null then linked_contact(contact) end as contact,
    linked('transaction_types', kind, kind) as transaction_type,
    cast(row_number() over (partition by business order by day, source) as bigint) as audit_trail_id,
    written(day) as created_at,
    written(day) as updated_at
from made.transaction;

create table streams.ledger_entries as
select
    business_key(business) as business_id,
    md5(source || '/' || row_number() over (partition by source)) as id,
    day as date,
    greatest(amount, 0) as debit,
    greatest(-amount, 0) as credit,
    linked_account(business, account) as ledger_account,
    linked_transaction(source) as transaction,
    case when contact is not null then linked_contact(contact) end as contact,
    case when tax_rate is not null then coded(tax_rate) end as tax_rate,
    source as description,
    is_deleted as deleted,
    written(day) as created_at,
    written(day) as updated_at
from made.entry;

create table streams.trial_balance as
with moved as (
    select business, account, cast(date_trunc('month', day) as date) as month, sum(greatest(amount, 0)) as debit, sum(greatest(-amount, 0)) as credit
    from made.entry where not is_deleted group by all
),
months as (
    select cast(unnest(generate_series(
        (select min(month) from moved), cast(date_trunc('month', getvariable('today')) as date), interval 1 month
    )) as date) as month
),
spread as (
    select accounts.business, accounts.account, months.month, coalesce(debit, 0) as debit, coalesce(credit, 0) as credit,
        sum(coalesce(debit, 0) - coalesce(credit, 0)) over (partition by accounts.business, accounts.account order by months.month) as closing
    from made.account as accounts
    cross join months
    left join moved on accounts.business = moved.business and accounts.account = moved.account and months.month = moved.month
)
select
    business_key(business) as business_id,
    month as from_date,
    last_day(month) as to_date,
    sage_id('account', business || '/' || account) as ledger_account_id,
    greatest(closing - debit + credit, 0) as opening_balance_debit,
    greatest(debit - credit - closing, 0) as opening_balance_credit,
    debit,
    credit,
    greatest(closing, 0) as closing_balance_debit,
    greatest(-closing, 0) as closing_balance_credit,
    cast(getvariable('today') as timestamp) + interval 23 hour as read_at
from spread;
