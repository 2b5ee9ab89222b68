"""Which document is asked for: one that is sent, one that the brand has declared, or one that was sent before.

By the appendix on persisted documents of GraphQL over HTTP (`documentId`), and by Apollo's protocol of automatic
persisted queries (`extensions.persistedQuery`), whose store are the documents that are kept anyway: those that are
valid and within the limits, so many and no more.
"""

from hashlib import sha256

from gateway.answers import Refusal
from gateway.asked import Asked
from gateway.brands import Brands
from gateway.callers import Session
from gateway.engine.document import Document, Documents, Operation
from gateway.errors import FORBIDDEN, PERSISTED_QUERY_HASH_MISMATCH, PERSISTED_QUERY_NOT_FOUND
from services.shared.identity import CallerKind

_PREFIX = "sha256:"


class DocumentRefused(Refusal):
    """The document is not known here, or not for this caller."""


class Persisted:
    """Finds documents."""

    def __init__(self, documents: Documents, brands: Brands) -> None:
        self._documents = documents
        self._brands = brands

    def operation(self, asked: Asked, session: Session) -> Operation:
        """The operation that is asked for; DocumentRefused, DocumentInvalid, TooExpensive or RateExceeded."""
        return self._documents.operation(self._document(asked, session), asked.operation_name)

    def _document(self, asked: Asked, session: Session) -> Document:
        partner_id = session.viewer.partner_id
        operator = session.viewer.kind is CallerKind.OPERATOR
        restricted = not operator and self._brands.trusted_only(partner_id)
        if asked.id:
            trusted = self._brands.of(partner_id).documents.get(asked.id)
            if trusted is not None:
                return self._documents.prepare(trusted)
            kept = None if restricted else self._kept(asked.id, session)
            if kept is None:
                raise _unknown(restricted, automatic=asked.automatic)
            return kept
        if asked.digest and sha256(asked.query.encode(errors="surrogatepass")).hexdigest() != asked.digest:
            raise DocumentRefused(
                400,
                PERSISTED_QUERY_HASH_MISMATCH,
                "sha256Hash is not the SHA-256 of `query`, in UTF-8; send the hash of the very text that you send.",
            )
        if restricted:
            digest = sha256(asked.query.encode(errors="surrogatepass")).hexdigest()
            if _PREFIX + digest not in self._brands.of(partner_id).documents:
                raise _unknown(restricted, automatic=False)
            return self._documents.prepare(asked.query)
        return self._documents.prepare(asked.query, stranger=session.stranger, unseen=session.account.pay_unseen)

    def _kept(self, id: str, session: Session) -> Document | None:
        prefix, _, digest = id.rpartition(":")
        if prefix + ":" != _PREFIX:
            return None
        try:
            return self._documents.kept(bytes.fromhex(digest), stranger=session.stranger)
        except ValueError:
            return None


def _unknown(restricted: bool, *, automatic: bool) -> DocumentRefused:
    if restricted:
        return DocumentRefused(
            403,
            FORBIDDEN,
            "Only documents that were declared beforehand are answered here, and this is none of them; "
            "have it added to the list of trusted documents.",
            reason="DOCUMENT_NOT_TRUSTED",
        )
    if automatic:
        # Clients go by the very words.
        return DocumentRefused(400, PERSISTED_QUERY_NOT_FOUND, "PersistedQueryNotFound")
    return DocumentRefused(
        400,
        PERSISTED_QUERY_NOT_FOUND,
        "There is no document of this id; send the document itself, or have it added to the trusted documents.",
        reason="PERSISTED_DOCUMENT_NOT_FOUND",
    )
