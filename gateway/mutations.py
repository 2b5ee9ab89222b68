"""How a mutation is declared: an rpc, its input and payload, and the problems beside InvalidInput and Conflict."""

from typing import Annotated, Any, Union

import strawberry
from google.protobuf.descriptor import ServiceDescriptor

from gateway.engine.declare import argument, declared_field
from gateway.engine.reads import Mutation
from gateway.problems import Conflict, InsufficientPoints, InvalidInput, LimitReached, NotFoundProblem, Refused

MISSING = NotFoundProblem
REFUSED = Refused
LIMIT = LimitReached
POINTS = InsufficientPoints

REQUEST_ID = (
    "Chosen by you, 1 to 64 visible characters: the same id with the same input returns the stored answer, "
    "so that a call whose fate is unknown can be sent again."
)


def mutation(
    service: ServiceDescriptor, method: str, takes: type, payload: type, *problems: type, description: str
) -> Any:
    """A mutation whose result is `union <method>Result = <payload> | InvalidInput | Conflict | ...problems`."""
    members = (payload, InvalidInput, Conflict, *problems)
    union = strawberry.union(f"{method}Result", description=f"What came of {method[0].lower()}{method[1:]}.")
    return declared_field(
        description,
        Mutation(service, method, takes, payload, members[1:]),
        {},
        type=Annotated[Union[members], union] | None,  # noqa: UP007
        arguments=[argument("input", takes, "What it takes.")],
    )
