"""Credentials of partners' backends."""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime

_SECRET_BYTES = 32


@dataclass(frozen=True)
class ApiClient:
    """Credentials of a backend; of the secret only its hash is known."""

    id: str
    # Empty for an operator's client.
    partner_id: str
    label: str
    secret_hash: bytes
    revoked: bool
    # None for the client that the settings name.
    created_at: datetime | None

    @property
    def operator(self) -> bool:
        """Whether it is an operator's."""
        return not self.partner_id

    def ended(self) -> "ApiClient":
        """The client as it is once nobody can use it any more."""
        return replace(self, revoked=True)


def new_secret() -> str:
    """256 random bits, base64url (RFC 4648, section 5) without padding."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_secret(secret: str) -> bytes:
    """What is stored instead of the secret.

    Plain SHA-256: slow, salted hashes protect what a person can remember and an attacker can guess. Of 256 random bits
    nothing can be guessed, so that a slow hash would only slow down every token request.
    """
    return hashlib.sha256(secret.encode()).digest()
