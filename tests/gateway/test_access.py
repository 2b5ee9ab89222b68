"""Who sees what beyond the matrix of gateway/access.md: what consent changes, and whose secrets are whose."""

import pytest

from alliance.accounts.v1 import accounts_pb2
from services.shared.ids import new_id
from tests.gateway.conftest import Gateway, World, codes
from tests.gateway.fakes import FakeAlliance

VIEWERS = ("stranger", "other brand", "brand", "brand with consent", "member", "other member", "operator")


def token_of(viewer: str, gateway: Gateway, world: World) -> str | None:
    return {
        "stranger": lambda: None,
        "other brand": lambda: gateway.partner(world.other_brand),
        "brand": lambda: gateway.partner(world.brand),
        "brand with consent": lambda: gateway.partner(world.brand),
        "member": lambda: gateway.member(world.member, world.other_brand),
        "other member": lambda: gateway.member(new_id("member"), world.brand),
        "operator": gateway.operator,
    }[viewer]()


UNDER_MEMBER = (
    "identities { linkedAt }",
    "consents { granted }",
    "wallet { balance }",
    "carbon { co2eMg }",
    "acts { nodes { id } }",
    "claims { nodes { id } }",
    "dropOffs { nodes { id } }",
    "entries { nodes { id } }",
    "redemptions { nodes { id } }",
)


async def test_a2_consent_revoked_is_seen_by_the_very_next_query(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    query = f"query ($id: ID!) {{ member(id: $id) {{ displayName {' '.join(UNDER_MEMBER)} }} }}"
    change = """mutation ($p: ID!, $g: Boolean!, $r: String!) {
      setConsent(input: {requestId: $r, partnerId: $p, granted: $g}) {
        ... on SetConsentPayload { consent { granted partner { id } } }
      }
    }"""
    member, brand = gateway.member(world.member, world.brand), gateway.partner(world.brand)
    for number, granted in enumerate((True, False, True)):
        data = await gateway.data(change, member, p=world.brand, g=granted, r=f"r{number}")
        assert data["setConsent"]["consent"] == {"granted": granted, "partner": {"id": world.brand}}
        answer = await gateway.ask(query, brand, id=world.member)
        if granted:
            assert "errors" not in answer
            assert all(answer["data"]["member"].values())
        else:
            assert answer["data"]["member"] is None
            assert codes(answer) == [("CONSENT_REQUIRED", ["member"])]
        assert (await gateway.ask(query, gateway.partner(world.other_brand), id=world.member))["data"] == {
            "member": None
        }


async def test_without_consent_nothing_of_the_member_is_even_loaded(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    query = f"query ($id: ID!) {{ member(id: $id) {{ displayName {' '.join(UNDER_MEMBER)} }} }}"
    await gateway.ask(query, gateway.partner(world.brand), id=world.member)
    assert alliance.methods() == ["BatchCheckConsents"]
    alliance.reset()
    await gateway.ask(query, None, id=world.member)
    await gateway.ask(query, gateway.member(new_id("member")), id=world.member)
    assert alliance.calls == []


async def test_a_stranger_makes_no_call_for_what_is_not_public(gateway: Gateway, alliance: FakeAlliance, world: World):
    for query in (
        "act(id: $id) { id }",
        "claim(id: $id) { id }",
        "redemption(id: $id) { id }",
        "dropOff(id: $id) { id }",
    ):
        await gateway.ask(f"query ($id: ID!) {{ {query} }}", id=world.act)
    assert alliance.calls == []


async def test_enrolling_shows_the_brand_what_it_said_and_nothing_behind(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    mutation = f"""mutation {{ enrolMember(input: {{requestId: "r", displayName: "Bo", customerNumber: "C-9"}}) {{
      ... on EnrolMemberPayload {{ member {{ id displayName enrolledBy {{ id }} {" ".join(UNDER_MEMBER)} }} }}
    }} }}"""
    answer = await gateway.ask(mutation, gateway.partner(world.brand))
    shown = answer["data"]["enrolMember"]["member"]
    assert shown.pop("id").startswith("member_")
    assert (shown.pop("displayName"), shown.pop("enrolledBy")) == ("Bo", {"id": world.brand})
    assert set(shown.values()) == {None}
    assert {code for code, _ in codes(answer)} == {"CONSENT_REQUIRED"}


@pytest.mark.parametrize(
    ("viewer", "numbers"),
    [
        ("brand with consent", {"brand": "C-1", "other": None}),
        ("member", {"brand": "C-1", "other": "N-1"}),
        ("operator", {"brand": None, "other": None}),
    ],
)
async def test_customer_numbers_are_for_their_brand_and_the_member(
    gateway: Gateway, alliance: FakeAlliance, world: World, viewer: str, numbers: dict[str, str | None]
):
    alliance.accounts.consents[world.brand, world.member] = True
    data = await gateway.data(
        "query ($id: ID!) { member(id: $id) { identities { partner { id } customerNumber } } }",
        token_of(viewer, gateway, world),
        id=world.member,
    )
    names = {world.brand: "brand", world.other_brand: "other"}
    shown = {names[row["partner"]["id"]]: row["customerNumber"] for row in data["member"]["identities"]}
    assert shown == numbers


@pytest.mark.parametrize("viewer", VIEWERS[1:])
async def test_voucher_codes_are_for_the_member_alone(
    gateway: Gateway, alliance: FakeAlliance, world: World, viewer: str
):
    alliance.accounts.consents[world.brand, world.member] = viewer == "brand with consent"
    answer = await gateway.ask(
        "query ($id: ID!) { redemption(id: $id) { voucherCode } }",
        token_of(viewer, gateway, world),
        id=world.redemption,
    )
    if viewer == "member":
        assert answer["data"]["redemption"] == {"voucherCode": "SECRET"}
    else:
        assert "SECRET" not in str(answer)


async def test_a_partner_sees_its_own_position_and_lines_of_a_settlement(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    query = """query ($id: ID!) { settlement(id: $id) {
      lineCount positions { partner { id } net { micros } } lines { nodes { points debtor { id } creditor { id } } }
    } }"""
    mine = (await gateway.data(query, gateway.partner(world.brand), id=world.settlement))["settlement"]
    assert mine["positions"] == [{"partner": {"id": world.brand}, "net": {"micros": -40_000}}]
    assert len(mine["lines"]["nodes"]) == 1
    third = alliance.partners.add("Third").id
    theirs = (await gateway.data(query, gateway.partner(third), id=world.settlement))["settlement"]
    assert theirs == {"lineCount": 1, "positions": [], "lines": {"nodes": []}}
    everything = (await gateway.data(query, gateway.operator(), id=world.settlement))["settlement"]
    assert len(everything["positions"]) == 2


async def test_a_refused_act_of_nobody_is_its_reporters_alone(gateway: Gateway, alliance: FakeAlliance, world: World):
    act = accounts_pb2.Act(id=new_id("act"), partner_id=world.brand, reason="MEMBER_NOT_FOUND")
    alliance.accounts.acts[act.id] = act
    query = "query ($id: ID!) { act(id: $id) { reason member { id } claim { id } } }"
    mine = await gateway.data(query, gateway.partner(world.brand), id=act.id)
    assert mine["act"] == {"reason": "MEMBER_NOT_FOUND", "member": None, "claim": None}
    theirs = await gateway.ask(query, gateway.partner(world.other_brand), id=act.id)
    assert codes(theirs) == [("FORBIDDEN", ["act"])]
    member = await gateway.ask(query, gateway.member(world.member), id=act.id)
    assert codes(member) == [("FORBIDDEN", ["act"])]


@pytest.mark.parametrize("id", ['{"$gt": ""}', "", " ", "x" * 50_000, "member_\u0000", "😀"])
async def test_an_id_is_a_string_whatever_it_looks_like(
    gateway: Gateway, alliance: FakeAlliance, world: World, id: str
):
    data = await gateway.data("query ($id: ID!) { member(id: $id) { id } }", gateway.operator(), id=id)
    assert data == {"member": None}
    data = await gateway.data("query ($id: ID!) { partner(id: $id) { id } }", id=id)
    assert data == {"partner": None}


async def test_half_a_surrogate_never_reaches_a_service(gateway: Gateway, alliance: FakeAlliance):
    answer = await gateway.ask('{ partner(id: "\\uD800") { id } }')
    assert codes(answer) == [("DOCUMENT_INVALID", [])]
    response = await gateway.http.post(
        "/graphql",
        content=b'{"query": "query ($i: ID!) { partner(id: $i) { id } }", "variables": {"i": "\\ud800"}}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 400
    assert alliance.calls == []
