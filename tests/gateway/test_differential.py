"""A plan answers as graphql-core does: the same JSON, errors, paths and places, whatever is asked by whom.

`DIFFERENTIAL=2000` says how many documents; `make differential` runs that many, others each time.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from graphql import ExecutionResult, GraphQLSchema
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from alliance.accounts.v1 import accounts_pb2
from alliance.logistics.v1 import logistics_pb2
from alliance.rewards.v1 import rewards_pb2
from deploy.local.keys import trust_file
from gateway import schema
from gateway.answers import formatted
from gateway.backends import Backends
from gateway.context import Request
from gateway.engine.document import DocumentInvalid, Documents, Operation
from gateway.engine.resolve import bind
from gateway.engine.shape import Budget, TooExpensive
from gateway.parts import Delivery
from gateway.problems import problem_of
from services.shared.errors import Aborted, DomainError, Internal, NotFound, PermissionDenied, ResourceExhausted
from services.shared.identity import Caller, CallerKind, Verifier
from services.shared.ids import new_id
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import World, make_world, settings_of
from tests.gateway.documents import Asked, asked
from tests.gateway.fakes import FakeAlliance
from tests.gateway.multipart import joined, parts_of
from tests.gateway.test_federation import global_ids, representations

GIVEN = os.environ.get("DIFFERENTIAL")
BUDGET = Budget(depth=30, aliases=500, root_fields=100, fields=3_000, repetitions=100, cost=10**9, parts=10**6)

FAILING = (
    "BatchGetMembers",
    "BatchGetPartners",
    "BatchCheckConsents",
    "BatchListActs",
    "BatchGetClaims",
    "BatchGetWallets",
    "BatchListIdentities",
    "BatchGetEarnings",
    "BatchGetRecyclingPoints",
    "BatchGetMachines",
    "BatchGetRedemptions",
    "BatchGetEarnRules",
    "BatchGetPartnerPoints",
    "ListPartners",
    "ListRewards",
    "SummarizeActs",
    "BatchFindIdentities",
)
ERRORS: tuple[DomainError, ...] = (
    Aborted("busy", reason="BUSY"),
    Internal("broken", reason="BROKEN"),
    NotFound("none", reason="NONE"),
    PermissionDenied("no", reason="NO"),
    ResourceExhausted("full", reason="FULL"),
)

_schema: GraphQLSchema = bind(schema.build(), problem_of)
# Filled before the first document is asked; strategies are made before any fixture is.
_ids: dict[str, list[str]] = {}
_sound: dict[str, list[str]] = {}


@dataclass
class Both:
    """Answers a document both ways."""

    documents: Documents
    backends: Backends
    alliance: FakeAlliance
    viewers: dict[str, Caller]
    worlds: list[World]
    # Whether nothing that was given up can still be calling.
    quiet: bool = True
    # Whether the last one was answered in parts, too.
    divided: bool = False

    async def compare(self, given: Asked, viewer: str, failures: dict[str, DomainError]) -> str:
        """Asserts that both are the same; says how it was answered."""
        self.alliance.reset()
        self.alliance.recorder.failures.update(failures)
        caller = self.viewers[viewer]
        try:
            document = self.documents.prepare(given.query)
        except DocumentInvalid:
            return "invalid"
        operation = self.documents.operation(document, None)
        ways = self.documents.ways
        before = (ways.compiled, ways.walked, ways.uncompiled, ways.abandoned)
        try:
            made = await self.documents.answer(operation, given.variables, Request(caller, self.backends, "r"))
        except TooExpensive:
            return "too expensive"
        calls = set(self.alliance.methods())
        self.alliance.recorder.calls.clear()
        wanted = await self.documents.interpret(operation, given.variables, Request(caller, self.backends, "r"))
        made_json, wanted_json = as_json(made), as_json(wanted)
        told = difference(without_errors_of_the_lost(made_json), without_errors_of_the_lost(wanted_json))
        # Whole, so that it can be kept: pytest shortens what it compares.
        assert not told, f"{given.query}\n{given.variables}\n{viewer}, with {failures}:\n{told}"
        self.divided = self.documents.divides(operation, given.variables)
        if self.divided:
            parts = await self.in_parts(operation, given.variables, caller)
            lacking = missing(parts, wanted_json)
            assert not lacking, f"{given.query}\n{given.variables}\n{viewer}, with {failures}, in parts:\n{lacking}"
        if "errors" in wanted_json:
            self.quiet = False
        elif self.quiet:
            assert calls == set(self.alliance.methods())
        else:
            self.quiet = True
        after = (ways.compiled, ways.walked, ways.uncompiled, ways.abandoned)
        names = ("compiled", "walked", "uncompiled", "abandoned")
        return next((name for name, a, b in zip(names, before, after, strict=True) if a != b), "variables refused")

    async def in_parts(self, operation: Operation, variables: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """The answer of one who takes parts, put together by a client's rules."""
        result = await self.documents.answer_in_parts(operation, variables, Request(caller, self.backends, "r"))
        if isinstance(result, ExecutionResult):
            return as_json(result)
        until = asyncio.get_running_loop().time() + 30
        content, headers = b"", {}

        async def send(message: Message) -> None:
            nonlocal content, headers
            headers |= {name.decode(): value.decode() for name, value in message.get("headers", ())}
            content += message.get("body", b"")

        await Delivery(result, "r", until, lambda _: None, 30)({"type": "http"}, asyncio.Event().wait, send)
        return joined([part async for part in parts_of(httpx.Response(200, headers=headers, content=content))])


def as_json(answer: bytes | ExecutionResult) -> dict[str, Any]:
    """As the HTTP layer writes it."""
    if isinstance(answer, bytes):
        return {"data": orjson.loads(answer)}
    told: dict[str, Any] = {"data": answer.data}
    if answer.errors:
        told["errors"] = [formatted(error, "BAD_USER_INPUT", "r") for error in answer.errors]
    return dict(orjson.loads(orjson.dumps(told)))


def missing(parts: Any, whole: dict[str, Any]) -> str:
    """What an answer in parts lacks of the whole, or has besides; empty if nothing.

    A null takes less with it in parts: no more than the part it is in. So where there are errors, parts may have more.
    """
    if "errors" in whole:
        return lost(parts["data"], whole["data"]) or ("" if "errors" in parts else "no errors")
    return difference(parts, whole)


def lost(parts: Any, whole: Any, at: str = "") -> str:
    """Where there is something in the whole that is not in the parts."""
    if isinstance(whole, dict) and isinstance(parts, dict):
        return "".join(lost(parts.get(key), whole[key], f"{at}/{key}") for key in whole)
    if isinstance(whole, list) and isinstance(parts, list) and len(parts) == len(whole):
        return "".join(lost(a, b, f"{at}/{index}") for index, (a, b) in enumerate(zip(parts, whole, strict=True)))
    return "" if whole is None or parts == whole else f"{at}: {parts!r} in parts, {whole!r} in the whole\n"


def without_errors_of_the_lost(answer: dict[str, Any]) -> Any:
    """The data, and by each null that has errors what they are.

    Where a null took more errors with it than its own, GraphQL leaves open which of them are told.
    """
    by_null: dict[str, list[str]] = {}
    for error in answer.get("errors", []):
        null = nearest_null(answer["data"], error.get("path", []))
        by_null.setdefault(json.dumps(null), []).append(json.dumps(error, sort_keys=True))
    return answer["data"], {
        null: sorted(errors) if all(json.loads(error).get("path") == json.loads(null) for error in errors) else "lost"
        for null, errors in by_null.items()
    }


def difference(made: Any, wanted: Any, at: str = "") -> str:
    """Where two answers are not the same; empty if they are."""
    if isinstance(made, dict) and isinstance(wanted, dict) and made.keys() == wanted.keys():
        return "".join(difference(made[key], wanted[key], f"{at}/{key}") for key in made)
    if isinstance(made, list | tuple) and isinstance(wanted, list | tuple) and len(made) == len(wanted):
        return "".join(difference(a, b, f"{at}/{index}") for index, (a, b) in enumerate(zip(made, wanted, strict=True)))
    return (
        ""
        if type(made) is type(wanted) and made == wanted
        else f"{at}: {made!r} by the plan, {wanted!r} by graphql-core\n"
    )


def nearest_null(data: Any, path: list[Any]) -> list[Any]:
    for length, step in enumerate(path):
        if data is None:
            return path[:length]
        data = data[step]
    return path


def disturb(alliance: FakeAlliance, world: World) -> None:
    """Rows beside the sound ones of a world that miss what they should have, or have what does not fit."""
    accounts, logistics, rewards = alliance.accounts, alliance.logistics, alliance.rewards
    lost = new_id("claim")
    for kind, claim, status in ((2, lost, 1), (0, "", 0), (99, world.claim, 2)):
        id = new_id("act")
        accounts.acts[id] = accounts_pb2.Act(
            id=id, member_id=world.member, partner_id=world.other_brand, kind=kind, claim_id=claim, status=status
        )
    stranger = new_id("act")
    accounts.acts[stranger] = accounts_pb2.Act(id=stranger, member_id="", partner_id="partner_gone", quantity=2**60)
    late = accounts_pb2.Claim(id=lost, member_id=world.member, act_id=stranger, factor_id="no such")
    late.occurred_at.nanos = 123_456_789
    accounts.claims[lost] = late
    accounts.consents[world.brand, world.member] = True
    accounts.consents[world.other_brand, world.member] = False
    accounts.identities.append(accounts_pb2.Identity(partner_id=world.brand, customer_number="C-9", member_id="gone"))
    for latitude, materials in ((float("nan"), [1]), (1.5, [0]), (2.0, [2, 99])):
        id = new_id("point")
        logistics.points[id] = logistics_pb2.RecyclingPoint(
            id=id, name="", location={"latitude": latitude}, materials=materials, partner_id=world.other_brand
        )
    drop = new_id("dropoff")
    logistics.drop_offs[drop] = logistics_pb2.DropOff(
        id=drop, member_id=world.member, machine_id="gone", recycling_point_id=id, weight_grams=-1
    )
    logistics.drop_offs[drop].occurred_at.seconds = 10**15
    rewards.entries.append(
        rewards_pb2.Entry(
            id="e",
            member_id=world.member,
            kind=1,
            points=2**62,
            redemption_id=world.redemption,
            lots=[rewards_pb2.Lot(issuer_partner_id="gone", rule_id="campaign_x"), rewards_pb2.Lot(rule_id="?")],
        )
    )
    rewards.lines.append(rewards_pb2.SettlementLine(id="line_2", debtor_partner_id="x", creditor_partner_id="y"))
    alliance.partners.partners[world.other_brand].ClearField("applied_at")
    alliance.partners.partners[world.other_brand].status_changed_at.nanos = 120_000_000


@pytest.fixture(scope="module", autouse=True)
def unlogged() -> Iterator[None]:
    """Half of the documents meet defects, and each would be logged with its traceback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.answers.log", SimpleNamespace(error=lambda *_, **__: None))
        yield


@pytest.fixture(scope="module")
async def both(keys: Path) -> AsyncIterator[Both]:
    alliance = FakeAlliance(Verifier.from_file(trust_file(keys)))
    await alliance.start()
    worlds = [make_world(alliance), make_world(alliance)]
    world, other = worlds
    disturb(alliance, world)
    alliance.accounts.consents[world.brand, other.member] = True
    viewers = {
        "anyone": Caller(CallerKind.ANYONE),
        "operator": Caller(CallerKind.OPERATOR, "operator"),
        "brand": Caller(CallerKind.PARTNER, world.brand, world.brand),
        "brand without consent": Caller(CallerKind.PARTNER, world.other_brand, world.other_brand),
        "member": Caller(CallerKind.MEMBER, world.member, world.brand),
        "another member": Caller(CallerKind.MEMBER, other.member, other.brand),
    }
    accounts, logistics, rewards = alliance.accounts, alliance.logistics, alliance.rewards
    _ids.update(
        member=[world.member, world.member, other.member],
        act=list(accounts.acts),
        claim=list(accounts.claims),
        partner=[world.brand, world.other_brand],
        recyclingPoint=list(logistics.points),
        dropOff=list(logistics.drop_offs),
        reward=list(rewards.rewards),
        redemption=list(rewards.redemptions),
        settlement=list(rewards.settlements),
        redemptionByVoucherCode=["SECRET"],
        dropOffs=[world.machine],
        node=[id for world in worlds for id in global_ids(world).values()],
    )
    _ids["_entities"] = [json.dumps(one) for world in worlds for one in representations(world)]
    _sound["_entities"] = [json.dumps(one) for one in representations(other)]
    _sound.update(
        member=[other.member],
        act=[other.act],
        claim=[other.claim],
        partner=[other.brand],
        recyclingPoint=[other.point],
        dropOff=[other.drop_off],
        reward=[other.reward],
        redemption=[other.redemption],
        settlement=[other.settlement],
        redemptionByVoucherCode=["SECRET"],
        dropOffs=[other.machine],
        node=list(global_ids(other).values()),
    )
    # What is late is told as an error, which is no difference between the two ways, but the machine's.
    backends = Backends(settings_of(alliance, keys, call_timeout_seconds=60), Telemetry(None))
    documents = Documents(
        _schema, BUDGET, most_bytes=10**6, most_tokens=10**5, cached=100, cached_bytes=10**6, introspection=True
    )
    yield Both(documents, backends, alliance, viewers, worlds)
    await backends.close()
    await alliance.stop()


failures = st.dictionaries(st.sampled_from(FAILING), st.sampled_from(ERRORS), max_size=3)
DOCUMENTS = asked(_schema, _ids, _sound)
VIEWERS = ("anyone", "operator", "brand", "brand without consent", "member", "another member")


@pytest.mark.timeout(300 if GIVEN is None else 3_600)
@settings(
    max_examples=int(GIVEN or 300),
    deadline=None,
    derandomize=GIVEN is None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data(), st.sampled_from((*VIEWERS, "operator", "member")), st.one_of(st.just({}), st.just({}), failures))
async def test_generated_documents_are_answered_the_same_both_ways(
    both: Both, data: st.DataObject, viewer: str, failures: dict[str, DomainError]
):
    made = data.draw(DOCUMENTS)
    both.divided = False
    event(await both.compare(made, viewer, failures))
    if both.divided:
        event("in parts")


# What generated documents seldom come to, and what once went wrong or nearly did.
CHOSEN = (
    '{ _entities(representations: [{__typename: "Member", id: $member}, {__typename: "Member"}, '
    '{__typename: "Settlement", id: $settlement}, {__typename: "Wallet", member: {id: $member}}, '
    '{__typename: "Partner", id: "nobody"}]) { __typename ... on Member { id wallet { balance } } '
    "... on Wallet { available lots { why { sentence } } } ... on Settlement { number } } }",
    "{ _service { sdl } _entities(representations: []) { __typename } }",
    "{ member(id: $member) { entries(first: 100) { nodes { why { sentence event { reporter { name } act { id } } "
    "grants { rule { version } campaign { budgetPoints } } payments { issuer { name } } redemption { points } } "
    "lots { earnings { nodes { points why { refusal } } pageInfo { endCursor } } } } } } }",
    "{ member(id: $member) { identities { customerNumber partner { id } } redemptions { nodes { voucherCode } } } }",
    "{ a: node(id: $member) { __typename id ... on Member { displayName wallet { id } } } "
    'b: node(id: "nobody_1") { id } c: node(id: "") { id } d: node(id: "campaign_x") { ... on Campaign { name } } '
    "e: node(id: $settlement) { ...S } f: node(id: $member) @skip(if: true) { id } } "
    "fragment S on Settlement { number positions { partner { name } } }",
    '{ partners(first: 2, after: "0") { pageInfo { hasPreviousPage hasNextPage startCursor endCursor } } }',
    "{ partners(first: 100) { edges { cursor n: node { id } } e: edges { cursor } nodes { name } nodes { trade } } }",
    "{ member(id: $member) { wallet { lots { rule { id } campaign { id } } } "
    "entries { nodes { lots { rule { id } } } } } }",
    "{ settlement(id: $settlement) { from lineCount positions { partner { name } net { micros } } "
    "lines { nodes { id } } } }",
    "{ recyclingPoints(first: 100) { nodes { location { latitude } materials } } }",
    "{ member(id: $member) { acts { edges { node { kind status claim { occurredAt act { quantity } } } } } } }",
    "{ viewer { kind partner { agreements { id } points { issued } } member { id wallet { balance } } } "
    "report { ledger { clean } } }",
    '{ memberByCustomerNumber(customerNumber: "C-1") { id displayName wallet { available } } }',
    '{ memberByCustomerNumber(customerNumber: "") { id } member(id: "") { id } dropOff(id: "") { id } }',
    "{ partners(first: 0) { nodes { id } } rewards(first: 101) { nodes { id } } factors { id kind validFrom } }",
    "{ a: member(id: $member) { id } b: member(id: $member) { id ...M } } "
    "fragment M on Member { id carbon { co2eMg } }",
)


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("query", CHOSEN)
async def test_chosen_documents_are_answered_the_same_both_ways(both: Both, query: str, viewer: str):
    for world in both.worlds:
        text = query.replace("$member", f'"{world.member}"').replace("$settlement", f'"{world.settlement}"')
        both.quiet = False
        assert await both.compare(Asked(text, {}), viewer, {}) in ("compiled", "walked")


# What was found by generated documents, shrunk; with the calls that have to fail for it.
FOUND = (
    # A row that is known not to have been loaded took the whole list with it.
    (
        '{ _entities(representations: [{__typename: "Campaign", id: "campaign_x"}, {__typename: "Member", id: "m"}]) '
        "{ __typename } }",
        ("BatchGetMembers",),
    ),
    ("{ member(id: $member) { displayName identities { linkedAt } consents { granted } } }", ("BatchCheckConsents",)),
    (
        "{ act(id: $act) { quantity } member(id: $member) { acts { nodes { kind claim { id } } } wallet { held } } }",
        ("BatchCheckConsents", "BatchGetClaims"),
    ),
)


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize(("query", "failing"), FOUND)
async def test_what_went_wrong_once_does_not_again(both: Both, query: str, failing: tuple[str, ...], viewer: str):
    for world in both.worlds:
        text = query.replace("$member", f'"{world.member}"').replace("$act", f'"{world.act}"')
        both.quiet = False
        failures = dict.fromkeys(failing, ERRORS[0])
        assert await both.compare(Asked(text, {}), viewer, failures) in ("compiled", "walked", "abandoned")
