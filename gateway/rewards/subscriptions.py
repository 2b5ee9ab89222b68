"""What of rewards can be followed."""

from collections.abc import Mapping
from typing import Any

import strawberry

from gateway.access import of_member
from gateway.accounts.sources import members
from gateway.accounts.types import Member
from gateway.engine.declare import argument, join, shape, subscription, value
from gateway.errors import BAD_USER_INPUT, FORBIDDEN, FieldError
from gateway.live.wallets import TOPIC, WalletKey
from gateway.rewards.types import Wallet
from services.shared.identity import CallerKind
from services.shared.ids import is_id


@shape("A wallet that has changed, as it is now.", rule=of_member())
class WalletChange:
    cursor: str = value(
        "Give it as `after` to go on from here: the wallet comes again once it differs from this state."
    )
    wallet: Wallet | None = value("The wallet.")
    member: Member | None = join(members, "Whose it is.", on="member_id")


def _wallet_key(request: Any, given: Mapping[str, Any]) -> WalletKey:
    viewer = request.viewer
    member_id = given.get("member_id") or viewer.member_id
    if viewer.kind is CallerKind.MEMBER and member_id != viewer.id:
        raise FieldError(FORBIDDEN, "A member follows their own wallet; leave memberId out.")
    if viewer.kind is not CallerKind.ANYONE and not is_id(member_id, "member"):
        raise FieldError(BAD_USER_INPUT, "`memberId` has to be a member's id.", reason="MEMBER_ID_MALFORMED")
    return WalletKey(member_id)


@strawberry.type
class RewardsSubscription:
    """Subscriptions of rewards."""

    wallet_changed: WalletChange | None = subscription(
        TOPIC,
        "A member's wallet: at once, and whenever it changes. Who is slow gets the latest state, not each in between. "
        "For the member, for brands with the member's consent, which ends it when it is revoked, and for operators.",
        key=_wallet_key,
        arguments=[argument("member_id", strawberry.ID | None, "The member; may be left out by a member: itself.")],
    )
