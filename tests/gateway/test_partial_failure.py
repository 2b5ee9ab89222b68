"""What is left of an answer when a part of the alliance is down."""

import asyncio
import time
from pathlib import Path

import pytest

from services.shared.errors import Internal, Unavailable
from tests.gateway.conftest import Gateway, World, codes, gateway_with
from tests.gateway.fakes import FakeAlliance
from tests.support.bounds import within_some

MEMBER = """
query ($id: ID!) { member(id: $id) { displayName wallet { balance } carbon { co2eMg } dropOffs { nodes { id } } } }
"""


async def test_g2_rewards_down_leaves_the_rest_with_a_path_error(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    await alliance.servers["rewards"].stop()
    try:
        response = await gateway.post(MEMBER, gateway.member(world.member), id=world.member)
    finally:
        await alliance.servers["rewards"].start()
    answer = response.json()
    assert response.status_code == 200
    assert answer["data"]["member"] == {
        "displayName": "Ada",
        "wallet": None,
        "carbon": {"co2eMg": 14_850},
        "dropOffs": {"nodes": [{"id": world.drop_off}]},
    }
    assert codes(answer) == [("SERVICE_UNAVAILABLE", ["member", "wallet"])]


async def test_what_was_down_is_back_without_a_restart(gateway: Gateway, alliance: FakeAlliance, world: World):
    await alliance.servers["rewards"].stop()
    await gateway.ask(MEMBER, gateway.member(world.member), id=world.member)
    await alliance.servers["rewards"].start()
    until = time.monotonic() + 60
    while codes(answer := await gateway.ask(MEMBER, gateway.member(world.member), id=world.member)):
        assert time.monotonic() < until
    assert answer["data"]["member"]["wallet"] == {"balance": 30}


async def test_a_slow_service_fails_its_own_fields_at_the_deadline(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    alliance.recorder.waits["BatchGetWallets"] = asyncio.Event()

    async def ask(seconds: float) -> None:
        async with gateway_with(alliance, keys, call_timeout_seconds=seconds) as fresh:
            answer = await fresh.ask(MEMBER, fresh.member(world.member), id=world.member)
        assert answer["data"]["member"]["carbon"] == {"co2eMg": 14_850}
        assert codes(answer) == [("SERVICE_UNAVAILABLE", ["member", "wallet"])]

    await within_some(0.5, ask)


async def test_without_accounts_no_brand_sees_a_member(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.accounts.consents[world.brand, world.member] = True
    alliance.fail("BatchCheckConsents", Unavailable("down", reason="UNAVAILABLE"))
    answer = await gateway.ask(MEMBER, gateway.partner(world.brand), id=world.member)
    assert answer["data"]["member"] is None
    assert codes(answer) == [("SERVICE_UNAVAILABLE", ["member"])]
    assert "BatchGetMembers" not in alliance.methods()


@pytest.mark.parametrize(
    "error", [Internal("KeyError: 'secret' in line 5", reason="INTERNAL"), RuntimeError("password=hunter2")]
)
async def test_the_unexpected_is_masked(gateway: Gateway, alliance: FakeAlliance, world: World, error: Exception):
    alliance.fail("BatchGetPartners", error)
    answer = await gateway.ask("query ($id: ID!) { partner(id: $id) { name } }", id=world.brand)
    (told,) = answer["errors"]
    assert told["extensions"]["code"] == "INTERNAL"
    assert told["extensions"]["traceId"]
    assert "secret" not in str(answer)
    assert "hunter2" not in str(answer)


async def test_a_mutation_whose_service_is_down_says_so(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.fail("CreateReward", Unavailable("down", reason="UNAVAILABLE"))
    mutation = (
        """mutation { createReward(input: {requestId: "r", title: "Tea", points: 1, stock: 1}) { __typename } }"""
    )
    answer = await gateway.ask(mutation, gateway.partner(world.brand))
    assert answer["data"] == {"createReward": None}
    assert codes(answer) == [("SERVICE_UNAVAILABLE", ["createReward"])]
