"""Which lot of a member's wallet points belong to: those of one issuer, value and expiry are one lot."""

import re
from datetime import datetime
from typing import NamedTuple

from services.rewards.domain.moments import millis, moment
from services.rewards.ledger.model import Lot
from services.shared.errors import InvalidArgument

_ID = re.compile(r"lot:(member_[0-9a-z]{26}):(partner_[0-9a-z]{26}):([0-9]{1,16}):([0-9]{1,15})")


class LotIdMalformed(InvalidArgument):
    """The id is not one of a lot."""


class LotKey(NamedTuple):
    """What the points of a lot have in common."""

    member_id: str
    issuer_partner_id: str
    unit_value_micros: int
    expires_at: datetime

    @classmethod
    def of(cls, member_id: str, lot: Lot) -> "LotKey":
        """Of a lot in a member's wallet."""
        return cls(member_id, lot.issuer, lot.value, moment(lot.expires))

    @classmethod
    def from_id(cls, id: str, field: str) -> "LotKey":
        """The reverse of `id`; LotIdMalformed if it is none."""
        match = _ID.fullmatch(id)
        if match is None:
            raise _malformed(field)
        member_id, issuer, value, expires = match.groups()
        try:
            return cls(member_id, issuer, int(value), moment(int(expires)))
        except OverflowError as error:
            raise _malformed(field) from error

    @property
    def id(self) -> str:
        """The same for ever."""
        member_id, issuer, value, expires_at = self
        return f"lot:{member_id}:{issuer}:{value}:{millis(expires_at)}"


def _malformed(field: str) -> LotIdMalformed:
    return LotIdMalformed(f"{field} needs ids of lots, as wallets and entries have them.", field=field)
