"""The partners' life: application, approval, suspension, end."""

import re
from collections.abc import Sequence

from services.partners.domain.partner import Partner, PartnerStatus
from services.partners.store.partners import PartnerStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.errors import ResourceExhausted
from services.shared.ids import new_id
from services.shared.mongo import Transaction
from services.shared.pages import Page, PageQuery

_OPEN_APPLICATIONS = 100
_COUNTRY = re.compile(r"[A-Z]{2}")
# A host, and of RFC 3986 what can stand in an attribute of a page as it is.
_LOGO = re.compile(r"https://(?=.{1,500}$)[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~:/?#@!$&()*+,;=%-]*)?|")


class TooManyApplications(ResourceExhausted):
    """More applications are open than an operator can be expected to read."""


class Partners:
    """The use cases. Those that change something run in a transaction that the caller opens and commits."""

    def __init__(self, store: PartnerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def apply(self, tx: Transaction, *, name: str, trade: str, country: str, logo_url: str) -> Partner:
        """A brand asks to join."""
        now = self._clock()
        partner = Partner(
            id=new_id("partner"),
            name=checks.name(name, "name", 2, 80),
            trade=checks.text(trade, "trade", 2, 40),
            country=checks.pattern(country, "country", _COUNTRY, "a country as two capital letters, for example NL"),
            logo_url=checks.pattern(logo_url, "logo_url", _LOGO, "an https URL of at most 500 characters, or nothing"),
            status=PartnerStatus.APPLIED,
            applied_at=now,
            status_changed_at=now,
        )
        # A guard against floods, not a promise to the caller: those who come at the same moment may all get in.
        if await self._store.applications(_OPEN_APPLICATIONS) >= _OPEN_APPLICATIONS:
            raise TooManyApplications("Too many applications are open just now; apply again tomorrow.")
        await self._store.add(tx, partner)
        return partner

    async def set_status(self, tx: Transaction, partner_id: str, status: PartnerStatus) -> Partner:
        """An operator approves, suspends, resumes or closes a partner."""
        moved = (await self._store.get(tx, partner_id)).moved_to(status, self._clock())
        await self._store.set_status(tx, moved)
        return moved

    async def get(self, ids: Sequence[str]) -> list[Partner]:
        """Those found."""
        return await self._store.several(ids)

    async def page(self, status: PartnerStatus | None, query: PageQuery) -> Page[Partner]:
        """By name; all partners, or those that are there in their life."""
        return await self._store.page(status, query)
