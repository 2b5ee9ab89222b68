"""What the gateway is told of each brand's frontends: from where they come, and which documents they send.

One JSON file per brand in a folder (in Kubernetes, a ConfigMap), named by the brand's id, and `strangers.json` for who
comes without a token. Read at start and again when it changes; of a file that cannot be read any more, which is logged,
what was there before stays in force. `python -m gateway.declared FOLDER` tells beforehand what is wrong.

    {"origins": ["https://shop.example"], "trustedOnly": true, "documents": {"sha256:...": "query ..."}}

`documents` is what build tools write (Relay, GraphQL Code Generator, Apollo's manifest).
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from services.shared.telemetry import log

STRANGERS = "strangers"
FOREIGN_PAGE = "This page's origin is declared by another brand than the token's; use a token of that brand."
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?")
_FIELDS = frozenset(("origins", "trustedOnly", "documents"))


class BrandFileInvalid(Exception):
    """A file that does not say what it should; names the file and what is wrong."""


@dataclass(frozen=True)
class Brand:
    """What is declared of one brand's frontends, or of strangers."""

    # Origins of pages that may read answers.
    origins: frozenset[str] = frozenset()
    # Nothing but the documents below is answered.
    trusted_only: bool = False
    # By each id under which they may be asked for, among them always `sha256:...`.
    documents: Mapping[str, str] = field(default_factory=dict)


_UNDECLARED = Brand()


class Brands:
    """Of one process."""

    def __init__(
        self, folder: Path | None, *, trusted_only: bool = False, strangers_trusted_only: bool = False
    ) -> None:
        """BrandFileInvalid if a file does not say what it should."""
        self._folder = folder
        # For all, whatever their files say.
        self._trusted_only = trusted_only
        self._strangers_trusted_only = strangers_trusted_only
        self._seen: Any = None
        self._brands: Mapping[str, Brand] = {}
        self.origins: frozenset[str] = frozenset()
        self._take(self._read(declared_in))

    def __len__(self) -> int:
        return len(self._brands)

    def of(self, partner_id: str) -> Brand:
        """The brand's declarations; those of strangers without a brand."""
        return self._brands.get(partner_id or STRANGERS, _UNDECLARED)

    def trusted_only(self, partner_id: str) -> bool:
        """Whether documents that are not declared are refused."""
        return (
            self._trusted_only or (self._strangers_trusted_only and not partner_id) or self.of(partner_id).trusted_only
        )

    def foreign(self, origin: str, partner_id: str) -> bool:
        """Whether a page is declared, but not by the brand of the token that it shows."""
        return bool(partner_id) and origin in self.origins and origin not in self.of(partner_id).origins

    async def watch(self, every_seconds: float) -> None:
        """Looks for changes, for ever."""
        while self._folder is not None:
            await asyncio.sleep(every_seconds)
            try:
                self._take(await asyncio.to_thread(self._read, self._declared_or_known))
            except OSError as error:
                log.error("declarations of brands are not taken over", error=str(error))

    def _declared_or_known(self, file: Path) -> Brand:
        """One brand's mistake keeps no other's change from being taken over."""
        try:
            return declared_in(file)
        except BrandFileInvalid as error:
            log.error("declarations of a brand are not taken over", error=str(error))
            return self.of(file.stem)

    def _read(self, brand_in: Callable[[Path], Brand]) -> Mapping[str, Brand] | None:
        """All files; None if none of them has changed."""
        if self._folder is None:
            return None
        files = sorted(self._folder.glob("*.json"))
        seen = [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        if seen == self._seen:
            return None
        self._seen = seen
        return {file.stem: brand_in(file) for file in files}

    def _take(self, brands: Mapping[str, Brand] | None) -> None:
        if brands is None:
            return
        self._brands = brands
        self.origins = frozenset(origin for brand in brands.values() for origin in brand.origins)
        log.info("declarations of brands", documents={name: len(brand.documents) for name, brand in brands.items()})


def declared_in(file: Path) -> Brand:
    """What a file declares; BrandFileInvalid."""
    try:
        content = orjson.loads(file.read_bytes())
        if not isinstance(content, dict) or content.keys() - _FIELDS:
            raise ValueError(f"it has to be an object with {', '.join(sorted(_FIELDS))}")
        trusted_only = content.get("trustedOnly", False)
        if not isinstance(trusted_only, bool):
            raise ValueError("trustedOnly is true or false")
        return Brand(_origins(content.get("origins", [])), trusted_only, _documents(content.get("documents", {})))
    except ValueError as error:
        raise BrandFileInvalid(f"{file.name}: {error}") from error


def _origins(given: Any) -> frozenset[str]:
    if not isinstance(given, list):
        raise ValueError("origins is a list")
    for origin in given:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin, such as https://shop.example: a wildcard is not taken")
    return frozenset(given)


def _documents(given: Any) -> Mapping[str, str]:
    if isinstance(given, dict) and given.get("format") == "apollo-persisted-query-manifest":
        given = _operations(given.get("operations"))
    if not isinstance(given, dict):
        raise ValueError("documents are an object, from ids to documents")
    found: dict[str, str] = {}
    for id, text in given.items():
        if not isinstance(text, str):
            raise ValueError(f"the document {id!r} is no text")
        digest = sha256(text.encode()).hexdigest()
        if (named := _SHA256.fullmatch(id)) and named[1] != digest:
            raise ValueError(f"the document {id!r} has the hash {digest}")
        found[id] = found[f"sha256:{digest}"] = text
    return found


def _operations(given: Any) -> Mapping[str, Any]:
    """Documents by id, of Apollo's manifest."""
    if not isinstance(given, list) or not all(
        isinstance(each, dict) and {"id", "body"} <= each.keys() for each in given
    ):
        raise ValueError("operations are a list of objects with id and body")
    return {str(each["id"]): each["body"] for each in given}
