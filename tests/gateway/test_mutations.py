"""Every mutation: what reaches its service, and what comes of each way to fail."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from graphql import get_named_type

from alliance.accounts.v1 import accounts_pb2
from gateway import schema
from gateway.engine.resolve import field_declaration
from services.shared.errors import (
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from tests.gateway.conftest import Gateway, World, codes
from tests.gateway.fakes import FakeAlliance

AT = "2026-03-01T08:30:00Z"


@dataclass(frozen=True)
class Case:
    """A mutation with an input, who may send it, what of the payload to look at, and what it shows."""

    input: dict[str, Any]
    viewers: tuple[str, ...]
    shows: str
    expected: Any = None
    request: dict[str, Any] = field(default_factory=dict)


KINDS = {"NOT_FOUND": "NotFound", "FAILED_PRECONDITION": "Refused", "RESOURCE_EXHAUSTED": "LimitReached"}

CASES: dict[str, Case] = {
    "applyPartner": Case(
        {"name": "Tea House", "trade": "tea", "country": "NL"},
        ("stranger", "operator"),
        "partner { name }",
        {"partner": {"name": "Tea House"}},
    ),
    "setPartnerStatus": Case(
        {"partnerId": "partner_x", "status": "SUSPENDED"},
        ("operator",),
        "partner { status }",
        {"partner": {"status": "SUSPENDED"}},
    ),
    "createApiClient": Case(
        {"partnerId": "partner_x", "label": "till"},
        ("operator",),
        "client { label } secret",
        {"client": {"label": "till"}, "secret": "shown once"},
    ),
    "revokeApiClient": Case(
        {"clientId": "client_x"}, ("partner",), "client { id revoked }", {"client": {"id": "client_x", "revoked": True}}
    ),
    "offerAgreement": Case(
        {"partnerId": "partner_x", "unitValue": {"currency": "EUR", "micros": 4_000}, "validFrom": AT},
        ("operator",),
        "agreement { unitValue { currency micros } validFrom acceptedAt }",
        {"agreement": {"unitValue": {"currency": "EUR", "micros": 4_000}, "validFrom": AT, "acceptedAt": None}},
    ),
    "acceptAgreement": Case(
        {"agreementId": "agreement_x"}, ("partner",), "agreement { id }", {"agreement": {"id": "agreement_x"}}
    ),
    "orderPrepaidBlock": Case({"points": 2**33}, ("partner",), "block { points }", {"block": {"points": 2**33}}),
    "confirmPrepaidBlock": Case(
        {"blockId": "block_x"},
        ("operator",),
        "block { id paidAt } allotted",
        {"block": {"id": "block_x", "paidAt": AT}, "allotted": True},
    ),
    "createEarnRule": Case(
        {"kind": "METRO_TRIP", "points": 1, "perQuantity": 1_000, "validFrom": AT, "pointsValidMonths": 12},
        ("partner",),
        "rule { kind }",
        {"rule": {"kind": "METRO_TRIP"}},
    ),
    "createCampaign": Case(
        {
            "name": "Spring",
            "kind": "OWN_CUP",
            "extraPercent": 100,
            "validFrom": AT,
            "validUntil": AT,
            "budgetPoints": 10,
            "memberCapPoints": 5,
            "pointsExpireAt": AT,
        },
        ("partner",),
        "campaign { partner { name } }",
        {"campaign": {"partner": {"name": "Groenmarkt"}}},
    ),
    "enrolMember": Case(
        {"displayName": "Bo", "customerNumber": "C-77"},
        ("partner",),
        "member { displayName }",
        {"member": {"displayName": "Bo"}},
    ),
    "createLinkCode": Case({}, ("member",), "code expiresAt", {"code": "CODE", "expiresAt": AT}),
    "linkIdentity": Case(
        {"code": "CODE", "customerNumber": "N-7"},
        ("partner",),
        "identity { customerNumber }",
        {"identity": {"customerNumber": "N-7"}},
    ),
    "setConsent": Case(
        {"partnerId": "partner_x", "granted": False},
        ("member",),
        "consent { granted }",
        {"consent": {"granted": False}},
    ),
    "reportActs": Case(
        {
            "reports": [
                {"memberId": "member_x", "kind": "METRO_TRIP", "quantity": 1, "occurredAt": AT, "reference": "T-1"},
                {"customerNumber": "C-1", "kind": "OWN_CUP", "quantity": 1, "occurredAt": AT},
            ]
        },
        ("partner",),
        "acts { kind reference occurredAt }",
        {
            "acts": [
                {"kind": "METRO_TRIP", "reference": "T-1", "occurredAt": AT},
                {"kind": "OWN_CUP", "reference": None, "occurredAt": AT},
            ]
        },
    ),
    "createRecyclingPoint": Case(
        {
            "name": "Station",
            "location": {"latitude": 52.09, "longitude": 5.11},
            "address": "Square 1",
            "materials": ["PET", "REUSABLE_BOX"],
        },
        ("partner", "operator"),
        "recyclingPoint { name location { latitude longitude } materials }",
        {
            "recyclingPoint": {
                "name": "Station",
                "location": {"latitude": 52.09, "longitude": 5.11},
                "materials": ["PET", "REUSABLE_BOX"],
            }
        },
    ),
    "registerMachine": Case(
        {"recyclingPointId": "point_x", "publicKey": "AAEC/w=="},
        ("partner",),
        "machine { publicKey }",
        {"machine": {"publicKey": "AAEC/w=="}},
    ),
    "retireMachine": Case(
        {"machineId": "machine_x"},
        ("partner", "operator"),
        "machine { id retired }",
        {"machine": {"id": "machine_x", "retired": True}},
    ),
    "cancelEarning": Case(
        {"claimId": "claim_x"},
        ("partner", "operator"),
        "returnedPoints shortfallPoints",
        {"returnedPoints": 10, "shortfallPoints": 2},
    ),
    "createReward": Case(
        {"title": "Tea", "points": 10, "stock": 3}, ("partner",), "reward { points }", {"reward": {"points": 10}}
    ),
    "redeem": Case(
        {"rewardId": "reward_x"}, ("member",), "redemption { voucherCode }", {"redemption": {"voucherCode": "ABCD"}}
    ),
    "captureRedemption": Case(
        {"voucherCode": "ABCD"},
        ("partner",),
        "redemption { voucherCode partner { name } }",
        {"redemption": {"voucherCode": None, "partner": {"name": "Groenmarkt"}}},
    ),
    "voidRedemption": Case(
        {"redemptionId": "redemption_x"},
        ("partner", "member"),
        "redemption { id }",
        {"redemption": {"id": "redemption_x"}},
    ),
    "reverseRedemption": Case(
        {"redemptionId": "redemption_x", "points": 7},
        ("partner",),
        "redemption { id status reversedPoints }",
        {"redemption": {"id": "redemption_x", "status": "REVERSED", "reversedPoints": 7}},
    ),
    "createGiftCode": Case({}, ("member",), "code expiresAt", {"code": "AAAA-BBBB-CCCC", "expiresAt": AT}),
    "giftPoints": Case(
        {"code": "AAAA-BBBB-CCCC", "points": 2**33}, ("member",), "gift { points }", {"gift": {"points": 2**33}}
    ),
    "runSettlement": Case({}, ("operator",), "settlement { number }", {"settlement": {"number": 1}}),
}
VIEWERS = ("stranger", "partner", "member", "operator")
PROBLEMS: dict[str, DomainError] = {
    "InvalidInput": InvalidArgument("logo_url: needs more.", reason="FIELD_INVALID", field="logo_url"),
    "NotFound": NotFound("There is none.", reason="THING_NOT_FOUND"),
    "Conflict": AlreadyExists("It was used before.", reason="REQUEST_ID_REUSED"),
    "Refused": FailedPrecondition("Not now.", reason="NOT_NOW"),
    "LimitReached": ResourceExhausted("Too many.", reason="TOO_MANY"),
    "InsufficientPoints": FailedPrecondition("Not enough.", reason="INSUFFICIENT_POINTS", available=3, required=10),
}
UNIONS = {
    name: [member.name for member in field.type.types if not member.name.endswith("Payload")]
    for name, field in schema.build()._schema.mutation_type.fields.items()
}


def upper_first(name: str) -> str:
    return name[0].upper() + name[1:]


def promised(service: str) -> dict[str, set[str]]:
    """By rpc: the problems that its comment in the proto says it answers."""
    text = Path("protos", *service.split(".")[:-1], f"{service.split('.')[1]}.proto").read_text()
    comments = re.findall(r"((?:^  //.*\n)+)  rpc (\w+)", text, re.MULTILINE)
    return {method: {name for code, name in KINDS.items() if f"{code} /" in comment} for comment, method in comments}


def document(name: str, shows: str = "__typename") -> str:
    kind = upper_first(name)
    return f"""mutation ($input: {kind}Input!) {{
      {name}(input: $input) {{
        __typename
        ... on {kind}Payload {{ {shows} }}
        ... on Problem {{ reason message details {{ name value }} }}
      }}
    }}"""


def token_of(viewer: str, gateway: Gateway, world: World) -> str | None:
    return {
        "stranger": lambda: None,
        "partner": lambda: gateway.partner(world.brand),
        "member": lambda: gateway.member(world.member, world.brand),
        "operator": gateway.operator,
    }[viewer]()


def test_what_a_proto_says_that_an_rpc_refuses_is_a_problem_of_its_mutation():
    """Else it would be told as an error of the service, to be tried again."""
    made: Any = schema.build()._schema.mutation_type
    for name, of in made.fields.items():
        read: Any = field_declaration(of).read  # type: ignore[union-attr]
        problems = {type.name for type in get_named_type(of.type).types}
        missing = promised(read.service.full_name)[read.method] - problems
        assert not missing, f"{name} cannot answer {missing}"


def test_every_mutation_is_among_the_cases():
    assert CASES.keys() == UNIONS.keys()


@pytest.mark.parametrize("name", CASES)
async def test_a_mutation_reaches_its_service_as_its_caller(
    gateway: Gateway, alliance: FakeAlliance, world: World, name: str
):
    case = CASES[name]
    for viewer in case.viewers:
        alliance.reset()
        sent = {"requestId": "r-1", **case.input}
        token = token_of(viewer, gateway, world)
        answer = await gateway.data(document(name, case.shows), token, input=sent)
        assert answer[name] == {"__typename": f"{upper_first(name)}Payload", **case.expected}
        (call,) = [call for call in alliance.calls if call.method == upper_first(name)]
        assert call.request.request_id == "r-1"
        assert call.caller.kind == ("anyone" if viewer == "stranger" else viewer)
        if viewer in ("partner", "member"):
            assert call.caller.partner_id == world.brand


@pytest.mark.parametrize("name", CASES)
async def test_a_mutation_refuses_who_may_not_send_it_without_a_call(
    gateway: Gateway, alliance: FakeAlliance, world: World, name: str
):
    # Some are also for others, who have cases of their own in their services' tests.
    allowed = set(CASES[name].viewers) | {"createApiClient": {"partner"}, "revokeApiClient": {"operator"}}.get(
        name, set()
    )
    for viewer in sorted(set(VIEWERS) - allowed):
        token = token_of(viewer, gateway, world)
        answer = await gateway.ask(document(name), token, input={"requestId": "r", **CASES[name].input})
        code = "UNAUTHENTICATED" if viewer == "stranger" else "FORBIDDEN"
        assert answer["data"] == {name: None}
        assert codes(answer) == [(code, [name])]
    assert alliance.calls == []


@pytest.mark.parametrize(("name", "problem"), [(name, problem) for name in CASES for problem in PROBLEMS])
async def test_an_expected_failure_is_a_member_of_the_union_or_an_error(
    gateway: Gateway, alliance: FakeAlliance, world: World, name: str, problem: str
):
    error = PROBLEMS[problem]
    alliance.fail(upper_first(name), error)
    token = token_of(CASES[name].viewers[0], gateway, world)
    answer = await gateway.ask(document(name), token, input={"requestId": "r", **CASES[name].input})
    if problem not in UNIONS[name]:
        assert answer["data"] == {name: None}
        assert answer["errors"][0]["extensions"]["reason"] == error.reason
        return
    assert "errors" not in answer
    told = answer["data"][name]
    assert (told["__typename"], told["reason"]) == (problem, error.reason)


async def test_a_field_is_named_as_the_caller_knows_it(gateway: Gateway, alliance: FakeAlliance):
    alliance.fail("ApplyPartner", PROBLEMS["InvalidInput"])
    answer = await gateway.data(document("applyPartner"), input={"requestId": "r", **CASES["applyPartner"].input})
    assert answer["applyPartner"] == {
        "__typename": "InvalidInput",
        "reason": "FIELD_INVALID",
        "message": "logoUrl: needs more.",
        "details": [{"name": "field", "value": "logoUrl"}],
    }


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("reports[0].member_id: or customer_number.", "reports[0].memberId: or customerNumber."),
        ("This request_id was used for another input.", "This requestId was used for another input."),
        # Not the name of a field, but of somebody's own making.
        ("“buy_one” is taken; reward_x is not there.", "“buy_one” is taken; reward_x is not there."),
    ],
)
async def test_a_message_names_fields_as_the_caller_knows_them(
    gateway: Gateway, alliance: FakeAlliance, message: str, told: str
):
    alliance.fail("ApplyPartner", InvalidArgument(message, reason="FIELD_INVALID"))
    answer = await gateway.data(document("applyPartner"), input={"requestId": "r", **CASES["applyPartner"].input})
    assert answer["applyPartner"]["message"] == told


async def test_a_detail_is_named_as_the_caller_knows_it(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.fail(
        "AcceptAgreement", NotFound("There is none.", reason="AGREEMENT_NOT_FOUND", agreement_id="agreement_x")
    )
    answer = await gateway.data(
        document("acceptAgreement"),
        gateway.partner(world.brand),
        input={"requestId": "r", "agreementId": "agreement_x"},
    )
    assert answer["acceptAgreement"]["details"] == [{"name": "agreementId", "value": "agreement_x"}]


async def test_missing_points_are_told_in_numbers(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.fail("Redeem", PROBLEMS["InsufficientPoints"])
    query = """mutation { redeem(input: {requestId: "r", rewardId: "reward_x"}) {
      ... on InsufficientPoints { available required reason }
    } }"""
    answer = await gateway.data(query, gateway.member(world.member))
    assert answer["redeem"] == {"available": 3, "required": 10, "reason": "INSUFFICIENT_POINTS"}


async def test_a_service_that_says_no_to_this_caller_is_heard(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.fail("AcceptAgreement", PermissionDenied("It is not yours.", reason="NOT_YOUR_PARTNER"))
    answer = await gateway.ask(
        document("acceptAgreement"), gateway.partner(world.brand), input={"requestId": "r", "agreementId": "a"}
    )
    assert codes(answer) == [("FORBIDDEN", ["acceptAgreement"])]
    assert answer["errors"][0]["extensions"]["reason"] == "NOT_YOUR_PARTNER"


async def test_a_report_names_the_member_one_way(gateway: Gateway, alliance: FakeAlliance, world: World):
    report = {"memberId": "m", "customerNumber": "C", "kind": "OWN_CUP", "quantity": 1, "occurredAt": AT}
    answer = await gateway.data(
        document("reportActs"), gateway.partner(world.brand), input={"requestId": "r", "reports": [report]}
    )
    assert answer["reportActs"]["__typename"] == "InvalidInput"
    assert answer["reportActs"]["details"] == [{"name": "field", "value": "reports[0].customerNumber"}]
    assert alliance.calls == []


async def test_the_time_of_a_report_is_the_time_that_was_given(gateway: Gateway, alliance: FakeAlliance, world: World):
    report = {"customerNumber": "C-1", "kind": "OWN_CUP", "quantity": 1, "occurredAt": "2026-03-01T09:30:00.123+01:00"}
    await gateway.data(
        document("reportActs"), gateway.partner(world.brand), input={"requestId": "r", "reports": [report]}
    )
    (call,) = alliance.calls
    assert isinstance(call.request, accounts_pb2.ReportActsRequest)
    assert call.request.reports[0].occurred_at.ToJsonString() == "2026-03-01T08:30:00.123Z"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("orderPrepaidBlock", {"points": 2**63}),
        ("orderPrepaidBlock", {"points": 2**53}),
        ("orderPrepaidBlock", {"points": 1.5}),
        ("orderPrepaidBlock", {"points": "1"}),
        ("orderPrepaidBlock", {"points": True}),
        ("orderPrepaidBlock", {"points": None}),
        ("createEarnRule", {"pointsValidMonths": 2**31}),
        ("createEarnRule", {"kind": "FLIGHT"}),
        ("createEarnRule", {"kind": 2}),
        ("createEarnRule", {"validFrom": "yesterday"}),
        ("createEarnRule", {"validFrom": "2026-02-30T00:00:00Z"}),
        ("createEarnRule", {"validFrom": "2026-03-01"}),
        ("createEarnRule", {"validFrom": "0001-01-01T00:00:00+14:00"}),
        ("createEarnRule", {"validFrom": 1_700_000_000}),
        ("registerMachine", {"publicKey": "not base64!"}),
        ("registerMachine", {"publicKey": 7}),
        ("createRecyclingPoint", {"location": {"latitude": "north", "longitude": 0}}),
        ("createRecyclingPoint", {"location": None}),
        ("enrolMember", {"displayName": {"$gt": ""}}),
        ("enrolMember", {"unknown": 1}),
    ],
)
async def test_input_that_does_not_fit_is_refused_before_any_call(
    gateway: Gateway, alliance: FakeAlliance, world: World, name: str, changes: dict[str, Any]
):
    sent = {"requestId": "r", **CASES[name].input, **changes}
    response = await gateway.post(document(name), token_of(CASES[name].viewers[0], gateway, world), input=sent)
    assert response.status_code == 400
    assert {code for code, _ in codes(response.json())} == {"BAD_USER_INPUT"}
    assert alliance.calls == []


async def test_an_operator_in_an_input_stays_a_string(gateway: Gateway, alliance: FakeAlliance, world: World):
    sent = {"requestId": '{"$gt": ""}', "displayName": '{"$ne": null}', "customerNumber": "😀\u0000"}
    await gateway.data(document("enrolMember"), gateway.partner(world.brand), input=sent)
    (call,) = alliance.calls
    assert (call.request.request_id, call.request.display_name) == ('{"$gt": ""}', '{"$ne": null}')
    assert call.request.customer_number == "😀\u0000"


async def test_a_zero_is_a_value(gateway: Gateway, alliance: FakeAlliance, world: World):
    sent = {"requestId": "r", **CASES["createRecyclingPoint"].input, "location": {"latitude": 0, "longitude": 0}}
    await gateway.data(document("createRecyclingPoint"), gateway.partner(world.brand), input=sent)
    assert alliance.calls[0].request.HasField("location")


async def test_each_mutation_shows_what_holds_after_it(gateway: Gateway, alliance: FakeAlliance, world: World):
    shown = "... on RedeemPayload { redemption { member { wallet { available } } } }"
    query = f"""mutation {{
      a: redeem(input: {{requestId: "1", rewardId: "x"}}) {{ {shown} }}
      b: redeem(input: {{requestId: "2", rewardId: "x"}}) {{ {shown} }}
    }}"""
    await gateway.data(query, gateway.member(world.member))
    methods = alliance.methods()
    assert methods.count("BatchGetWallets") == 2
    assert methods.index("Redeem") < methods.index("BatchGetWallets") < len(methods) - 1 - methods[::-1].index("Redeem")


async def test_mutations_run_one_after_the_other(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.recorder.delays["AcceptAgreement"] = 0.1
    query = """mutation {
      a: acceptAgreement(input: {requestId: "1", agreementId: "x"}) { __typename }
      b: orderPrepaidBlock(input: {requestId: "2", points: 1}) { __typename }
    }"""
    await gateway.data(query, gateway.partner(world.brand))
    assert alliance.methods() == ["AcceptAgreement", "OrderPrepaidBlock"]
