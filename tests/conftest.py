"""What all tests share: one embedded database for the run, a set of keys, and how examples are drawn."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.embedded import EmbeddedServer
from deploy.local.keys import ensure_keys
from services.shared.mongo import Database

# How long an example takes says how busy the machine is, nothing of what is tested.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=2_000)
# The same examples each time, so that a test which fails tells of a change; `make properties` looks for new ones.
settings.register_profile("steady", settings.get_profile("search"), max_examples=100, derandomize=True, database=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the data, keys and logs of this run."""
    return tmp_path_factory.mktemp("alliance")


@pytest.fixture(scope="session")
def keys(workspace: Path) -> Path:
    """A folder of keys, as the launcher makes it."""
    ensure_keys(workspace / "keys")
    return workspace / "keys"


@pytest.fixture(scope="session")
def mongodb_uri(workspace: Path) -> Iterator[str]:
    """An embedded database of this run's own."""
    server = EmbeddedServer(workspace / "database", workspace / "database.log")
    server.start()
    yield server.uri
    server.kill()  # nobody needs its data any more


@pytest.fixture
async def database(mongodb_uri: str) -> AsyncIterator[Database]:
    """A database that no other test has seen."""
    database = Database(mongodb_uri, f"test_{uuid4().hex[:12]}")
    yield database
    database.close()
