"""Certificates of a local alliance: an authority of its own, and one certificate per process, for TLS on both ends.

In a cluster cert-manager makes them, of the same form: see deploy/base/certificates.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.keys import PROCESSES

_AUTHORITY = "alliance-local-authority"
_GOOD_FOR = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
# An hour of grace for clocks that are behind.
_EARLIER = timedelta(hours=1)


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, name: str = _AUTHORITY) -> "Authority":
        """A new authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, key.public_key(), datetime.now(UTC) + 10 * _GOOD_FOR).issuer_name(_name(name))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def certify(self, process: str, until: datetime | None = None) -> tuple[bytes, bytes]:
        """A certificate of a process, and its key, as PEM; for a year unless told otherwise."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.DNSName(process),
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.UniformResourceIdentifier(f"spiffe://alliance/ns/local/sa/{process}"),
        ]
        builder = _builder(process, key.public_key(), until or datetime.now(UTC) + _GOOD_FOR)
        builder = builder.issuer_name(self.certificate.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), _pem(key)


def ensure_certificates(folder: Path) -> None:
    """Makes what is missing or soon too old: the authority, and a certificate for each process."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _authority(folder)
    for process in PROCESSES:
        path = certificate_file(folder, process)
        if not (path.exists() and _good(path.read_bytes(), authority)):
            chain, key = authority.certify(process)
            _write(key_file(folder, process), key)
            path.write_bytes(chain)


def environment(folder: Path, process: str) -> Mapping[str, str]:
    """The settings of a process that uses them."""
    return {
        "ALLIANCE_PLAINTEXT": "false",
        "ALLIANCE_TLS_CERTIFICATE_FILE": str(certificate_file(folder, process)),
        "ALLIANCE_TLS_KEY_FILE": str(key_file(folder, process)),
        "ALLIANCE_TLS_AUTHORITIES_FILE": str(authorities_file(folder)),
    }


def certificate_file(folder: Path, process: str) -> Path:
    return folder / f"{process}.crt"


def key_file(folder: Path, process: str) -> Path:
    return folder / f"{process}.key"


def authorities_file(folder: Path) -> Path:
    return folder / "ca.crt"


def authority_key_file(folder: Path) -> Path:
    return folder / "ca.key"


def _authority(folder: Path) -> Authority:
    path, key_path = authorities_file(folder), authority_key_file(folder)
    if not path.exists() or not key_path.exists():
        made = Authority.new()
        _write(key_path, _pem(made.key))
        path.write_bytes(made.pem())
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{key_path} is no key of an elliptic curve")
    return Authority(x509.load_pem_x509_certificate(path.read_bytes()), key)


def _good(pem: bytes, authority: Authority) -> bool:
    certificate = x509.load_pem_x509_certificate(pem)
    lasts = certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE
    return lasts and certificate.issuer == authority.certificate.subject


def _builder(name: str, key: ec.EllipticCurvePublicKey, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(datetime.now(UTC), until) - _EARLIER)
        .not_valid_after(until)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(content)
