"""The whole alliance is backed up, destroyed and restored, as deploy/docs/restore.md says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.alliance import Alliance
from deploy.local.embedded import EmbeddedServer
from tests.drill.judge import judge, verify
from tests.drill.load import Cast, Load
from tests.e2e.conftest import options
from tests.support.alliance import World


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


async def test_o3_what_was_backed_up_is_there_again_after_everything_was_destroyed(tmp_path: Path):
    alliance = Alliance(options(tmp_path / "data"))
    await alliance.start()
    world = World.of(alliance)
    prefix, database = alliance.options.database_prefix, tmp_path / "data" / "database"
    try:
        cast = await Cast.assemble(world, members=3)
        async with Load.on(cast) as load:
            pass  # One request of each kind at least.
        await judge(cast, load.told)
        before = await world.report()
        written = backup("dump", tmp_path / "backup", alliance.database_uri, prefix)

        await alliance.stop()
        shutil.rmtree(database)
        server = EmbeddedServer(database, tmp_path / "restore.log")
        server.start()
        restored = backup("restore", tmp_path / "backup", server.uri, prefix)
        assert restored.partition(": ")[2] == written.partition(": ")[2]
        server.stop()
        await alliance.start()

        assert await world.report() == before
        verdict = await judge(cast, load.told)
        assert verdict.acknowledged > 0
        assert verdict.good, verdict
        assert await verify(alliance.database_uri, f"{prefix}_rewards", dict(os.environ)) == ""
        # And life goes on.
        await cast.members[0].redeem(cast.rewards[0])
    finally:
        await world.close()
        await alliance.stop()
