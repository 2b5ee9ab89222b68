"""Two of the rounds of `make chaos-ledger`: one death of the service, one of the database."""

from pathlib import Path

import pytest

from tests.chaos.ledger import chaos


@pytest.mark.quick
async def test_r2_sudden_death_loses_nothing_acknowledged_and_doubles_nothing(tmp_path: Path):
    tally = await chaos(tmp_path, rounds=2, seed=20)
    assert tally.findings == []
    assert (tally.rounds, tally.lost, tally.doubled, tally.verify_clean) == (2, 0, 0, 2)
    assert tally.acknowledged > 0
