"""What differs from country to country: money, taxes, places, and how people and companies are called."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from sage_sandbox.books.values import ref

if TYPE_CHECKING:
    from sage_sandbox.store import Body


@dataclass(frozen=True)
class TaxRate:
    """One rate of sales tax; a combined one names its parts as (id, name, percentage)."""

    id: str
    label: str
    percentage: Decimal
    parts: tuple[tuple[str, str, Decimal], ...] = ()

    @property
    def displayed_as(self) -> str:
        """How Sage shows the rate: `Standard 20.00%`."""
        return f"{self.label} {self.percentage:.2f}%"

    @cached_property
    def ref(self) -> Body:
        """The rate as documents refer to it."""
        return ref("tax_rates", self.id, self.displayed_as)


@dataclass(frozen=True)
class Country:
    """A country that the sandbox has businesses in.

    `cities` are (city, region, postal code). `partner` is the foreign currency of some of its trade. `fx` is the price
    of a unit of `partner` in the country's own currency.
    """

    code: str
    name: str
    currency: str
    locale: str
    group: str
    tax_name: str
    tax_rates: tuple[TaxRate, ...]
    cities: tuple[tuple[str, str, str], ...]
    streets: tuple[str, ...]
    people: tuple[str, ...]
    trades: tuple[str, ...]
    forms: tuple[str, ...]
    businesses: tuple[str, ...]
    dialling: str
    day_first: bool = True

    @property
    def standard(self) -> TaxRate:
        """The rate that most things are taxed at."""
        return self.tax_rates[0]

    @property
    def untaxed(self) -> TaxRate:
        """The zero rate."""
        return next(rate for rate in self.tax_rates if not rate.percentage)

    @property
    def ref(self) -> Body:
        """The country as addresses refer to it."""
        return ref("countries", self.code, f"{self.name} ({self.code})")


def _rates(*rows: str) -> tuple[TaxRate, ...]:
    def parse(row: str) -> TaxRate:
        identity, label, percentage, *parts = row.split("|")
        pieces = tuple((code, name, Decimal(share)) for code, name, share in (part.split(":") for part in parts))
        return TaxRate(identity, label, Decimal(percentage), pieces)

    return tuple(map(parse, rows))


def _cities(*rows: str) -> tuple[tuple[str, str, str], ...]:
    def parse(row: str) -> tuple[str, str, str]:
        city, region, postal_code = row.split("|")
        return city, region, postal_code

    return tuple(map(parse, rows))


_GB = Country(
    code="GB",
    name="United Kingdom",
    currency="GBP",
    locale="en-GB",
    group="GBIE",
    tax_name="VAT",
    tax_rates=_rates(
        "GB_STANDARD|Standard|20",
        "GB_LOWER|Lower Rate|5",
        "GB_ZERO|Zero Rated|0",
        "GB_EXEMPT|Exempt|0",
        "GB_NO_TAX|No Tax|0",
    ),
    cities=_cities(
        "London|Greater London|SW19 3ES",
        "Newcastle upon Tyne|Tyne and Wear|NE1 4LF",
        "Leeds|West Yorkshire|LS1 5DL",
        "Cardiff|South Glamorgan|CF10 3AT",
        "Edinburgh|Midlothian|EH1 1YZ",
        "Belfast|County Antrim|BT1 5GS",
    ),
    streets=("High Street", "Station Road", "Victoria Terrace", "Mill Lane", "Quayside", "Park Avenue"),
    people=("Amelia Hughes", "Oliver Patel", "Isla MacDonald", "George Okafor", "Zoë Llewellyn", "Siân O'Connor"),
    trades=("Joinery", "Catering", "Print Works", "Motor Spares", "Garden Centre", "Bakery", "Marine", "Textiles"),
    forms=("Ltd", "LLP", "plc", "& Sons"),
    businesses=("Harbour Lights Trading Ltd", "Penrose & Daughters Ltd", "Northgate Supplies Ltd"),
    dialling="+44 20 7946",
)
_IE = Country(
    code="IE",
    name="Ireland",
    currency="EUR",
    locale="en-IE",
    group="GBIE",
    tax_name="VAT",
    tax_rates=_rates(
        "IE_STANDARD|Standard|23",
        "IE_REDUCED|Reduced|13.5",
        "IE_SECOND_REDUCED|Second Reduced|9",
        "IE_ZERO|Zero Rated|0",
        "IE_EXEMPT|Exempt|0",
    ),
    cities=_cities(
        "Dublin|Co. Dublin|D02 X285",
        "Cork|Co. Cork|T12 W8KP",
        "Galway|Co. Galway|H91 E9C7",
        "Dún Laoghaire|Co. Dublin|A96 K5P2",
    ),
    streets=("O'Connell Street", "Patrick's Quay", "Sráid Eyre", "Mill Road", "Main Street"),
    people=("Aoife Ní Bhriain", "Cian Murphy", "Róisín Kelly", "Pádraig Walsh", "Niamh Byrne"),
    trades=("Dairies", "Peat Works", "Software", "Seafood", "Woollens", "Engineering"),
    forms=("Teo", "Ltd", "DAC", "& Co"),
    businesses=("Claddagh Software Ltd", "Liffey Provisions DAC", "Burren Outdoor Ltd"),
    dialling="+353 1 555",
)
_CA = Country(
    code="CA",
    name="Canada",
    currency="CAD",
    locale="en-CA",
    group="ALL",
    tax_name="GST/HST",
    tax_rates=_rates(
        "CA_HST_ON|HST Ontario|13",
        "CA_GST|GST|5",
        "CA_GST_PST_BC|GST + PST BC|12|CA_GST:GST:5|CA_PST_BC:PST BC:7",
        "CA_HST_NS|HST Nova Scotia|14",
        "CA_ZERO|Zero Rated|0",
        "CA_EXEMPT|Exempt|0",
    ),
    cities=_cities(
        "Toronto|Ontario|M5V 2T6",
        "Vancouver|British Columbia|V6B 1H7",
        "Calgary|Alberta|T2P 1J9",
        "Montréal|Quebec|H2Y 1C6",
        "Halifax|Nova Scotia|B3J 1S9",
    ),
    streets=("King Street West", "Granville Street", "Rue Saint-Paul", "Centre Street", "Barrington Street"),
    people=("Emma Tremblay", "Liam Chen", "Chloé Gagnon", "Noah Singh", "Ava MacLeod"),
    trades=("Lumber", "Maple Products", "Outfitters", "Ski Rentals", "Robotics", "Fisheries"),
    forms=("Inc.", "Ltée", "Corp.", "LP"),
    businesses=("Red Canoe Outfitters Inc.", "Saint-Laurent Robotique Inc.", "Prairie Sky Grain Ltd."),
    dialling="+1 416 555",
    day_first=False,
)
_FR = Country(
    code="FR",
    name="France",
    currency="EUR",
    locale="fr-FR",
    group="EU",
    tax_name="TVA",
    tax_rates=_rates("FR_STANDARD|Taux normal|20", "FR_REDUCED|Taux réduit|5.5", "FR_ZERO|Taux zéro|0"),
    cities=_cities("Lyon|Auvergne-Rhône-Alpes|69002", "Nantes|Pays de la Loire|44000"),
    streets=("Rue de la République", "Quai de la Fosse", "Place Bellecour"),
    people=("Camille Lefèvre", "Hugo Garçon", "Éloïse Moreau"),
    trades=("Fromagerie", "Menuiserie", "Librairie", "Vignobles"),
    forms=("SARL", "SAS", "et Fils"),
    businesses=("Boulangerie Été SARL", "Ateliers de la Saône SAS"),
    dialling="+33 1 70 55",
)
_ES = Country(
    code="ES",
    name="Spain",
    currency="EUR",
    locale="es-ES",
    group="EU",
    tax_name="IVA",
    tax_rates=_rates("ES_STANDARD|General|21", "ES_REDUCED|Reducido|10", "ES_ZERO|Exento|0"),
    cities=_cities("Sevilla|Andalucía|41001", "A Coruña|Galicia|15001"),
    streets=("Calle de Alcalá", "Avenida del Puerto", "Plaza Mayor"),
    people=("Lucía Muñoz", "Íñigo Peña", "Begoña Núñez"),
    trades=("Aceites", "Cerámica", "Transportes", "Diseño"),
    forms=("S.L.", "S.A.", "e Hijos"),
    businesses=("Cerámica Triana S.L.", "Aceites del Niño S.A."),
    dialling="+34 910 555",
)
_DE = Country(
    code="DE",
    name="Germany",
    currency="EUR",
    locale="de-DE",
    group="EU",
    tax_name="USt",
    tax_rates=_rates("DE_STANDARD|Regelsteuersatz|19", "DE_REDUCED|Ermäßigt|7", "DE_ZERO|Steuerfrei|0"),
    cities=_cities("Köln|Nordrhein-Westfalen|50667", "München|Bayern|80331"),
    streets=("Große Bleichen", "Königsallee", "Am Weißen Turm"),
    people=("Jürgen Groß", "Käthe Schröder", "Björn Weiß"),
    trades=("Maschinenbau", "Getränke", "Bäckerei", "Möbel"),
    forms=("GmbH", "KG", "& Söhne"),
    businesses=("Möbel Überall GmbH", "Weißbier Kontor KG"),
    dialling="+49 30 5550",
)

COUNTRIES = {country.code: country for country in (_GB, _IE, _CA, _FR, _ES, _DE)}

FOREIGN_PRICES = {
    "GBP": {"EUR": Decimal("0.8563217349"), "USD": Decimal("0.7415829036")},
    "EUR": {"GBP": Decimal("1.1677854213"), "USD": Decimal("0.8660117402")},
    "CAD": {"USD": Decimal("1.3672904815"), "EUR": Decimal("1.5788321467")},
}
"""What one unit of a foreign currency costs, by base currency, to Sage's ten places."""
