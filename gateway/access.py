"""Who may read what: one rule per type or field, decided by the viewer and the row, before anything more is loaded.

A brand sees a member, and all that is the member's, while the member consents; the question goes to accounts as one
more batched source, so that a consent that has been revoked is gone by the very next request.
"""

from collections.abc import Awaitable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.errors import CONSENT_REQUIRED, FORBIDDEN, UNAUTHENTICATED, FieldError
from services.shared.identity import Caller, CallerKind

if TYPE_CHECKING:
    from gateway.context import Request


_SIGN_IN = "This needs a token; send one as `Authorization: Bearer ...`."


@dataclass(frozen=True)
class AccessRule:
    """A rule as data. Nobody passes whom it does not name."""

    # In a person's words, for documents and tests.
    name: str
    # Everybody, without a token too; and, for types within others, whoever sees the outer one.
    open: bool = False
    # Everybody with a token.
    signed_in: bool = False
    operator: bool = False
    # Any partner.
    partner: bool = False
    # The row's field with the member's id: the member itself may see it.
    member: str = ""
    # ... and the brands that the member named there lets see it.
    consent: bool = False
    # The row's fields with partner ids: those brands may see it.
    owners: tuple[str, ...] = ()

    @property
    def fields(self) -> frozenset[str]:
        """What of a row it takes to decide."""
        return frozenset((*self.owners, *((self.member,) if self.member else ())))

    def enter(self, request: "Request") -> None:
        """Raises if a viewer of this kind may see no row at all."""
        if self.open:
            return
        kind = request.viewer.kind
        if kind is CallerKind.ANYONE:
            raise FieldError(UNAUTHENTICATED, _SIGN_IN)
        possible = self.signed_in or {
            CallerKind.OPERATOR: self.operator,
            CallerKind.PARTNER: self.partner or self.consent or bool(self.owners),
            CallerKind.MEMBER: bool(self.member),
        }.get(kind, False)
        if not possible:
            raise _forbidden(self)

    def check(self, request: "Request", row: Any) -> Awaitable[None] | None:
        """None if the viewer may see the row, or an awaitable of that; FieldError if not."""
        if self.shows(request, row):
            return None
        viewer = request.viewer
        if self.consent and viewer.kind is CallerKind.PARTNER and (member_id := getattr(row, self.member)):
            return request.consented(member_id)
        self.enter(request)
        raise _forbidden(self)

    def shows(self, request: "Request", row: Any) -> bool:
        """Whether the viewer may see the row for a reason that needs no question to a service."""
        viewer = request.viewer
        if viewer.kind is CallerKind.MEMBER and self.member:
            return self.shows_all(request) or bool(getattr(row, self.member) == viewer.id)
        if viewer.kind is CallerKind.PARTNER and self.owners:
            return self.shows_all(request) or any(getattr(row, owner) == viewer.partner_id for owner in self.owners)
        return self.shows_all(request)

    def shows_all(self, request: "Request") -> bool:
        """Whether the viewer may see every row there is."""
        if self.open:
            return True
        kind = request.viewer.kind
        if kind is CallerKind.OPERATOR:
            return self.signed_in or self.operator
        if kind is CallerKind.PARTNER:
            return self.signed_in or self.partner
        return self.signed_in and kind is CallerKind.MEMBER


def _forbidden(rule: AccessRule) -> FieldError:
    return FieldError(FORBIDDEN, f"This may be seen by: {rule.name}.")


def require_caller(viewer: Caller, kinds: Set[CallerKind], what: str) -> None:
    """Raises unless callers of the viewer's kind may do it."""
    if viewer.kind in kinds:
        return
    if viewer.kind is CallerKind.ANYONE:
        raise FieldError(UNAUTHENTICATED, _SIGN_IN)
    allowed = " or ".join(sorted(kinds - {CallerKind.ANYONE}))
    raise FieldError(FORBIDDEN, f"{what} is for callers of the kind {allowed}; yours is {viewer.kind}.")


def consent_required() -> FieldError:
    """The member has not said that this brand may look, or has taken it back, or there is no such member."""
    return FieldError(CONSENT_REQUIRED, "The member has not consented that you see this; ask for the consent first.")


PUBLIC = AccessRule("everybody", open=True)
INHERITED = AccessRule("whoever sees what it is part of", open=True)
BY_TYPE = AccessRule("whoever its type's rule names", open=True)
SIGNED_IN = AccessRule("everybody with a token", signed_in=True)
OPERATOR = AccessRule("an operator", operator=True)
A_PARTNER = AccessRule("a partner", partner=True)
ALLIANCE = AccessRule("a partner of the alliance, or an operator", partner=True, operator=True)


def of_member(member: str = "member_id", *owners: str) -> AccessRule:
    """The member itself, brands with the member's consent, operators; and the brands whose own it is."""
    own = ", the brand it belongs to" if owners else ""
    return AccessRule(
        f"the member itself, a brand with the member's consent{own}, or an operator",
        operator=True,
        member=member,
        consent=True,
        owners=owners,
    )


def of_partner(*owners: str) -> AccessRule:
    """The brand itself, and operators."""
    return AccessRule("the brand itself, or an operator", operator=True, owners=owners or ("partner_id",))


def of_member_alone(member: str = "member_id", *owners: str) -> AccessRule:
    """The member itself, and the brand it comes from; not even operators."""
    own = " and the brand whose it is" if owners else ""
    return AccessRule(f"the member itself{own}", member=member, owners=owners)
