"""The matrix of who sees what, over the whole schema: any change of it shows in gateway/access.md."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from graphql import (
    ExecutionResult,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLSchema,
    get_nullable_type,
    is_list_type,
    is_required_input_field,
)

from alliance.accounts.v1 import accounts_pb2
from alliance.logistics.v1 import logistics_pb2
from alliance.rewards.v1 import rewards_pb2
from deploy.local.keys import trust_file
from gateway import schema
from gateway.app import create_app
from gateway.backends import Backends
from gateway.context import Request
from gateway.engine.document import Documents
from gateway.engine.resolve import bind, callers, field_declaration
from gateway.engine.shape import Budget
from gateway.errors import FieldError
from gateway.problems import problem_of
from services.shared.identity import Caller, CallerKind, Verifier
from services.shared.ids import new_id
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import World, make_world, settings_of
from tests.gateway.fakes import NOW, FakeAlliance
from tests.gateway.matrix import WORDS, YES, Asker, Follower, Matrix, Outcomes, as_json, told, written
from tests.gateway.test_federation import global_ids, representations

FILE = Path(schema.__file__).with_name("access.md")
BUDGET = Budget(depth=30, aliases=500, root_fields=100, fields=3_000, repetitions=100, cost=10**9)
_NUMBERS = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM)


@pytest.fixture(scope="module")
def built() -> GraphQLSchema:
    return bind(schema.build(), problem_of)


@pytest.fixture(scope="module")
async def alliance(keys: Path) -> AsyncIterator[FakeAlliance]:
    """One of its own: what the services answer is made complete."""
    alliance = FakeAlliance(Verifier.from_file(trust_file(keys)))
    await alliance.start()
    yield alliance
    await alliance.stop()


@pytest.fixture(scope="module")
def world(alliance: FakeAlliance) -> World:
    """One row of everything, with all of its fields."""
    world = make_world(alliance)
    known = {
        "member_id": world.member,
        "act_id": world.act,
        "claim_id": world.claim,
        "drop_off_id": world.drop_off,
        "machine_id": world.machine,
        "recycling_point_id": world.point,
        "reward_id": world.reward,
        "redemption_id": world.redemption,
        "factor_id": "pet-recycling-2025",
        "creditor_partner_id": world.other_brand,
    }

    def complete(message: Any) -> None:
        for of in message.DESCRIPTOR.fields:
            if of.is_repeated:
                if of.message_type is not None and not getattr(message, of.name):
                    getattr(message, of.name).add()
                if of.message_type is not None:
                    for row in getattr(message, of.name):
                        complete(row)
            elif of.message_type is not None:
                if not message.HasField(of.name) and of.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
                    getattr(message, of.name).CopyFrom(NOW)
                elif of.message_type.full_name != Timestamp.DESCRIPTOR.full_name:
                    complete(getattr(message, of.name))
                    getattr(message, of.name).SetInParent()
            elif not getattr(message, of.name) and of.type in _NUMBERS:
                setattr(message, of.name, 1)
            elif not getattr(message, of.name) and of.type == FieldDescriptor.TYPE_STRING:
                setattr(message, of.name, known.get(of.name, world.brand if of.name.endswith("partner_id") else "x"))

    rewards = alliance.rewards
    for lot in rewards.earnings[world.claim].lots:
        # A campaign's, and in a wallet too, so that there is everything that a lot may have.
        lot.id = f"lot of {world.member}"
        other = rewards.earnings[world.claim].lots.add()
        other.CopyFrom(lot)
        other.rule_id = f"campaign_{world.brand}"
        break
    redemption = rewards.redemptions[world.redemption]
    redemption.partner_id, redemption.status = world.brand, rewards_pb2.REDEMPTION_STATUS_CAPTURED
    redemption.lots.add(issuer_partner_id=world.other_brand, points=10)
    rewards.wallets[world.member].lots[0].CopyFrom(rewards.earnings[world.claim].lots[1])
    alliance.accounts.consents[world.brand, world.member] = False
    # Somebody else, so that the brand has a member in its list.
    agreeing = new_id("member")
    alliance.accounts.members[agreeing] = accounts_pb2.Member(id=agreeing)
    alliance.accounts.consents[world.brand, agreeing] = True
    for store in (alliance.accounts, alliance.partners, alliance.logistics, rewards):
        for rows in vars(store).values():
            kept = rows.values() if isinstance(rows, dict) else rows if isinstance(rows, list) else ()
            for row in kept:
                if isinstance(row, Message):
                    complete(row)

    def finish(method: str, answer: Any) -> None:
        if method == "BatchGetPartnerPoints":
            answer.partners[0].partner_id = world.brand
        complete_answer(method, answer, complete)

    alliance.recorder.finish = finish
    alliance.accounts.impact.kinds.add(kind=accounts_pb2.ACT_KIND_PET_RECYCLING, claims=1, co2e_mg=1)
    accepted = logistics_pb2.AcceptedDropOffs(place=1, drop_offs=[alliance.logistics.drop_offs[world.drop_off]])
    alliance.logistics.accepted.append(accepted)
    return world


def complete_answer(method: str, answer: Any, complete: Any) -> None:
    """Makes the rows of an answer complete; where there are none, none are added, but in summaries."""
    if method.startswith(("Summarize", "VerifyLedger")):
        complete(answer)
        return
    for row in rows_in(answer):
        for inner in rows_in(row) if method.startswith("BatchList") else (row,):
            complete(inner)


def rows_in(message: Any) -> list[Any]:
    """The messages in a message's lists."""
    lists = [of.name for of in message.DESCRIPTOR.fields if of.is_repeated and of.message_type is not None]
    return [row for name in lists for row in getattr(message, name)]


@pytest.fixture(scope="module")
def viewers(alliance: FakeAlliance, world: World) -> dict[str, Caller]:
    consenting, foreign = alliance.partners.add("Trusted").id, alliance.partners.add("Foreign").id
    alliance.accounts.consents[consenting, world.member] = True
    alliance.accounts.identities.append(
        accounts_pb2.Identity(partner_id=consenting, customer_number="C-1", member_id=world.member, linked_at=NOW)
    )
    return {
        "stranger": Caller(CallerKind.ANYONE),
        "foreign brand": Caller(CallerKind.PARTNER, foreign, foreign),
        "brand without consent": Caller(CallerKind.PARTNER, world.other_brand, world.other_brand),
        "brand with consent": Caller(CallerKind.PARTNER, consenting, consenting),
        "brand owner": Caller(CallerKind.PARTNER, world.brand, world.brand),
        "member": Caller(CallerKind.MEMBER, world.member, world.brand),
        "other member": Caller(CallerKind.MEMBER, new_id("member"), world.brand),
        "operator": Caller(CallerKind.OPERATOR, "operator"),
    }


@pytest.fixture(scope="module")
def matrix(built: GraphQLSchema, world: World) -> Matrix:
    ids = {
        "member": world.member,
        "act": world.act,
        "claim": world.claim,
        "partner": world.brand,
        "recyclingPoint": world.point,
        "dropOff": world.drop_off,
        "reward": world.reward,
        "redemption": world.redemption,
        "settlement": world.settlement,
        "node": world.member,
    }
    doors = {name: f'id: "{id}"' for name, id in ids.items()}
    instead = {
        "Lot": ("claim", "earning", "lots"),
        "Why.redemption": ("redemption", "why"),
        "WhyPayment.payee": ("redemption", "why", "payments"),
    }
    streams = {
        "walletChanged, of a member": f'walletChanged(memberId: "{world.member}")',
        "dropOffAccepted, of a member": f'dropOffAccepted(memberId: "{world.member}", after: "0.0")',
        "dropOffAccepted, of a brand's machines": f'dropOffAccepted(partnerId: "{world.brand}", after: "0.0")',
        "allianceImpact": "allianceImpact",
    }
    doors["memberByCustomerNumber"] = 'customerNumber: "C-1"'
    doors["redemptionByVoucherCode"] = 'voucherCode: "SECRET"'
    return Matrix(built, doors, streams, instead)


@pytest.fixture(scope="module")
async def asker(alliance: FakeAlliance, keys: Path, built: GraphQLSchema) -> AsyncIterator[Asker]:
    backends = Backends(settings_of(alliance, keys, call_timeout_seconds=60), Telemetry(None))
    documents = Documents(
        built, BUDGET, most_bytes=10**6, most_tokens=10**5, cached=100, cached_bytes=10**6, introspection=True
    )
    yield Asker(documents, backends)
    await backends.close()


@pytest.fixture(scope="module")
async def follower(alliance: FakeAlliance, keys: Path) -> AsyncIterator[Follower]:
    """Has each event answered both ways."""
    plan = Documents.answer

    async def both(self: Documents, operation: Any, given: Any, request: Any, **options: Any) -> Any:
        again = Request(request.viewer, request._backends, request.id, request.event)
        planned = await plan(self, operation, given, request, **options)
        one, other = as_json(planned), as_json(await self.interpret(operation, given, again))
        assert (one["data"], told(one)) == (other["data"], told(other))
        return planned

    app = create_app(settings_of(alliance, keys, call_timeout_seconds=60), Telemetry(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Documents, "answer", both)
        async with app.router.lifespan_context(app):
            yield Follower(app.state.live)


@pytest.fixture(scope="module")
async def outcomes(
    asker: Asker, follower: Follower, matrix: Matrix, world: World, viewers: dict[str, Caller]
) -> tuple[Outcomes, Outcomes]:
    questions, events = matrix.questions(), matrix.events()
    entities = {
        representation["__typename"]: f"ALIAS: _entities(representations: [{literal(representation)}]) {{ __typename }}"
        for representation in representations(world)
    }
    return (
        {
            name: await asker.outcomes(questions, viewer) | await follower.outcomes(events, viewer)
            for name, viewer in viewers.items()
        },
        {name: await asker.outcomes(entities, viewer) for name, viewer in viewers.items()},
    )


def literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(inner)}" for name, inner in value.items()) + "}"
    return f'"{value}"'


def sample(type: Any) -> Any:
    """A value of an input type."""
    inner = get_nullable_type(type)
    if is_list_type(inner):
        return [sample(inner.of_type)]
    if isinstance(inner, GraphQLInputObjectType):
        return {name: sample(field.type) for name, field in inner.fields.items() if is_required_input_field(field)}
    if isinstance(inner, GraphQLEnumType):
        return next(iter(inner.values))
    plain = {
        "DateTime": "2026-03-01T08:30:00Z",
        "Base64": "eA==",
        "Boolean": True,
        "ID": "x",
        "String": "x",
        "Float": 1.0,
    }
    return plain.get(inner.name, 1)


@pytest.fixture(scope="module")
async def mutations(
    alliance: FakeAlliance, outcomes: Any, asker: Asker, built: GraphQLSchema, viewers: dict[str, Caller]
) -> Outcomes:
    """Whose calls go out to a service, and what the others are told. After `outcomes`, since they change rows."""
    found: dict[str, dict[str, str]] = {name: {} for name in viewers}
    mutation: Any = built.mutation_type
    for name, of in mutation.fields.items():
        text = f"mutation ($input: {of.args['input'].type}) {{ {name}(input: $input) {{ __typename }} }}"
        operation = asker.documents.operation(asker.documents.prepare(text), None)
        given = {"input": sample(of.args["input"].type)}
        for who, viewer in viewers.items():
            alliance.recorder.calls.clear()
            answer = await asker.documents.answer(operation, given, Request(viewer, asker.backends, "r"))
            assert isinstance(answer, ExecutionResult)
            codes = {error.original_error.extensions["code"] for error in answer.errors or () if refused(error)}
            assert bool(codes) is not bool(alliance.calls), f"{name} by {who}"
            found[who][name] = WORDS[codes.pop()] if codes else YES
    return found


def refused(error: Any) -> bool:
    return isinstance(error.original_error, FieldError)


def test_the_committed_matrix_is_what_the_gateway_does(matrix: Matrix, outcomes: Any, mutations: Outcomes):
    found = written(matrix, *outcomes, mutations)
    if os.environ.get("ACCESS") == "write":
        FILE.write_text(found)
    assert FILE.read_text() == found, "who sees what has changed; if that is meant, run `make access` and read the diff"


def test_every_field_is_seen_by_somebody(outcomes: Any):
    """Else its row would say nothing about who may not."""
    found, _ = outcomes
    fields = next(iter(found.values()))
    assert [name for name in fields if all(found[viewer][name] != YES for viewer in found)] == []


def test_nobody_meets_anything_but_an_answer_or_a_refusal(outcomes: Any):
    found, by_key = outcomes
    met = {outcome for part in (found, by_key) for row in part.values() for outcome in row.values()}
    assert met == {YES, "null", *WORDS.values()}


async def test_by_its_id_alone_nobody_sees_more_than_by_its_key(
    asker: Asker, outcomes: Any, world: World, viewers: dict[str, Caller]
):
    _, by_key = outcomes
    questions = {name: f'ALIAS: node(id: "{id}") {{ __typename }}' for name, id in global_ids(world).items()}
    for who, viewer in viewers.items():
        found = await asker.outcomes(questions, viewer)
        assert {name: found[name] for name in by_key[who]} == by_key[who], who


def test_a_stranger_sees_no_more_than_anybody_else(outcomes: Any):
    found, _ = outcomes
    for name, outcome in found["stranger"].items():
        if outcome == YES:
            assert {found[viewer][name] for viewer in found} == {YES}, name


def test_nobody_changes_what_the_rpc_of_a_mutation_does_not_let_them(
    built: GraphQLSchema, viewers: dict[str, Caller], mutations: Outcomes
):
    mutation: Any = built.mutation_type
    for name, of in mutation.fields.items():
        declared: Any = field_declaration(of)
        allowed = callers(declared.read)
        for who, viewer in viewers.items():
            no = "sign in" if viewer.kind is CallerKind.ANYONE else "no"
            assert mutations[who][name] == (YES if viewer.kind in allowed else no), f"{name} by {who}"
