"""The code lists that every business shares, as text: `CODE name` separated by `;`."""

from __future__ import annotations

COUNTRIES = """
AD Andorra;AE United Arab Emirates;AF Afghanistan;AG Antigua and Barbuda;AI Anguilla;AL Albania;AM Armenia;AO Angola;
AR Argentina;AT Austria;AU Australia;AW Aruba;AZ Azerbaijan;BA Bosnia and Herzegovina;BB Barbados;BD Bangladesh;
BE Belgium;BF Burkina Faso;BG Bulgaria;BH Bahrain;BI Burundi;BJ Benin;BM Bermuda;BN Brunei;BO Bolivia;BR Brazil;
BS Bahamas;BT Bhutan;BW Botswana;BY Belarus;BZ Belize;CA Canada;CD Congo (Kinshasa);CF Central African Republic;
CG Congo (Brazzaville);CH Switzerland;CI Côte d'Ivoire;CK Cook Islands;CL Chile;CM Cameroon;CN China;CO Colombia;
CR Costa Rica;CU Cuba;CV Cape Verde;CW Curaçao;CY Cyprus;CZ Czechia;DE Germany;DJ Djibouti;DK Denmark;DM Dominica;
DO Dominican Republic;DZ Algeria;EC Ecuador;EE Estonia;EG Egypt;ER Eritrea;ES Spain;ET Ethiopia;FI Finland;FJ Fiji;
FK Falkland Islands;FM Micronesia;FO Faroe Islands;FR France;GA Gabon;GB United Kingdom;GD Grenada;GE Georgia;
GF French Guiana;GG Guernsey;GH Ghana;GI Gibraltar;GL Greenland;GM Gambia;GN Guinea;GP Guadeloupe;
GQ Equatorial Guinea;GR Greece;GT Guatemala;GW Guinea-Bissau;GY Guyana;HK Hong Kong;HN Honduras;HR Croatia;HT Haiti;
HU Hungary;ID Indonesia;IE Ireland;IL Israel;IM Isle of Man;IN India;IQ Iraq;IR Iran;IS Iceland;IT Italy;JE Jersey;
JM Jamaica;JO Jordan;JP Japan;KE Kenya;KG Kyrgyzstan;KH Cambodia;KI Kiribati;KM Comoros;KN Saint Kitts and Nevis;
KP North Korea;KR South Korea;KW Kuwait;KY Cayman Islands;KZ Kazakhstan;LA Laos;LB Lebanon;LC Saint Lucia;
LI Liechtenstein;LK Sri Lanka;LR Liberia;LS Lesotho;LT Lithuania;LU Luxembourg;LV Latvia;LY Libya;MA Morocco;
MC Monaco;MD Moldova;ME Montenegro;MG Madagascar;MH Marshall Islands;MK North Macedonia;ML Mali;MM Myanmar;
MN Mongolia;MO Macao;MQ Martinique;MR Mauritania;MS Montserrat;MT Malta;MU Mauritius;MV Maldives;MW Malawi;MX Mexico;
MY Malaysia;MZ Mozambique;NA Namibia;NC New Caledonia;NE Niger;NG Nigeria;NI Nicaragua;NL Netherlands;NO Norway;
NP Nepal;NR Nauru;NZ New Zealand;OM Oman;PA Panama;PE Peru;PF French Polynesia;PG Papua New Guinea;PH Philippines;
PK Pakistan;PL Poland;PR Puerto Rico;PS Palestine;PT Portugal;PW Palau;PY Paraguay;QA Qatar;RE Réunion;RO Romania;
RS Serbia;RU Russia;RW Rwanda;SA Saudi Arabia;SB Solomon Islands;SC Seychelles;SD Sudan;SE Sweden;SG Singapore;
SI Slovenia;SK Slovakia;SL Sierra Leone;SM San Marino;SN Senegal;SO Somalia;SR Suriname;SS South Sudan;
ST São Tomé and Príncipe;SV El Salvador;SY Syria;SZ Eswatini;TD Chad;TG Togo;TH Thailand;TJ Tajikistan;
TL Timor-Leste;TM Turkmenistan;TN Tunisia;TO Tonga;TR Türkiye;TT Trinidad and Tobago;TV Tuvalu;TW Taiwan;TZ Tanzania;
UA Ukraine;UG Uganda;US United States;UY Uruguay;UZ Uzbekistan;VA Vatican City;VC Saint Vincent;VE Venezuela;
VG British Virgin Islands;VN Vietnam;VU Vanuatu;WS Samoa;XI Northern Ireland;XK Kosovo;YE Yemen;ZA South Africa;
ZM Zambia;ZW Zimbabwe
"""

CURRENCIES = """
AED United Arab Emirates Dirham;AUD Australian Dollar;BGN Bulgarian Lev;BRL Brazilian Real;CAD Canadian Dollar;
CHF Swiss Franc;CNY Chinese Yuan;CZK Czech Koruna;DKK Danish Krone;EUR Euro;GBP Pound Sterling;HKD Hong Kong Dollar;
HRK Croatian Kuna;HUF Hungarian Forint;IDR Indonesian Rupiah;ILS Israeli Shekel;INR Indian Rupee;ISK Icelandic Króna;
JPY Japanese Yen;KRW South Korean Won;MXN Mexican Peso;MYR Malaysian Ringgit;NOK Norwegian Krone;
NZD New Zealand Dollar;PHP Philippine Peso;PLN Polish Złoty;RON Romanian Leu;RUB Russian Rouble;SEK Swedish Krona;
SGD Singapore Dollar;THB Thai Baht;TRY Turkish Lira;USD US Dollar;ZAR South African Rand
"""

TRANSACTION_TYPES = """
BANK_DEPOSIT;BANK_OPENING_BALANCE;BANK_PAYMENT;BANK_RECEIPT;BANK_TRANSFER;CORRECTION;CUSTOMER_ALLOCATION;
CUSTOMER_OPENING_BALANCE_CREDIT_NOTE;CUSTOMER_OPENING_BALANCE_INVOICE;CUSTOMER_RECEIPT;CUSTOMER_REFUND;
IMPORTED_JOURNAL;JOURNAL;LEDGER_ACCOUNT_OPENING_BALANCE;OPENING_BALANCE_JOURNAL;OTHER_PAYMENT;OTHER_RECEIPT;
PENSION_PROVIDER_PAYMENT;PURCHASE_CORRECTIVE_INVOICE;PURCHASE_CREDIT_NOTE;PURCHASE_INVOICE;
PURCHASE_QUICK_CREDIT_NOTE;PURCHASE_QUICK_INVOICE;REVENUE_PAYMENT;REVERSAL_JOURNAL;SALES_CORRECTIVE_INVOICE;
SALES_CREDIT_NOTE;SALES_INVOICE;SALES_QUICK_CREDIT_NOTE;SALES_QUICK_INVOICE;STAFF_PAYMENT;STOCK_ADJUSTMENT;TAX_PAYMENT;
TAX_REFUND;TAX_RETURN_ADJUSTMENT;TAX_SCHEME_TRANSFER_PAYMENT;VENDOR_ALLOCATION;
VENDOR_OPENING_BALANCE_CREDIT_NOTE;VENDOR_OPENING_BALANCE_INVOICE;VENDOR_PAYMENT;VENDOR_REFUND;VOID_PAYMENT
"""

REGIONS = {
    "CA": """AB Alberta;BC British Columbia;MB Manitoba;NB New Brunswick;NL Newfoundland and Labrador;
NS Nova Scotia;NT Northwest Territories;NU Nunavut;ON Ontario;PE Prince Edward Island;QC Quebec;SK Saskatchewan;
YT Yukon""",
    "US": """AK Alaska;AL Alabama;AR Arkansas;AS American Samoa;AZ Arizona;CA California;CO Colorado;CT Connecticut;
DC District of Columbia;DE Delaware;FL Florida;GA Georgia;GU Guam;HI Hawaii;IA Iowa;ID Idaho;IL Illinois;IN Indiana;
KS Kansas;KY Kentucky;LA Louisiana;MA Massachusetts;MD Maryland;ME Maine;MI Michigan;MN Minnesota;MO Missouri;
MP Northern Mariana Islands;MS Mississippi;MT Montana;NC North Carolina;ND North Dakota;NE Nebraska;NH New Hampshire;
NJ New Jersey;NM New Mexico;NV Nevada;NY New York;OH Ohio;OK Oklahoma;OR Oregon;PA Pennsylvania;PR Puerto Rico;
RI Rhode Island;SC South Carolina;SD South Dakota;TN Tennessee;TX Texas;UT Utah;VA Virginia;VI US Virgin Islands;
VT Vermont;WA Washington;WI Wisconsin;WV West Virginia;WY Wyoming;AA Armed Forces Americas;AE Armed Forces Europe;
AP Armed Forces Pacific""",
}

SMALL_LISTS = {
    "address_types": "ACCOUNTS Accounts;DELIVERY Delivery;HOME Home;PURCHASING Purchasing;SALES Sales",
    "artefact_statuses": """UNPAID Unpaid;PART_PAID Part Paid;PAID Paid;VOID Void;DRAFT Draft;DISPUTED Disputed;
DECLINED Declined;PRO_FORMA Pro Forma;ACCEPTED Accepted;ACCEPTED_BY_CUSTOMER Accepted by Customer;
DECLINED_BY_CUSTOMER Declined by Customer""",
    "attachment_context_types": """CONTACT Contact;JOURNAL Journal;OTHER_PAYMENT Other Payment;
PURCHASE_CREDIT_NOTE Purchase Credit Note;PURCHASE_INVOICE Purchase Invoice;SALES_CREDIT_NOTE Sales Credit Note;
SALES_INVOICE Sales Invoice;TRANSACTION Transaction""",
    "bank_account_types": """CHECKING Current;SAVINGS Savings;CREDIT_CARD Credit Card;CASH_IN_HAND Cash in Hand;
LOAN Loan;OTHER Other""",
    "business_activity_types": "AGRICULTURE Agriculture;COMMERCE Commerce;LIBERALE Profession libérale",
    "catalog_item_types": "PRODUCT Product;SERVICE Service;STOCK_ITEM Stock Item",
    "contact_opening_balance_types": "INVOICE Invoice;CREDIT_NOTE Credit Note",
    "contact_person_types": "ACCOUNTS Accounts;DELIVERY Delivery;PURCHASING Purchasing;SALES Sales",
    "contact_types": "CUSTOMER Customer;VENDOR Supplier",
    "corrective_reason_codes": """01 Número de la factura;02 Serie de la factura;03 Fecha de expedición;
04 Nombre y apellidos/Razón social-Emisor;80 Cuotas repercutidas no satisfechas;83 Descuentos y bonificaciones""",
    "countries_of_registration": "GB-ENG England;GB-NIR Northern Ireland;GB-SCT Scotland;GB-WLS Wales;IE Ireland",
    "country_groups": "ALL Rest of World;EU European Union;GBIE UK & Ireland",
    "eu_goods_services_types": "GOODS Goods;SERVICES Services;OSS_SERVICES Digital Services",
    "eu_sales_descriptions": """STANDARD Standard;TRIANGULATED Triangulated;SERVICES Services;
INTERMEDIARY Intermediary""",
    "journal_code_types": "BANK Bank;CASH Cash;OTHER Other;PURCHASES Purchases;SALES Sales",
    "ledger_account_classifications": """CASH_AND_EQUIVALENTS Cash and Equivalents;RECEIVABLES Receivables;
PAYABLES Payables;TAX Tax;OPERATING Operating;FINANCING Financing""",
    "ledger_account_types": """BANK Bank;CURRENT_ASSETS Current Assets;CURRENT_LIABILITIES Current Liabilities;
DEPRECIATION Depreciation;DIRECT_EXPENSES Direct Expenses;EQUITY Equity;FIXED_ASSETS Fixed Assets;
FUTURE_LIABILITIES Future Liabilities;OTHER_INCOME Other Income;OVERHEADS Overheads;SALES Sales""",
    "legal_form_types": "AE Auto-entrepreneur;EURL EURL;SARL SARL;SAS SAS",
    "payment_methods": """CASH Cash;CHECK Cheque;CREDIT_DEBIT Credit/Debit Card;DIRECT_DEBIT Direct Debit;
ELECTRONIC Electronic;BANK_RECEIPT Bank Receipt""",
    "quick_entry_types": "INVOICE Invoice;CREDIT_NOTE Credit Note",
    "tax_return_frequencies": """ANNUALLY Annually;MONTHLY Monthly;QUARTERLY Quarterly;BI_MONTHLY Every Two Months""",
    "tax_schemes": """STANDARD Standard;CASH Cash Accounting;FLAT_RATE_INVOICE Flat Rate (Invoice);
FLAT_RATE_CASH Flat Rate (Cash);NOT_REGISTERED Not Registered""",
}

BUSINESS_TYPES = {
    "GB": "SMALL_BUSINESS_GB Small Business;SOLE_TRADER_GB Sole Trader;PARTNERSHIP_GB Partnership;CHARITY_GB Charity",
    "IE": "SMALL_BUSINESS_IE Small Business;SOLE_TRADER_IE Sole Trader;PARTNERSHIP_IE Partnership",
    "CA": "SMALL_BUSINESS_CA Small Business;SOLE_PROPRIETOR_CA Sole Proprietor;CORPORATION_CA Corporation",
    "FR": "SMALL_BUSINESS_FR Petite entreprise;AUTO_ENTREPRENEUR_FR Auto-entrepreneur",
    "ES": "SMALL_BUSINESS_ES Pequeña empresa;AUTONOMO_ES Autónomo",
    "DE": "SMALL_BUSINESS_DE Kleinunternehmen;FREELANCER_DE Freiberufler",
}

TAX_OFFICES = "DE_5215 Köln-Mitte;DE_9143 München I;DE_1116 Berlin-Mitte"


def pairs(text: str) -> list[tuple[str, str]]:
    """Take a code list apart into (code, name); a code without a name is named by its words, `BANK_RECEIPT`."""
    rows = (row.strip().partition(" ") for row in text.split(";"))
    return [(code, name or code.replace("_", " ").title()) for code, _, name in rows]
