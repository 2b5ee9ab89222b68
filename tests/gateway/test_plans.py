"""What plans cover, what they are kept in, and how they write values."""

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from graphql import OperationDefinitionNode, OperationType, parse
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.day import documents as day
from gateway import schema
from gateway.engine.document import Documents, Operation
from gateway.engine.project import Unfit, moment
from gateway.engine.resolve import bind
from gateway.engine.shape import Budget
from gateway.problems import problem_of
from tests.bench import query as bench
from tests.e2e import test_gateway as whole
from tests.gateway.conftest import Gateway, World
from tests.gateway.fakes import FakeAlliance
from tests.gateway.test_batching import JOINED
from tests.support import alliance as everyday
from tests.support import screens

README = Path(__file__).parents[2] / "README.md"
ROOT = """query Root($kind: Boolean!) {
  viewer { kind @include(if: $kind) partner { name } member { id } }
  memberByCustomerNumber(customerNumber: "C-1") { displayName }
}"""


def queries() -> dict[str, str]:
    """All query documents that people are shown or that the alliance itself uses."""
    found = {f"bench {name}": text for name, text in vars(bench).items() if name.isupper()}
    found |= {"batching": JOINED, "root": ROOT}
    for module in (day, everyday, whole, screens):
        for name, text in vars(module).items():
            if name.isupper() and not name.startswith("_") and isinstance(text, str) and _is_query(text):
                found[f"{module.__name__} {name}"] = text
    shown = re.findall(r"query=(\{.*?\n\})'", README.read_text(), re.DOTALL)
    found |= {f"README {number}": text for number, text in enumerate(shown)}
    return found


def _is_query(text: str) -> bool:
    if "{" not in text:
        return False
    operations = [node for node in parse(text).definitions if isinstance(node, OperationDefinitionNode)]
    return bool(operations) and all(node.operation is OperationType.QUERY for node in operations)


def prepared(documents: Documents, text: str, variables: dict[str, Any]) -> Operation:
    operation = documents.operation(documents.prepare(text), None)
    documents.compiled(operation, operation.signature.read(variables))
    return operation


@pytest.fixture(scope="module")
def documents() -> Documents:
    budget = Budget(depth=15, aliases=200, root_fields=50, fields=3_000, repetitions=100, cost=10**6)
    limits: dict[str, Any] = {"most_bytes": 100_000, "most_tokens": 3_000, "cached": 1_000, "cached_bytes": 1 << 20}
    return Documents(bind(schema.build(), problem_of), budget, introspection=True, **limits)


def test_the_list_has_all_that_it_should():
    assert {
        "README 0",
        "deploy.local.day.documents LOOK",
        "tests.support.alliance MEMBER",
        "tests.support.screens TILL_LOOK",
        "tests.e2e.test_gateway WHY",
    } <= set(queries())


@pytest.mark.parametrize("name", sorted(queries()))
def test_queries_that_are_used_have_plans(documents: Documents, name: str):
    variables = {"id": "x", "first": 1, "kind": True, "code": "x"}
    assert None not in prepared(documents, queries()[name], variables).plans.values()


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { types { name } } }",
        '{ __type(name: "Member") { name } }',
        'mutation { runSettlement(input: { requestId: "r" }) { __typename } }',
    ],
)
def test_what_has_no_plan_is_left_to_graphql_core(documents: Documents, text: str):
    assert list(prepared(documents, text, {}).plans.values()) == [None]


async def test_ways_are_counted(gateway: Gateway, alliance: FakeAlliance, world: World, app: Any):
    ways = app.state.ways
    before = (ways.compiled, ways.walked, ways.uncompiled, ways.abandoned)
    await gateway.data("{ viewer { kind } }")
    await gateway.ask("{ members { nodes { id } } }")
    await gateway.data("{ __typename __schema { queryType { name } } }")
    after = (ways.compiled, ways.walked, ways.uncompiled, ways.abandoned)
    assert [now - then for then, now in zip(before, after, strict=True)] == [1, 1, 1, 0]


def test_an_operation_has_a_plan_for_each_of_what_it_skips_and_no_more_than_eight(documents: Documents):
    names = [f"v{number}" for number in range(5)]
    fields = " ".join(f"a{name}: kind @include(if: ${name})" for name in names)
    text = f"query ({', '.join(f'${name}: Boolean!' for name in names)}) {{ viewer {{ kind {fields} }} }}"
    document = documents.prepare(text)
    for chosen in range(32):
        variables = {name: bool(chosen >> bit & 1) for bit, name in enumerate(names)}
        operation = prepared(documents, text, variables)
    assert len(operation.plans) == 8
    # Its text, and once more for each plan.
    assert document.size == 9 * len(text)
    assert documents.cache.bytes == sum(kept.size for kept in documents.cache)


async def test_what_may_be_deferred_or_streamed_comes_with_the_rest(
    gateway: Gateway, alliance: FakeAlliance, world: World, app: Any
):
    ways = app.state.ways
    before = ways.uncompiled
    query = """query ($id: ID!, $late: Boolean!) { member(id: $id) {
      displayName
      ... @defer(if: $late, label: "points") { wallet { lots { points } } }
      acts { nodes @stream(initialCount: 0) { quantity } }
    } }"""
    response = await gateway.post(query, gateway.member(world.member), id=world.member, late=True)
    assert response.headers["content-type"].startswith("application/graphql-response+json")
    assert response.json()["data"]["member"] == {
        "displayName": "Ada",
        "wallet": {"lots": [{"points": 30}]},
        "acts": {"nodes": [{"quantity": 9}]},
    }
    assert ways.uncompiled == before
    mutation = """mutation { setConsent(input: {requestId: "d", partnerId: "p", granted: true}) {
      __typename ... on SetConsentPayload { consent { ... @defer { granted } } } } }"""
    done = await gateway.data(mutation, gateway.member(world.member))
    assert done["setConsent"]["consent"] == {"granted": True}


timestamps = st.builds(
    Timestamp,
    seconds=st.integers(-62_135_596_800, 253_402_300_799),
    nanos=st.one_of(
        st.just(0),
        st.integers(0, 999).map(lambda n: n * 1_000_000),
        st.integers(0, 999_999).map(lambda n: n * 1_000),
        st.integers(0, 999_999_999),
    ),
)


@given(timestamps)
def test_moments_are_written_as_protobuf_writes_them(value: Timestamp):
    assert moment(value) == value.ToJsonString()


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(253_402_300_800, 0), (-62_135_596_801, 0), (0, -1), (0, 10**9), (2**62, 0)]
)
def test_what_is_no_moment_is_not_written(seconds: int, nanos: int):
    with pytest.raises(Unfit):
        moment(Timestamp(seconds=seconds, nanos=nanos))
    with pytest.raises(ValueError, match=r"imestamp|anos"):
        Timestamp(seconds=seconds, nanos=nanos).ToJsonString()
