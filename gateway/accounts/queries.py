"""The doors to accounts."""

import strawberry

from gateway.access import A_PARTNER, OPERATOR, PUBLIC
from gateway.accounts import sources
from gateway.accounts.types import Act, Claim, Factor, Member
from gateway.connections import Connection
from gateway.engine.declare import argument, connection, lookup, lookup_by_id, whole
from gateway.engine.reads import Join


@strawberry.type
class AccountsQuery:
    """Queries of accounts."""

    member: Member | None = lookup_by_id(sources.members, "A member.")
    member_by_customer_number: Member | None = lookup(
        sources.found_identities,
        "The member to whom a customer number of the calling brand belongs; null if to nobody. For partners.",
        key=lambda request, given: (request.viewer.partner_id, given["customer_number"]),
        arguments=[argument("customer_number", str, "The brand's own number for the member.")],
        then=Join(sources.members, on="member_id"),
        rule=A_PARTNER,
    )
    members: Connection[Member] | None = connection(
        sources.all_members, "All members, oldest first. For operators.", rule=OPERATOR
    )
    act: Act | None = lookup_by_id(sources.acts, "An act.")
    claim: Claim | None = lookup_by_id(sources.claims, "A claim.")
    factors: list[Factor] | None = whole(
        sources.all_factors, "The catalogue of emission factors, by kind and start of validity.", rule=PUBLIC, size=20
    )
