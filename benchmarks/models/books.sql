-- Books of any size, in DuckDB, in tables `made.*`: for each stream the columns that differ from record to record. What
-- stays equal comes from a record that the tap loaded. Chance comes from hashes, so the same numbers make the same books.
--
-- Variables: entries (about as many in the ledger), businesses, contacts and products (of each business), days, today.

create or replace macro pick(seed, salt, choices) as cast(hash(seed, salt) % choices as integer);
create or replace macro cents(amount) as cast(round(amount, 2) as decimal(18, 2));
create or replace macro sage_id(kind, number) as md5(kind || ' ' || number);
create or replace macro linked(stream, id, shown) as
    json_object('id', id, 'path', '/' || stream || '/' || id, 'displayed_as', shown);
create or replace macro coded(code) as json_object('id', code, 'path', null, 'displayed_as', code);
create or replace macro linked_account(business, number) as
    linked('ledger_accounts', sage_id('account', business || '/' || number), 'Account ' || number);
create or replace macro linked_contact(number) as linked('contacts', sage_id('contact', number), 'Contact ' || number);
create or replace macro linked_transaction(name) as linked('transactions', sage_id('transaction', name), name);

create schema made;

-- Accounts 0 to 3 are those of debtors, creditors, tax on sales and tax on purchases; 4 to 7 are banks.
create table made.account as
select
    business,
    account,
    case
        when account in (0, 3) then 'CURRENT_ASSETS'
        when account in (1, 2) then 'CURRENT_LIABILITIES'
        when account < 8 then 'BANK'
        when account < 10 then 'EQUITY'
        when account < 70 then 'SALES'
        when account < 100 then 'DIRECT_EXPENSES'
        when account < 180 then 'OVERHEADS'
        when account < 190 then 'FIXED_ASSETS'
        else 'CURRENT_ASSETS'
    end as kind
from range(getvariable('businesses')) as businesses (business)
cross join range(200) as accounts (account);

-- What happens: documents, payments without one, journals. A hundred make some 550 entries, with their payments.
create table made.event as
select
    event,
    cast(event % getvariable('businesses') as integer) as business,
    pick(event, 'kind', 100) as kind,
    getvariable('today') - pick(event, 'day', getvariable('days')) as day
from range(cast(getvariable('entries') / 5.49 as bigint)) as events (event);

create table made.document as
with raised as (
    select
        cast(event as varchar) as document,
        business,
        case
            when kind < 40 then 'sales_invoices'
            when kind < 65 then 'purchase_invoices'
            when kind < 71 then 'sales_quick_entries'
            else 'purchase_quick_entries'
        end as stream,
        1 as sign,
        business + getvariable('businesses') * pick(event, 'contact', getvariable('contacts')) as contact,
        day as document_date,
        case when kind < 65 then 1 + pick(event, 'lines', 4) else 1 end as lines,
        cast(case pick(event, 'rate', 20) when 0 then 0.8512 else 1 end as decimal(10, 4)) as rate,
        case pick(event, 'state', 100) when 0 then 'VOID' when 1 then 'DRAFT' else 'UNPAID' end as state,
        cast(null as varchar) as credited
    from made.event
    where kind < 77
)
select * from raised
union all
-- A tenth of the invoices is credited in part.
select
    document || 'c', business, replace(stream, '_invoices', '_credit_notes'), -1, contact,
    document_date + 10, 1, rate, state, document
from raised
where stream like '%invoices' and state = 'UNPAID' and pick(document, 'credit', 10) = 0
    and document_date + 10 <= getvariable('today');

create table made.line as
with lines as (
    select
        document,
        unnest(range(1, lines + 1)) as line,
        business,
        stream like 'sales%' as is_sale,
        rate,
        credited
    from made.document
),
priced as (
    select
        lines.*,
        cast(case
            when credited is null then 1 + pick(document || '/' || line, 'net', 100000) / 100.0
            else 0.1 + pick(document, 'net', 70) / 100.0
        end as decimal(18, 2)) as net,
        case pick(document || '/' || line, 'tax', 10) when 0 then 'GB_ZERO' else 'GB_STANDARD' end as tax_rate,
        case when is_sale then 10 + pick(document || '/' || line, 'account', 60)
            else 70 + pick(document || '/' || line, 'account', 110) end as account,
        pick(document || '/' || line, 'product', getvariable('products')) as product
    from lines
)
select
    *,
    case tax_rate when 'GB_ZERO' then cast(0 as decimal(18, 2)) else cents(net * 0.2) end as tax,
    cents(net * rate) as base_net
from priced;

create table made.total as
select
    documents.*,
    sums.net,
    sums.tax,
    sums.net + sums.tax as total,
    cents(sums.tax * documents.rate) as base_tax,
    cents((sums.net + sums.tax) * documents.rate) as base_total,
    sums.base_net_of_lines
from made.document as documents
inner join (
    select document, sum(net) as net, sum(tax) as tax, sum(base_net) as base_net_of_lines
    from made.line group by document
) as sums using (document);

-- What settles documents: half of the credits, and payments of four fifths of the invoices, a tenth of them in two parts.
create table made.settlement as
with credits as (
    select credited as document, 'allocation ' || document as source, document_date as day, total as amount
    from made.total
    where credited is not null and pick(document, 'allocated', 2) = 0
),
payable as (
    select
        totals.document,
        totals.total - coalesce(credits.amount, 0) as amount,
        totals.document_date + 15 + pick(totals.document, 'days', 40) as first_day,
        pick(totals.document, 'parts', 10) = 0 as is_in_parts
    from made.total as totals
    left join credits using (document)
    where totals.sign = 1 and totals.state = 'UNPAID' and pick(totals.document, 'paid', 10) < 8
),
parts as (
    select document, 'payment ' || document || '/1' as source, first_day as day,
        case when is_in_parts then cents(amount / 2) else amount end as amount
    from payable
    union all
    select document, 'payment ' || document || '/2', first_day + 30, amount - cents(amount / 2)
    from payable where is_in_parts
),
settled as (
    select * from credits
    union all
    select * from parts where amount > 0 and day <= getvariable('today')
),
converted as (
    select
        settled.*, totals.business, totals.stream, totals.contact, totals.rate, totals.total, totals.base_total,
        cents(settled.amount * totals.rate) as converted,
        sum(settled.amount) over so_far as settled_so_far,
        sum(cents(settled.amount * totals.rate)) over so_far as converted_so_far
    from settled
    inner join made.total as totals using (document)
    window so_far as (partition by document order by settled.day, settled.source)
)
select
    document, source, day, business, stream, contact, rate, amount,
    case when settled_so_far = total then base_total - (converted_so_far - converted) else converted end as base_amount
from converted;

create table made.outstanding as
with settled as (
    select document, sum(amount) as amount, sum(base_amount) as base_amount from made.settlement group by document
    union all
    select totals.document, totals.total, totals.base_total
    from made.total as totals
    inner join made.settlement as used on used.source = 'allocation ' || totals.document
)
select
    totals.*,
    case when totals.state = 'UNPAID' then totals.total - coalesce(settled.amount, 0) else totals.total end as outstanding,
    case when totals.state = 'UNPAID' then totals.base_total - coalesce(settled.base_amount, 0) else totals.base_total end as base_outstanding
from made.total as totals
left join settled using (document);

-- Every fiftieth payment leaves money on account.
create table made.payment as
select
    source as payment,
    settlements.*,
    case when rate = 1 and pick(source, 'account', 50) = 0 then 100.00 else 0 end as on_account,
    4 + pick(source, 'bank', 4) as bank
from made.settlement as settlements
where source like 'payment%';

create table made.entry as
with posted as (
    select
        totals.*,
        case when stream like 'sales%' then sign else -sign end as direction,
        case when stream like 'sales%' then 0 else 1 end as control,
        state = 'VOID' as is_deleted
    from made.total as totals
    where state <> 'DRAFT'
),
lines as (
    select
        posted.*,
        lines.account,
        lines.tax_rate,
        lines.base_net + case when lines.line = posted.lines
            then posted.base_total - posted.base_tax - posted.base_net_of_lines else 0 end as line_net
    from posted
    inner join made.line as lines using (document)
),
journal as (
    select event, business, day, 2 + pick(event, 'lines', 5) as lines from made.event where kind >= 90
),
journal_line as (
    select
        journal.*,
        number,
        cast(1 + pick(event || '/' || number, 'amount', 50000) / 100.0 as decimal(18, 2)) as amount
    from journal
    cross join range(1, 6) as numbers (number)
    where number < lines
),
cash as (
    select
        event, business, day, kind < 87 as is_payment,
        cast(1 + pick(event, 'amount', 20000) / 100.0 as decimal(18, 2)) as net
    from made.event where kind between 77 and 89
)
select business, document as source, document_date as day, control as account, direction * base_total as amount, contact, cast(null as varchar) as tax_rate, is_deleted from posted
union all
select business, document, document_date, 2 + control, -direction * base_tax, contact, null, is_deleted from posted where base_tax <> 0
union all
select business, document, document_date, account, -direction * line_net, contact, tax_rate, is_deleted from lines
union all
select business, payment, day, bank, (base_amount + on_account) * case when stream like 'sales%' then 1 else -1 end, contact, null, false from made.payment
union all
select business, payment, day, case when stream like 'sales%' then 0 else 1 end, (base_amount + on_account) * case when stream like 'sales%' then -1 else 1 end, contact, null, false from made.payment
union all
select business, 'cash ' || event, day, 4, (net + cents(net * 0.2)) * case when is_payment then -1 else 1 end, null, null, false from cash
union all
select business, 'cash ' || event, day, case when is_payment then 3 else 2 end, cents(net * 0.2) * case when is_payment then 1 else -1 end, null, null, false from cash
union all
select business, 'cash ' || event, day, case when is_payment then 100 + pick(event, 'account', 80) else 10 + pick(event, 'account', 60) end, net * case when is_payment then 1 else -1 end, null, 'GB_STANDARD', false from cash
union all
select business, 'journal ' || event, day, 100 + pick(event || '/' || number, 'account', 100), amount, null, null, false from journal_line
union all
select business, 'journal ' || event, day, 180 + pick(event, 'account', 20), -sum(amount), null, null, false from journal_line group by business, event, day;

create table made.transaction as
select business, source, min(day) as day, max(contact) as contact, bool_and(is_deleted) as is_deleted, sum(greatest(amount, 0)) as total,
    case
        when source like 'journal%' then 'JOURNAL'
        when source like 'cash%' then 'OTHER_PAYMENT'
        when source like 'payment%' then 'CUSTOMER_RECEIPT'
        else 'SALES_INVOICE'
    end as kind
from made.entry group by business, source
union all
select business, source, day, contact, false, 0, 'CUSTOMER_ALLOCATION' from made.settlement where source like 'allocation%';
