"""GraphQL over HTTP as its working group's own audit sees it, every SHOULD included."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.gateway.fakes import FakeAlliance
from tests.gateway.live import served
from tests.gateway.test_subgraphs import ROUTER

_SECONDS = 240


@pytest.mark.skipif(not (ROUTER / "node_modules" / "graphql-http").exists(), reason="make router fetches the audit")
async def test_the_audit_of_graphql_over_http_finds_nothing(alliance: FakeAlliance, keys: Path):
    async with served(alliance, keys) as gateway:
        audit = await asyncio.create_subprocess_exec(
            "node", "audit.mjs", f"{gateway.url}/graphql", cwd=ROUTER, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(_SECONDS):
            told, _ = await audit.communicate()
    found = json.loads(told)
    assert found["wrong"] == []
    assert found["audits"] >= 60
