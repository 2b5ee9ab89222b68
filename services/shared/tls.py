"""Mutual TLS between processes: who is on the other end of a connection, with certificates that change while it runs.

A certificate names its process by a URI as SPIFFE has it, `spiffe://alliance/ns/<namespace>/sa/<process>`, and by the
DNS names under which others reach it. Files are looked at again at most once a second: new connections have the new
certificate, those that are there go on.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import grpc
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from grpc import aio
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.shared.metrics import catalogue
from services.shared.metrics.instruments import Meter
from services.shared.telemetry import log

_LOOK_AGAIN_SECONDS = 1.0
_PROCESS = re.compile(rb"spiffe://alliance/ns/[a-z0-9-]+/sa/([a-z0-9-]+)")
_NAMES = "x509_subject_alternative_name"


@dataclass(frozen=True, eq=False)
class Certificate:
    """PEM texts: a process's own certificate with those that lead to its authority, its key, and whom it trusts."""

    chain: bytes
    key: bytes
    authorities: bytes

    def check(self) -> None:
        """ValueError unless the key is the certificate's."""
        own = load_pem_x509_certificates(self.chain)[0]
        if own.public_key() != load_pem_private_key(self.key, None).public_key():
            raise ValueError("the key is not that of the certificate")
        load_pem_x509_certificates(self.authorities)

    @cached_property
    def expires_at(self) -> float:
        """When it runs out, or one of those that lead to its authority; in seconds since 1970."""
        return min(each.not_valid_after_utc for each in load_pem_x509_certificates(self.chain)).timestamp()


class CertificateFiles:
    """Where a certificate is, and what it is now."""

    def __init__(self, chain: Path, key: Path, authorities: Path) -> None:
        """OSError or ValueError if there is no good one."""
        self._paths = (chain, key, authorities)
        self._seen = self._stamp()
        self._certificate = self._read()
        self._look_at = time.monotonic() + _LOOK_AGAIN_SECONDS

    def current(self) -> Certificate:
        """The certificate of now. While the files do not make a good one, the one before."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN_SECONDS
            try:
                seen = self._stamp()
                if seen != self._seen:
                    self._certificate = self._read()
                    self._seen = seen
                    log.info("certificate renewed", file=str(self._paths[0]))
            except (OSError, ValueError) as error:
                log.error(
                    "the new certificate is no good, the old one stays", file=str(self._paths[0]), error=str(error)
                )
        return self._certificate

    def observe(self, meter: Meter) -> None:
        """Has read when it runs out, before which there has to be another."""
        meter.observe(catalogue.CERTIFICATE_EXPIRES, lambda: self.current().expires_at)

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in (path.stat() for path in self._paths))

    def _read(self) -> Certificate:
        certificate = Certificate(*(path.read_bytes() for path in self._paths))
        certificate.check()
        return certificate


class TlsSettings(BaseSettings):
    """What every process has to say about its connections to the others: three files, or that it does without."""

    model_config = SettingsConfigDict(env_prefix="ALLIANCE_", extra="ignore", frozen=True)

    tls_certificate_file: Path | None = Field(default=None, description="PEM: own certificate, then its authorities'")
    tls_key_file: Path | None = Field(default=None, description="PEM: private key of the certificate")
    tls_authorities_file: Path | None = Field(
        default=None, description="PEM: authorities whose certificates are trusted"
    )
    plaintext: bool = Field(default=False, description="no TLS between processes; for one machine alone")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        files = (self.tls_certificate_file, self.tls_key_file, self.tls_authorities_file)
        if self.plaintext and any(files):
            raise ValueError("ALLIANCE_PLAINTEXT goes with no ALLIANCE_TLS_..._FILE; choose one")
        if not self.plaintext and not all(files):
            raise ValueError(
                "connections between processes are encrypted: set ALLIANCE_TLS_CERTIFICATE_FILE, "
                "ALLIANCE_TLS_KEY_FILE and ALLIANCE_TLS_AUTHORITIES_FILE (or, where everything runs on one machine, "
                "ALLIANCE_PLAINTEXT=true)"
            )
        return self

    def certificate_files(self) -> CertificateFiles | None:
        """The files, read; None where there is no TLS. SystemExit with a sentence if they are no good."""
        if self.tls_certificate_file is None or self.tls_key_file is None or self.tls_authorities_file is None:
            return None
        try:
            return CertificateFiles(self.tls_certificate_file, self.tls_key_file, self.tls_authorities_file)
        except (OSError, ValueError) as error:
            raise SystemExit(f"The certificate {self.tls_certificate_file} cannot be used: {error}") from error


def server_credentials(files: CertificateFiles, *, ask_clients: bool = True) -> grpc.ServerCredentials:
    """For a port that shows the certificate of the moment to each new connection, and asks for one in return."""
    shown = files.current()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        current = files.current()
        if current is shown:
            return None
        shown = current
        return _configuration(current)

    # The stubs do not know that None means: as before.
    return grpc.dynamic_ssl_server_credentials(_configuration(shown), renewed, ask_clients)  # type: ignore[arg-type]


def channel_credentials(certificate: Certificate) -> grpc.ChannelCredentials:
    """For a connection to a server whose certificate has to name the host that is called."""
    return grpc.ssl_channel_credentials(certificate.authorities, certificate.key, certificate.chain)


def peers(context: "aio.ServicerContext[object, object]") -> frozenset[str]:
    """The processes that the certificate on the other end names; none if it showed no certificate."""
    names: Iterable[bytes] = (context.auth_context() or {}).get(_NAMES, ())
    return frozenset(match[1].decode() for match in map(_PROCESS.fullmatch, names) if match)


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)], certificate.authorities)
