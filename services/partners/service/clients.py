"""Credentials of partners' backends: made, checked, revoked."""

import hmac
import secrets
from collections.abc import Sequence

from services.partners.domain.client import ApiClient, hash_secret, new_secret
from services.partners.store.clients import ClientStore
from services.partners.store.partners import Limited, PartnerStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.errors import NotFound, Unauthenticated
from services.shared.ids import new_id
from services.shared.mongo import Transaction

_LONGEST_ID = 100
_LONGEST_SECRET = 500


class ApiClientNotFound(NotFound):
    """No client has that id, or it is another partner's."""


class ClientCredentialsInvalid(Unauthenticated):
    """Unknown client, wrong secret, revoked client or inactive partner: which, is not said."""


class ApiClients:
    """The use cases of API clients.

    The first operator's client is the settings' alone and never stored. Without a secret nobody can use it.
    """

    def __init__(
        self, store: ClientStore, partners: PartnerStore, operator_id: str, operator_secret: str | None, clock: Clock
    ) -> None:
        self._store = store
        self._partners = partners
        self._clock = clock
        # No secret has this hash; it is compared with where there is nothing to compare with.
        self._nobodys_hash = secrets.token_bytes(32)
        operator_hash = hash_secret(operator_secret) if operator_secret else self._nobodys_hash
        self._operator = ApiClient(operator_id, "", "operator", operator_hash, revoked=False, created_at=None)

    async def create(self, tx: Transaction, partner_id: str, label: str) -> tuple[ApiClient, str]:
        """A new client and its secret, which is nowhere else."""
        label = checks.text(label, "label", 1, 80)
        partner = await self._partners.get(tx, partner_id)
        partner.check_approved()
        await self._partners.take_place(tx, partner.id, Limited.API_CLIENTS)
        secret = new_secret()
        client = ApiClient(
            id=new_id("client"),
            partner_id=partner.id,
            label=label,
            secret_hash=hash_secret(secret),
            revoked=False,
            created_at=self._clock(),
        )
        await self._store.add(tx, client)
        return client, secret

    async def revoke(self, tx: Transaction, client_id: str, owner_id: str) -> ApiClient:
        """Ends a client of that owner, or of any if it is empty; one that has ended stays so."""
        client = await self._store.one(client_id, tx)
        if client is None or owner_id not in ("", client.partner_id):
            raise ApiClientNotFound("You have no client with that id.", client_id=client_id)
        if not client.revoked:
            await self._store.revoke(tx, client.id)
            await self._partners.give_place(tx, client.partner_id, Limited.API_CLIENTS)
        return client.ended()

    async def in_use(self, partner_ids: Sequence[str]) -> list[ApiClient]:
        """Those of the partners that have not ended, newest first."""
        return await self._store.in_use(partner_ids)

    async def authenticate(self, client_id: str, secret: str) -> ApiClient:
        """The client with that id and secret; ClientCredentialsInvalid, however they are wrong.

        As long as the secret is wrong, known and unknown ids take the same way, so that time tells nothing either.
        """
        if len(client_id) > _LONGEST_ID or len(secret) > _LONGEST_SECRET:
            raise _invalid()
        stored = await self._store.one(client_id)
        client = self._operator if client_id == self._operator.id else stored
        expected = client.secret_hash if client else self._nobodys_hash
        if not hmac.compare_digest(hash_secret(secret), expected) or client is None or client.revoked:
            raise _invalid()
        if not client.operator and not await self._partner_active(client.partner_id):
            raise _invalid()
        return client

    async def _partner_active(self, partner_id: str) -> bool:
        return any(partner.active for partner in await self._partners.several([partner_id]))


def _invalid() -> ClientCredentialsInvalid:
    return ClientCredentialsInvalid("Client id and secret do not belong to an active client.")
