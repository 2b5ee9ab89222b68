"""A little of `make drill`: sudden death, and a rolling update, under load."""

from pathlib import Path

from tests.drill.__main__ import unexpected
from tests.drill.drills import Scale, killed, rolling
from tests.drill.ground import Ground
from tests.drill.judge import judge
from tests.drill.load import Cast, Load

SCALE = Scale(("logistics",), ("rewards", "gateway"), held_seconds=0, network_seconds=0, disk_full_seconds=0)


async def test_o3_a_killed_process_loses_nothing_acknowledged_and_a_rolling_update_drops_no_request(tmp_path: Path):
    async with Ground.prepared(tmp_path) as ground:
        cast = await Cast.assemble(ground.world, members=4)
        async with Load.on(cast) as load:
            dead = [row async for row in killed(ground, load, SCALE)]
            replaced = [row async for row in rolling(ground, load, SCALE)]
        verdict = await judge(cast, load.told)
    assert load.told.failed == []
    assert verdict.findings == []
    assert (verdict.lost, verdict.doubled) == (0, 0)
    assert verdict.acknowledged > 0
    assert [row.what for row in dead] == ["kill -9 logistics"]
    assert [row.what.partition(" ")[0] for row in replaced] == ["rewards", "gateway"]
    # Behind the gateway a rolling update is not noticed. In front of it a kept connection may end just as a request is
    # sent on it, as HTTP has it, and the request is sent again on another.
    assert replaced[0].repeated == 0
    assert unexpected(tmp_path / "logs") == []
