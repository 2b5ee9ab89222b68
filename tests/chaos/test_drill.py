"""A little of `make drill`: sudden death and a rolling update under load; and a restore after all was destroyed."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.embedded import EmbeddedServer
from tests.drill.__main__ import unexpected
from tests.drill.drills import Scale, killed, rolling
from tests.drill.ground import Ground
from tests.drill.judge import judge, verify
from tests.drill.load import Cast, Load

SCALE = Scale(("logistics",), ("rewards", "gateway"), held_seconds=0, network_seconds=0, disk_full_seconds=0)


@pytest.fixture(scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with Ground.prepared(tmp_path_factory.mktemp("ground")) as ground:
        yield ground


async def test_o3_a_killed_process_loses_nothing_acknowledged_and_a_rolling_update_drops_no_request(ground: Ground):
    cast = await Cast.assemble(ground.world, members=4)
    async with Load.on(cast, pause_seconds=0.2) as load:
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
    assert unexpected(ground.alliance.data / "logs") == []


def backup(action: str, path: Path, uri: str, prefix: str) -> str:
    """What `python -m deploy.backup` says."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.backup", action, str(path), "--prefix", prefix],
        env={**os.environ, "MONGODB_URI": uri},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


async def test_o3_what_was_backed_up_is_there_again_after_everything_was_destroyed(ground: Ground, tmp_path: Path):
    """As deploy/docs/restore.md says."""
    alliance = ground.alliance
    prefix, database = alliance.options.database_prefix, alliance.data / "database"
    cast = await Cast.assemble(ground.world, members=3)
    async with Load.on(cast, pause_seconds=0.2) as load:
        ...  # One request of each kind at least.
    await judge(cast, load.told)
    before = await ground.world.report()
    written = backup("dump", tmp_path / "backup", alliance.database_uri, prefix)

    await ground.stop_all()
    shutil.rmtree(database)
    server = EmbeddedServer(database, tmp_path / "restore.log")
    server.start()
    restored = backup("restore", tmp_path / "backup", server.uri, prefix)
    assert restored.partition(": ")[2] == written.partition(": ")[2]
    server.stop()
    await ground.start_all()

    assert await ground.world.report() == before
    verdict = await judge(cast, load.told)
    assert verdict.acknowledged > 0
    assert verdict.good, verdict
    assert await verify(alliance.database_uri, f"{prefix}_rewards", dict(os.environ)) == ""
    # And life goes on.
    await cast.members[0].redeem(cast.rewards[0])
