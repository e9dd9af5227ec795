{% call sage_contracted() %}
select
    accounts.business_id,
    accounts.ledger_account_id,
    accounts.nominal_code,
    accounts.account_name,
    accounts.account_type_id,
    accounts.account_type,
    accounts.account_group,
    accounts.statement,
    accounts.natural_sign,
    accounts.is_control_account,
    min(roles.role) as role
from {{ ref('stg_sage__ledger_accounts') }} as accounts
left join {{ ref('int_sage__control_accounts') }} as roles
    on accounts.business_id = roles.business_id and accounts.ledger_account_id = roles.ledger_account_id
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
{% endcall %}
