"""What of logistics can be followed."""

from collections.abc import Mapping
from typing import Any

import strawberry

from gateway.access import of_member
from gateway.engine.declare import argument, shape, subscription, value
from gateway.errors import BAD_USER_INPUT, FORBIDDEN, FieldError
from gateway.live.drop_offs import TOPIC, DropOffsKey
from gateway.logistics.types import DropOff
from services.shared.identity import CallerKind
from services.shared.ids import is_id


@shape("A drop-off that has been accepted.", rule=of_member("member_id", "partner_id"))
class DropOffAcceptance:
    cursor: str = value("Give it as `after` to go on behind this one, by whichever gateway it came.")
    drop_off: DropOff | None = value("The drop-off.")


def _drop_offs_key(request: Any, given: Mapping[str, Any]) -> DropOffsKey:
    viewer = request.viewer
    member_id, partner_id = given.get("member_id") or "", given.get("partner_id") or ""
    if viewer.kind is CallerKind.ANYONE:
        return DropOffsKey()
    if viewer.kind is CallerKind.MEMBER:
        if partner_id or member_id not in ("", viewer.id):
            raise FieldError(FORBIDDEN, "A member follows their own drop-offs; leave memberId and partnerId out.")
        return DropOffsKey(viewer.id)
    if member_id and partner_id:
        raise FieldError(BAD_USER_INPUT, "Give memberId or partnerId, not both.", reason="FILTERS_EXCLUSIVE")
    for name, prefix, id in (("memberId", "member", member_id), ("partnerId", "partner", partner_id)):
        if id and not is_id(id, prefix):
            raise FieldError(BAD_USER_INPUT, f"`{name}` has to be a {prefix}'s id.", reason="ID_MALFORMED")
    return DropOffsKey(member_id, partner_id or ("" if member_id else viewer.partner_id))


@strawberry.type
class LogisticsSubscription:
    """Subscriptions of logistics."""

    drop_off_accepted: DropOffAcceptance | None = subscription(
        TOPIC,
        "Drop-offs from now on, each once and in one order; with `after`, those that you missed come first. A member "
        "follows their own; a brand those on its machines, or those of a member that consents; an operator all. Who is "
        "too slow is ended with the reason TOO_SLOW and the cursor to resume from; who was away for too long, with "
        "CURSOR_TOO_OLD, and begins anew without `after`; a member's `dropOffs` have all.",
        key=_drop_offs_key,
        arguments=[
            argument("member_id", strawberry.ID | None, "Only this member's."),
            argument("partner_id", strawberry.ID | None, "Only those on this partner's machines."),
        ],
    )
