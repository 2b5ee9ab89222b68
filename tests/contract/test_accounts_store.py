"""What the accounts service leaves in its database at the start."""

import asyncio
from dataclasses import replace

import pytest

from services.accounts import store
from services.accounts.domain.acts import ActKind
from services.accounts.factors import FACTORS
from services.accounts.store.factors import FactorStore
from services.shared import outbox
from services.shared.mongo import Database


@pytest.fixture
async def factors(database: Database) -> FactorStore:
    await database.create_indexes({**store.INDEXES, **outbox.INDEXES})
    return FactorStore(database)


async def test_the_catalogue_is_there_once_however_often_and_wherever_a_service_starts(factors: FactorStore):
    await asyncio.gather(*(factors.seed(FACTORS) for _ in range(4)))
    await factors.seed(FACTORS)
    assert tuple(await factors.factors_of(list(ActKind))) == FACTORS


async def test_r16_a_row_of_the_catalogue_never_changes(factors: FactorStore):
    await factors.seed(FACTORS)
    changed = replace(FACTORS[0], avoided_ug_per_unit=1)
    with pytest.raises(ValueError, match="add a new version instead"):
        await factors.seed([changed])
    with pytest.raises(ValueError, match="needs its own"):
        await factors.seed([replace(changed, id="bus-trip-again")])
    assert tuple(await factors.factors_of(list(ActKind))) == FACTORS
    later = replace(FACTORS[2], id="bus-trip-2026", version=4, valid_from=FACTORS[2].valid_from.replace(year=2026))
    await factors.seed([*FACTORS, later])
    assert await factors.factors_of([ActKind.BUS_TRIP]) == [*FACTORS[:3], later]
