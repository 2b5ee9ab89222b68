"""Expected failures of mutations, as types: each a member of the result unions in which it can happen."""

import re
from dataclasses import dataclass
from functools import cache

import strawberry

from gateway.access import INHERITED
from gateway.accounts.sources import ACCOUNTS
from gateway.engine.declare import shape, value
from gateway.logistics.sources import LOGISTICS
from gateway.partners.sources import PARTNERS
from gateway.rewards.sources import REWARDS
from gateway.scalars import Points
from services.shared.errors import (
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)

_REASON = "What is wrong, for programs: UPPER_SNAKE_CASE and stable."
_MESSAGE = "What is wrong and what to do, for a person."
_DETAILS = "Details, for example the name of the field."
_SNAKE = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")


@dataclass(frozen=True)
class ProblemRow:
    """A problem as the resolvers read it."""

    kind: str
    reason: str
    message: str
    details: list["DetailRow"]
    available: int = 0
    required: int = 0


@dataclass(frozen=True)
class DetailRow:
    """A detail of a problem."""

    name: str
    value: str


@shape("A detail of a problem.", rule=INHERITED)
class ProblemDetail:
    name: str = value("What it tells, for example field.")
    value: str = value("What it is.")


@strawberry.interface(description="Why a mutation changed nothing.")
class Problem:
    reason: str = value(_REASON)
    message: str = value(_MESSAGE)
    details: list[ProblemDetail] = value(_DETAILS, size=3)


@shape("The input is wrong whatever the state; correct it before you send it again.", rule=INHERITED)
class InvalidInput(Problem):
    """INVALID_ARGUMENT."""


@shape("There is no such thing, or it is not for you to know.", rule=INHERITED, name="NotFound")
class NotFoundProblem(Problem):
    """NOT_FOUND."""


@shape("Something else has that name, number or request id already.", rule=INHERITED)
class Conflict(Problem):
    """ALREADY_EXISTS."""


@shape("The input is right, but the state does not allow it now.", rule=INHERITED)
class Refused(Problem):
    """FAILED_PRECONDITION."""


@shape("A limit is reached; less, or later, may work.", rule=INHERITED)
class LimitReached(Problem):
    """RESOURCE_EXHAUSTED."""


@shape("More points are needed than can be spent.", rule=INHERITED)
class InsufficientPoints(Problem):
    available: Points = value("What can be spent.")
    required: Points = value("How many are needed.")


_KINDS: tuple[tuple[type[DomainError], str], ...] = (
    (InvalidArgument, "InvalidInput"),
    (NotFound, "NotFound"),
    (AlreadyExists, "Conflict"),
    (FailedPrecondition, "Refused"),
    (ResourceExhausted, "LimitReached"),
)


def problem_of(error: DomainError) -> ProblemRow | None:
    """The problem that an error is; None if it is of a kind that no mutation expects."""
    metadata = dict(error.metadata)
    if error.reason == "INSUFFICIENT_POINTS":
        available, required = (int(metadata.get(name, "0")) for name in ("available", "required"))
        return ProblemRow("InsufficientPoints", error.reason, error.message, _details(metadata), available, required)
    for kind, name in _KINDS:
        if isinstance(error, kind):
            return _in_terms_of_the_schema(name, error, metadata)
    return None


def _in_terms_of_the_schema(name: str, error: DomainError, metadata: dict[str, str]) -> ProblemRow:
    """Services name fields as their protos do; callers here know them in camelCase."""
    if field := metadata.get("field", ""):
        metadata["field"] = camel_case(field)
    fields = _fields()
    message = _SNAKE.sub(lambda found: camel_case(found[0]) if found[0] in fields else found[0], error.message)
    return ProblemRow(name, error.reason, message, _details(metadata))


@cache
def _fields() -> frozenset[str]:
    """The names of the protos' fields; what else is written like them in a message is somebody's own words."""
    files = {service.file for service in (ACCOUNTS, PARTNERS, LOGISTICS, REWARDS)}
    messages = [message for file in files for message in file.message_types_by_name.values()]
    return frozenset(field.name for message in messages for field in message.fields)


def _details(metadata: dict[str, str]) -> list[DetailRow]:
    return [DetailRow(camel_case(name), value) for name, value in sorted(metadata.items())]


def camel_case(name: str) -> str:
    """`occurred_at` as `occurredAt`; leaves indexes and dots as they are."""
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)
