"""Documents that ask for too much are refused before anything is called."""

from pathlib import Path
from typing import Any

import pytest
from graphql import get_introspection_query

from gateway.config import Limits, StrangerLimits
from tests.gateway.conftest import Gateway, World, codes, gateway_with
from tests.gateway.fakes import FakeAlliance

PAGE_OF_PAGES = """query ($n: Int!) {
  members(first: $n) { nodes { acts(first: 100) { nodes { claim { factor { id } } } } } }
}"""


def deep(levels: int) -> str:
    return "{ viewer" + " { partner { points" * levels + " { partner { id } }" + " } }" * levels + " }"


async def test_g3_an_over_budget_document_makes_no_backend_call(gateway: Gateway, alliance: FakeAlliance, world: World):
    answer = await gateway.ask(PAGE_OF_PAGES, gateway.operator(), n=100)
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "DOCUMENT_TOO_EXPENSIVE"
    assert error["extensions"]["measure"] == "cost"
    assert error["extensions"]["found"] > error["extensions"]["limit"] == Limits().cost
    assert "data" not in answer
    assert alliance.calls == []


async def test_a_number_with_a_point_buys_no_larger_pages(gateway: Gateway, alliance: FakeAlliance):
    query = "query ($n: Int!) { members(first: $n) { nodes { acts(first: $n) { nodes { claim { id } } } } } }"
    told = [(await gateway.ask(query, gateway.operator(), n=n))["errors"][0] for n in (100, 100.0)]
    assert told[0]["message"] == told[1]["message"]
    assert told[0]["extensions"]["measure"] == "cost"
    assert alliance.calls == []


async def test_the_same_document_with_smaller_pages_is_answered(gateway: Gateway, alliance: FakeAlliance, world: World):
    answer = await gateway.ask(PAGE_OF_PAGES, gateway.operator(), n=10)
    assert "errors" not in answer
    assert alliance.calls


@pytest.mark.parametrize(
    ("query", "measure"),
    [
        (deep(10), "levels"),
        ("{ " + " ".join(f"a{n}: viewer {{ kind }}" for n in range(201)) + " }", "aliases"),
        ("{ " + "viewer { kind } " * 51 + "}", "root fields"),
        ("{ " + "viewer { kind } " * 1_000 + "}", "tokens"),
        ("{ viewer { " + "kind " * 101 + "} }", "repetitions"),
        ("{ " + ("viewer { partner { " + "points { issued } " * 50 + "} } ") * 3 + "}", "repetitions"),
        # What validation compares with each other: each fragment with each ...
        (
            '{ partner(id: "x") {'
            + " ".join(f"...f{n}" for n in range(120))
            + "} }"
            + "".join(f" fragment f{n} on Partner {{ a{n}: name }}" for n in range(120)),
            "overlaps",
        ),
        # ... and at each level below them, each field with those of its name.
        (
            '{ partner(id: "x") {'
            + " ".join(f"...f{n}" for n in range(60))
            + "} }"
            + "".join(f" fragment f{n} on Partner {{ points {{ issued partner {{ id name }} }} }}" for n in range(60)),
            "overlaps",
        ),
        # Two fields that lead to the next fragment, twelve times.
        (
            "{ viewer { partner { ...f0 } } }"
            + "".join(f"fragment f{n} on Partner {{ a {{ ...f{n + 1} }} b {{ ...f{n + 1} }} }}" for n in range(12))
            + "fragment f12 on Partner { id }",
            "fields",
        ),
        ("{ viewer { kind } } #" + "x" * 70_000, "bytes"),
        # Each fragment uses the one before ten times: 10^10 fields from thirty lines.
        (
            "{ ...f9 }"
            + "".join(f"fragment f{n} on Query {{ {f'...f{n - 1} ' * 10} }}" for n in range(1, 10))
            + "fragment f0 on Query { a: viewer { kind } }",
            "aliases",
        ),
    ],
)
async def test_what_is_too_much_by_any_measure_is_refused(
    gateway: Gateway, alliance: FakeAlliance, query: str, measure: str
):
    response = await gateway.post(query, gateway.operator())
    (error,) = response.json()["errors"]
    assert response.status_code == 400
    assert error["extensions"]["code"] == "DOCUMENT_TOO_EXPENSIVE"
    assert error["extensions"]["measure"] == measure
    assert alliance.calls == []


async def test_a_document_that_turns_in_circles_is_refused(gateway: Gateway, alliance: FakeAlliance):
    for query in (
        "{ ...a } fragment a on Query { viewer { kind } ...b } fragment b on Query { ...a }",
        "{ viewer { partner { ...a } } } fragment a on Partner { x: points { partner { ...a } } points { ...a } }",
    ):
        answer = await gateway.ask(query)
        assert {code for code, _ in codes(answer)} == {"DOCUMENT_INVALID"}
    assert alliance.calls == []


@pytest.mark.parametrize("depth", [50, 5_000])
async def test_brackets_without_end_are_refused(gateway: Gateway, depth: int):
    response = await gateway.post("{ a" * depth)
    assert response.status_code == 400


async def test_entities_count_by_how_many_are_asked_for(gateway: Gateway, alliance: FakeAlliance):
    query = """query ($r: [_Any!]!) { _entities(representations: $r) {
      ... on Member { acts(first: 100) { nodes { claim { id } } } } } }"""
    representations = [{"__typename": "Member", "id": f"member_{n}"} for n in range(101)]
    answer = await gateway.ask(query, gateway.operator(), r=representations)
    assert codes(answer) == [("DOCUMENT_TOO_EXPENSIVE", [])]
    assert alliance.calls == []


@pytest.mark.parametrize("first", [0, -1, 101, 2**31 - 1])
async def test_a_page_has_one_to_a_hundred_rows(gateway: Gateway, alliance: FakeAlliance, first: int):
    answer = await gateway.ask("query ($n: Int!) { partners(first: $n) { nodes { id } } }", n=first)
    assert codes(answer) == [("BAD_USER_INPUT", ["partners"])]
    assert answer["errors"][0]["extensions"]["reason"] == "PAGE_TOO_LARGE"
    assert alliance.calls == []


async def test_a_cursor_that_was_not_given_out_is_refused(gateway: Gateway, alliance: FakeAlliance):
    for after in ("?", "x" * 401):
        answer = await gateway.ask("query ($a: String) { partners(after: $a) { nodes { id } } }", a=after)
        assert codes(answer) == [("BAD_USER_INPUT", ["partners"])]
        assert answer["errors"][0]["extensions"]["reason"] == "CURSOR_MALFORMED"


async def test_a_flood_of_documents_does_not_grow_the_cache(alliance: FakeAlliance, keys: Path):
    from gateway import schema
    from gateway.engine.document import Documents
    from gateway.engine.resolve import bind
    from gateway.engine.shape import Budget
    from gateway.problems import problem_of

    budget = Budget(depth=15, aliases=200, root_fields=50, fields=1_000, repetitions=100, cost=1_000)
    limits: dict[str, Any] = {"most_bytes": 10_000, "most_tokens": 1_000, "cached": 10, "cached_bytes": 300}
    documents = Documents(bind(schema.build(), problem_of), budget, introspection=True, **limits)
    for number in range(100):
        documents.prepare(f"{{ a{number}: viewer {{ kind }} }}")
    assert 1 < len(documents.cache) <= 10
    assert documents.cache.bytes == sum(document.size for document in documents.cache) <= 300


SCHEMA = "{ __schema { types { name } } }"
TYPO = "{ viewr { kind } }"
TYPO_IN_A_VALUE = """mutation ($s: PartnerStatus!) {
  setPartnerStatus(input: {requestId: "r", partnerId: "p", status: $s}) { __typename } }"""


async def test_nobody_can_ask_for_the_schema_where_it_is_switched_off(alliance: FakeAlliance, keys: Path):
    async with gateway_with(alliance, keys, introspection=False) as gateway:
        for token in (None, gateway.operator()):
            asked, typo = await gateway.ask(SCHEMA, token), await gateway.ask(TYPO, token)
            assert codes(asked)[0][0] == "DOCUMENT_INVALID"
            assert "viewer" not in typo["errors"][0]["message"]


@pytest.mark.parametrize(
    "query",
    [
        "{" + " ".join(f"a{n}: __schema {{ types {{ fields {{ name type {{ name }} }} }} }}" for n in range(40)) + "}",
        "{ __schema {" + " ".join(f"a{n}: types {{ fields {{ args {{ name }} }} }}" for n in range(40)) + "} }",
        "{ _service {" + " ".join(f"a{n}: sdl" for n in range(100)) + "} }",
    ],
)
async def test_the_schema_costs_what_it_is_long(gateway: Gateway, query: str):
    """Else a few lines without a token would keep the process busy for seconds, or fetch megabytes."""
    (error,) = (await gateway.ask(query, gateway.operator()))["errors"]
    assert error["extensions"]["measure"] == "cost"


async def test_strangers_may_ask_for_the_whole_schema_as_tools_do(gateway: Gateway):
    assert len((await gateway.data(get_introspection_query(input_value_deprecation=True)))["__schema"]["types"]) > 100
    assert (await gateway.data("{ _service { sdl } }"))["_service"]["sdl"]


@pytest.mark.parametrize("first", ["the stranger", "the member"])
async def test_strangers_alone_cannot_ask_for_the_schema_where_that_is_switched_off(
    alliance: FakeAlliance, keys: Path, first: str
):
    asking = [SCHEMA, "{ _service { sdl } }", '{ a: __type(name: "Query") { ...f } } fragment f on __Type { name }']
    async with gateway_with(alliance, keys, introspection_for_strangers=False) as gateway:
        token = gateway.member("member_1")
        for query in asking:
            for who in [None, token] if first == "the stranger" else [token, None]:
                answer = await gateway.ask(query, who)
                if who is None:
                    assert {code for code, _ in codes(answer)} == {"DOCUMENT_INVALID"}
                    assert "data" not in answer
                else:
                    assert answer["data"]
        for query, wanted, sent in ((TYPO, "viewer", {}), (TYPO_IN_A_VALUE, "APPROVED", {"s": "APROVED"})):
            assert wanted in str((await gateway.ask(query, token, **sent))["errors"])
            assert "Did you mean" not in str((await gateway.ask(query, **sent))["errors"])


@pytest.mark.parametrize("first", ["the stranger", "the member"])
async def test_strangers_have_less_of_each_limit_whoever_sent_the_document_first(
    alliance: FakeAlliance, keys: Path, first: str
):
    limits = StrangerLimits(document_bytes=1_024, tokens=50, depth=3, aliases=2, overlaps=60, cost=30)
    refused = {
        "bytes": "{ viewer { kind } } #" + "x" * 1_100,
        "tokens": "{ viewer { " + "kind " * 50 + "} }",
        "levels": "{ viewer { partner { points { partner { id } } } } }",
        "aliases": "{ a: viewer { kind } b: viewer { kind } c: viewer { kind } }",
        "overlaps": "{ viewer { " + "kind " * 12 + "} }",
        "cost": "{ partners(first: 40) { nodes { id } } }",
    }
    async with gateway_with(alliance, keys, stranger_limits=limits) as gateway:
        token = gateway.member("member_1")
        for measure, query in refused.items():
            for who in [None, token] if first == "the stranger" else [token, None]:
                answer = await gateway.ask(query, who)
                if who is None:
                    (error,) = answer["errors"]
                    assert error["extensions"]["measure"] == measure
                    assert error["extensions"]["found"] > error["extensions"]["limit"]
                else:
                    assert "DOCUMENT_TOO_EXPENSIVE" not in str(answer)
