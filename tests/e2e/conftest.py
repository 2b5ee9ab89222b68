"""The alliance as real processes, once for all end-to-end tests of a run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.alliance import SERVICES, Alliance
from deploy.local.options import Options
from tests.support.alliance import World


def options(data: Path, **more: int) -> Options:
    """On ports that are free, with databases of its own wherever they are."""
    ports = {f"{name}_port": 0 for name in (*SERVICES, "gateway", "database")}
    return Options(data=data, database_prefix=f"test_{uuid4().hex[:10]}", **ports, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def running(chosen: Options) -> AsyncIterator[Alliance]:
    """An alliance of a test's own. Nobody needs its data afterwards, so that its end is a short one."""
    alliance = Alliance(chosen)
    await alliance.start()
    try:
        yield alliance
    finally:
        alliance.kill()


@pytest.fixture(scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A running alliance, shared: a test makes the brands and members that it needs, and leaves all others alone."""
    async with running(options(tmp_path_factory.mktemp("alliance"), metrics_port=0)) as alliance:
        world = World.of(alliance)
        yield world
        await world.close()
