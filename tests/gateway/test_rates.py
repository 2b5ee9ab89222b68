"""How much a client may ask for per second: what dear documents take from it, and who else that touches."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.addresses import client_address
from gateway.config import Rates
from gateway.limits import Accounts, Buckets, RateExceeded
from gateway.tokens import Bearer
from services.shared.identity import Caller, CallerKind
from tests.gateway.conftest import Gateway, World, gateway_with
from tests.gateway.fakes import FakeAlliance

VIEWER = "{ viewer { kind } }"
CHEAP = Rates(
    operator=1_000, client=100, member=10, members_of_brand=15, address=10, strangers_unseen=1_000, burst_seconds=10
)


class Clock:
    """Time stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def member(id: str, brand: str = "partner_a") -> Bearer:
    return Bearer(Caller(CallerKind.MEMBER, id, brand), f"client_{brand}", 0.0)


def test_who_has_a_unit_left_may_ask_and_pays_what_it_turns_out_to_cost():
    clock = Clock()
    buckets = Buckets(per_second=10, burst=20, clock=clock)
    assert buckets.take("a", 100) == 0
    assert buckets.take("a") == pytest.approx(8.1)
    clock.now = 8.0
    assert buckets.take("a") == pytest.approx(0.1)
    clock.now = 8.2
    assert buckets.take("a") == 0


def test_a_refusal_costs_nothing():
    clock = Clock()
    buckets = Buckets(per_second=1, burst=1, clock=clock)
    assert buckets.take("a") == 0
    assert {buckets.take("a", 1_000) for _ in range(50)} == {1.0}
    clock.now = 1.0
    assert buckets.take("a") == 0


def test_one_member_does_not_use_up_its_brand_and_all_members_not_another_brand():
    accounts = Accounts(CHEAP, Clock())
    accounts.of(member("member_1")).pay(120)
    with pytest.raises(RateExceeded, match="This member"):
        accounts.of(member("member_1")).pay(1)
    accounts.of(member("member_2")).pay(100)
    with pytest.raises(RateExceeded, match="All members at this brand"):
        accounts.of(member("member_3")).pay(1)
    accounts.of(member("member_3", "partner_b")).pay(1)


def test_a_brands_backend_is_not_held_up_by_its_members():
    accounts = Accounts(CHEAP, Clock())
    for number in range(20):
        try:
            accounts.of(member(f"member_{number}")).pay(100)
        except RateExceeded:
            break
    accounts.of(Bearer(Caller(CallerKind.PARTNER, "partner_a", "partner_a"), "client_partner_a", 0.0)).pay(1)


def test_new_documents_of_all_strangers_together_are_bounded():
    accounts = Accounts(CHEAP.model_copy(update={"address": 10**6, "strangers_unseen": 100.0}), Clock())
    for number in range(4):
        accounts.of_stranger(f"10.0.0.{number}").pay_unseen(1_000)
    with pytest.raises(RateExceeded, match="all who come without a token"):
        accounts.of_stranger("10.0.0.9").pay_unseen(1)
    accounts.of_stranger("10.0.0.9").pay(1)
    accounts.of(member("member_1")).pay_unseen(1_000)


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "expected"),
    [
        ("9.9.9.9", [], 0, "9.9.9.9"),
        ("9.9.9.9", ["1.1.1.1"], 0, "9.9.9.9"),
        ("10.0.0.1", ["1.1.1.1"], 1, "1.1.1.1"),
        # What the caller wrote itself stands further left than what our proxies saw.
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1"], 1, "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1"], 1, "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1, 10.0.0.2"], 2, "1.1.1.1"),
        ("10.0.0.1", [], 1, "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1"], 2, "1.1.1.1"),
        ("10.0.0.1", ["x" * 1_000], 1, "unknown"),
        ("2001:db8:1:2:3:4:5:6", [], 0, "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", [], 0, "2001:db8:1:2::"),
        ("::ffff:9.9.9.9", [], 0, "9.9.9.9"),
    ],
)
def test_the_address_is_what_our_outermost_proxy_saw(peer: str, forwarded: list[str], proxies: int, expected: str):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    assert client_address({"client": (peer, 1), "headers": headers}, proxies) == expected


async def flood(gateway: Gateway, query: str, token: str | None = None, **variables: Any) -> httpx.Response:
    """Asks until it is refused."""
    for _ in range(200):
        response = await gateway.post(query, token, **variables)
        if response.status_code == 429:
            return response
    raise AssertionError("never refused")


async def test_who_asks_too_much_is_told_the_limit_and_when_to_come_again(alliance: FakeAlliance, keys: Path):
    async with gateway_with(alliance, keys, Clock(), rates=CHEAP) as gateway:
        refused = await flood(gateway, VIEWER)
        (error,) = refused.json()["errors"]
        assert error["extensions"]["code"] == "TOO_MANY_REQUESTS"
        assert error["extensions"]["limit"] == CHEAP.address
        assert int(refused.headers["Retry-After"]) == error["extensions"]["retryAfterSeconds"] >= 1
        assert "data" not in refused.json()
        # With a token it is not the address that pays.
        assert (await gateway.post(VIEWER, gateway.member("member_1"))).status_code == 200


async def test_dear_documents_pay_more(alliance: FakeAlliance, keys: Path, world: World):
    dear = "query ($n: Int!) { partners(first: $n) { nodes { id } } }"

    async def answered(first: int) -> int:
        async with gateway_with(alliance, keys, Clock(), rates=CHEAP) as gateway:
            count = 0
            while (await gateway.post(dear, gateway.member("member_1"), n=first)).status_code == 200:
                count += 1
            return count

    assert await answered(1) > 3 * await answered(90)


async def test_a_document_that_is_refused_anyway_is_paid_for(alliance: FakeAlliance, keys: Path):
    async with gateway_with(alliance, keys, Clock(), rates=CHEAP) as gateway:
        statuses = [(await gateway.post("{ nothing" + f"{number} }}" + "#" * 100)).status_code for number in range(12)]
    assert statuses[0] == 400
    assert statuses[-1] == 429


async def test_a_document_that_cannot_be_paid_for_is_not_even_parsed(
    alliance: FakeAlliance, keys: Path, monkeypatch: pytest.MonkeyPatch
):
    rates = CHEAP.model_copy(update={"address": 1.0, "burst_seconds": 2.0})
    async with gateway_with(alliance, keys, Clock(), rates=rates) as gateway:
        assert (await gateway.post("{ nothing }")).status_code == 400
        monkeypatch.setattr("gateway.engine.document.parse", lambda *_, **__: 1 / 0)
        assert (await gateway.post("{ nothing2 }")).status_code == 429


async def test_forged_tokens_are_paid_for_by_where_they_come_from(alliance: FakeAlliance, keys: Path):
    async with gateway_with(alliance, keys, Clock(), rates=CHEAP) as gateway:
        good = gateway.member("member_1")
        assert (await gateway.post(VIEWER, good)).status_code == 200
        statuses = [(await gateway.post(VIEWER, f"{good}x{number}")).status_code for number in range(20)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        # Whoever has been let in before from there still is.
        assert (await gateway.post(VIEWER, good)).status_code == 200


async def test_an_address_cannot_go_on_by_making_clients_up(alliance: FakeAlliance, keys: Path):
    async with gateway_with(
        alliance,
        keys,
        Clock(),
        token_requests_burst=5,
        token_requests_per_address_second=1,
        token_requests_per_second=1,
    ) as gateway:
        statuses = [
            (await gateway.http.post("/oauth/token", data={"grant_type": "x"}, auth=(f"client_{n}", "s"))).status_code
            for n in range(8)
        ]
    assert statuses[:5] == [400] * 5
    assert set(statuses[5:]) == {429}
