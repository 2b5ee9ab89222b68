"""The catalogue of emission factors: pure data, each with its source.

A row never changes. A new figure is a new row with the next version and its own `valid_from`; claims keep the row that
they were made with. Figures that are published in grams per kilometre are written here in micrograms per metre, a
thousand times the number. An act without a sound source avoids 0: points may be given for it, grams are a claim.
"""

from datetime import UTC, datetime

from services.accounts.domain.acts import ActKind, Factor


def _desnz(year: int) -> str:
    return f"UK Department for Energy Security and Net Zero, greenhouse gas conversion factors {year}"


def _year(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


# A kind with one figure only uses it for earlier acts too.
_FROM_THE_START = _year(2023)


def _bus(version: int, year: int, car_ug_per_m: int, bus_ug_per_m: int) -> Factor:
    return Factor(
        id=f"bus-trip-{year}",
        kind=ActKind.BUS_TRIP,
        version=version,
        avoided_ug_per_unit=car_ug_per_m - bus_ug_per_m,
        unit="m",
        baseline="the same way alone in an average car; fuel production (well to tank) left out on both sides",
        source=_desnz(year),
        region="GB",
        grade="A",
        valid_from=_year(year),
    )


FACTORS = (
    # g/vkm of an average car and g/pkm of a local bus: 166.64 and 102.15; 166.91 and 108.46; 167.25 and 103.85.
    _bus(1, 2023, 166_640, 102_150),
    _bus(2, 2024, 166_910, 108_460),
    _bus(3, 2025, 167_250, 103_850),
    Factor(
        id="metro-trip-2025",
        kind=ActKind.METRO_TRIP,
        version=1,
        avoided_ug_per_unit=167_250 - 27_800,  # car 167.25 g/vkm, underground 27.80 g/pkm
        unit="m",
        baseline="the same way alone in an average car; fuel production (well to tank) left out on both sides",
        source=_desnz(2025),
        region="GB",
        grade="A",
        valid_from=_FROM_THE_START,
    ),
    Factor(
        id="light-rail-trip-2025",
        kind=ActKind.LIGHT_RAIL_TRIP,
        version=1,
        avoided_ug_per_unit=167_250 - 28_600,  # car 167.25 g/vkm, light rail and tram 28.60 g/pkm
        unit="m",
        baseline="the same way alone in an average car; fuel production (well to tank) left out on both sides",
        source=_desnz(2025),
        region="GB",
        grade="A",
        valid_from=_FROM_THE_START,
    ),
    Factor(
        id="electronic-bill-2023",
        kind=ActKind.ELECTRONIC_BILL,
        version=1,
        avoided_ug_per_unit=18_900_000,
        unit="bill",
        baseline="a paper bill by post",
        source="Summary of life cycle assessments, 2023 (TNO 2010: about 20 g; Goethe University: 47 g)",
        region="unstated",
        grade="B",
        valid_from=_FROM_THE_START,
    ),
    Factor(
        id="box-reuse-2019",
        kind=ActKind.BOX_REUSE,
        version=1,
        avoided_ug_per_unit=37_000_000,
        unit="box",
        baseline="a new parcel box",
        source="An operator's own statement, 2019; its method has not been seen",
        region="unstated",
        grade="C",
        valid_from=_FROM_THE_START,
    ),
    Factor(
        id="pet-recycling-2025",
        kind=ActKind.PET_RECYCLING,
        version=1,
        avoided_ug_per_unit=3_863_900 - 2_213_900,  # kg CO2e per kg of PET: virgin 3.8639, recycled 2.2139
        unit="g",
        baseline="virgin PET",
        source=f"{_desnz(2025)}, material use",
        region="GB",
        grade="A",
        valid_from=_FROM_THE_START,
    ),
    Factor(
        id="cardboard-recycling-2025",
        kind=ActKind.CARDBOARD_RECYCLING,
        version=1,
        avoided_ug_per_unit=100_000,  # 0.10 kg CO2e per kg
        unit="g",
        baseline="primary cardboard, material only; landfill that is avoided (1.26 kg per kg with it) is not counted",
        source=f"{_desnz(2025)}, material use",
        region="GB",
        grade="A",
        valid_from=_FROM_THE_START,
    ),
    Factor(
        id="own-cup-0",
        kind=ActKind.OWN_CUP,
        version=1,
        avoided_ug_per_unit=0,
        unit="cup",
        baseline="a disposable cup",
        source="No sound figure was found",
        region="unstated",
        grade="none",
        valid_from=_FROM_THE_START,
    ),
)
