"""Who and what the day is made of: invented brands and people, real public places, and sourced factors.

Everything here is data. The factors repeat what the accounts service has in its catalogue, on purpose: the day's
expectations are worked out from this table, so that a wrong figure on either side shows.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

Kind = Literal[
    "BUS_TRIP",
    "METRO_TRIP",
    "LIGHT_RAIL_TRIP",
    "ELECTRONIC_BILL",
    "BOX_REUSE",
    "PET_RECYCLING",
    "CARDBOARD_RECYCLING",
    "OWN_CUP",
]
Material = Literal["PET", "CARDBOARD", "REUSABLE_BOX"]

KIND_OF_MATERIAL: dict[Material, Kind] = {
    "PET": "PET_RECYCLING",
    "CARDBOARD": "CARDBOARD_RECYCLING",
    "REUSABLE_BOX": "BOX_REUSE",
}


@dataclass(frozen=True)
class Earns:
    """So many points for so much of a kind of act, good until the end of a month so many months after the act."""

    kind: Kind
    points: int
    per_quantity: int
    valid_months: int


@dataclass(frozen=True)
class BrandRole:
    """A brand, what it pays for a point, and what its members earn by."""

    key: str
    name: str
    trade: str
    # The price of one point, in millionths of a euro.
    unit_value_micros: int
    prefix: str
    earns: tuple[Earns, ...]
    rewards: tuple[tuple[str, int], ...]
    # How many of 200 members it enrols.
    share: int


# Months of validity lie far apart between brands, so that the order in which points are spent (earliest expiry first)
# never hangs on a tie.
BRANDS = (
    BrandRole(
        "market",
        "Greengage Market",
        "grocer",
        10_000,
        "GM",
        (
            Earns("PET_RECYCLING", 1, 5, 12),
            Earns("CARDBOARD_RECYCLING", 1, 40, 12),
            Earns("ELECTRONIC_BILL", 2, 1, 12),
        ),
        (("A bag of apples", 20), ("A box of vegetables", 45)),
        70,
    ),
    BrandRole(
        "noodles",
        "Nine Springs Noodles",
        "noodle maker",
        8_000,
        "NS",
        (Earns("PET_RECYCLING", 1, 8, 18), Earns("CARDBOARD_RECYCLING", 1, 20, 18)),
        (("A bowl of noodles", 25),),
        40,
    ),
    BrandRole(
        "courier",
        "Wrenpost",
        "courier",
        12_000,
        "WP",
        (Earns("BOX_REUSE", 10, 1, 24), Earns("ELECTRONIC_BILL", 3, 1, 24)),
        (("A parcel label", 30),),
        30,
    ),
    BrandRole(
        "coffee",
        "Morrow Coffee",
        "coffee chain",
        15_000,
        "MC",
        (Earns("OWN_CUP", 5, 1, 6),),
        (("A filter coffee", 15),),
        40,
    ),
    BrandRole(
        "transit",
        "Tramlight",
        "city transit",
        5_000,
        "TL",
        (Earns("METRO_TRIP", 2, 1_000, 30), Earns("BUS_TRIP", 1, 1_000, 30), Earns("LIGHT_RAIL_TRIP", 2, 1_000, 30)),
        (("A day ticket", 35),),
        20,
    ),
    BrandRole(
        "florist",
        "Sepal & Stem",
        "florist",
        10_000,
        "SS",
        (Earns("ELECTRONIC_BILL", 20, 1, 36),),
        (("A bunch of tulips", 25), ("A garden for a year", 100_000)),
        0,
    ),
)


@dataclass(frozen=True)
class Place:
    """A public place with a machine of a brand."""

    key: str
    name: str
    address: str
    latitude: float
    longitude: float
    brand: str
    materials: tuple[Material, ...]


# Public places in Amsterdam, WGS 84.
PLACES = (
    Place(
        "centraal",
        "Amsterdam Centraal",
        "Stationsplein, 1012 AB Amsterdam",
        52.3791,
        4.9003,
        "market",
        ("PET", "CARDBOARD"),
    ),
    Place("museumplein", "Museumplein", "Museumplein, 1071 DJ Amsterdam", 52.3574, 4.8817, "market", ("PET",)),
    Place("ndsm", "NDSM-werf", "NDSM-Plein, 1033 WB Amsterdam", 52.4010, 4.8936, "noodles", ("CARDBOARD", "PET")),
    Place("dappermarkt", "Dappermarkt", "Dapperplein, 1093 GW Amsterdam", 52.3623, 4.9282, "noodles", ("CARDBOARD",)),
    Place("zuid", "Amsterdam Zuid", "Zuidplein, 1077 XV Amsterdam", 52.3389, 4.8724, "courier", ("REUSABLE_BOX",)),
    Place(
        "bijlmer",
        "Bijlmer ArenA",
        "Hoekenrodeplein, 1102 BR Amsterdam",
        52.3122,
        4.9470,
        "courier",
        ("REUSABLE_BOX",),
    ),
)

# What is on the items: numbers from the range that GS1 keeps for use within a company, with right check digits.
GTINS = {"PET": ("2000000000015", "2000000000022", "2000000000039"), "CARDBOARD": ("2000000000107", "")}


@dataclass(frozen=True)
class FactorRow:
    """Micrograms CO2e avoided per unit of a kind, for acts from a date on."""

    kind: Kind
    valid_from: date
    avoided_ug_per_unit: int


FACTORS = (
    # Grams per kilometre are a thousand micrograms per metre. UK DESNZ conversion factors of each year.
    FactorRow("BUS_TRIP", date(2023, 1, 1), 64_490),
    FactorRow("BUS_TRIP", date(2024, 1, 1), 58_450),
    FactorRow("BUS_TRIP", date(2025, 1, 1), 63_400),
    FactorRow("METRO_TRIP", date(2023, 1, 1), 139_450),
    FactorRow("LIGHT_RAIL_TRIP", date(2023, 1, 1), 138_650),
    FactorRow("ELECTRONIC_BILL", date(2023, 1, 1), 18_900_000),
    FactorRow("BOX_REUSE", date(2023, 1, 1), 37_000_000),
    FactorRow("PET_RECYCLING", date(2023, 1, 1), 1_650_000),
    FactorRow("CARDBOARD_RECYCLING", date(2023, 1, 1), 100_000),
    # No sound figure: points may be given, grams are 0.
    FactorRow("OWN_CUP", date(2023, 1, 1), 0),
)

# How much of a kind counts for one member on one day, in UTC: trips and items as such, the others by the piece.
DAILY_CAPS: dict[Kind, int] = {
    "BUS_TRIP": 5,
    "METRO_TRIP": 5,
    "LIGHT_RAIL_TRIP": 5,
    "ELECTRONIC_BILL": 10,
    "BOX_REUSE": 10,
    "PET_RECYCLING": 100,
    "CARDBOARD_RECYCLING": 50,
    "OWN_CUP": 3,
}
CAPPED_BY_PIECE: frozenset[Kind] = frozenset({"ELECTRONIC_BILL", "BOX_REUSE", "OWN_CUP"})

GIVEN_NAMES = (
    *("Aafke", "Bram", "Carice", "Daan", "Esra", "Femke", "Gijs", "Hanan", "Ilse", "Joris", "Kaya", "Lotte", "Milan"),
    *("Noor", "Otis", "Puck", "Quinten", "Roos", "Sem", "Tess", "Umut", "Vera", "Wout", "Xenia", "Yara", "Zeno"),
)
FAMILY_NAMES = (
    *("Appel", "Berkhout", "Coolen", "Dijkgraaf", "Elzinga", "Faber", "Groot", "Haan", "Iepema", "Jonker", "Kuiper"),
    *("Linde", "Molenaar", "Nagel", "Oever", "Postma", "Roos", "Smid", "Terpstra", "Veen", "Wilg", "Zeeman"),
)
