"""Settings that every service has. Read once, in `__main__`, from the environment; passed down from there."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import AliasChoices, Field, SecretStr

from services.shared.tls import TlsSettings


class ServiceSettings(TlsSettings):
    """The base of each service's settings. A variable is the field's name in upper case behind ALLIANCE_."""

    listen: str = Field(description="host:port on which the service answers")
    mongodb_uri: SecretStr = Field(
        default=SecretStr("mongodb://127.0.0.1:27017/?directConnection=true"),
        validation_alias=AliasChoices("MONGODB_URI", "ALLIANCE_MONGODB_URI"),
        description="where the database is; may hold a password",
    )
    mongodb_database: str = Field(description="this service's own database")
    identity_key_file: Path = Field(description="private JWK (Ed25519) by which this process proves its name")
    trust_file: Path = Field(description="public JWKS of all processes, by kid: process, or process/anything")

    open_listen: str = Field(
        default="",
        description="host:port for callers who have no certificate and sign their message: machines; empty for none",
    )
    health_listen: str = Field(
        default="",
        description="host:port at which health alone is told, without TLS, for probes that know none; empty for none",
    )
    metrics_listen: str = Field(
        default="",
        description="host:port at which Prometheus reads; empty for none. Not for callers: no identity asked",
    )

    accounts_target: str = "127.0.0.1:50051"
    partners_target: str = "127.0.0.1:50052"
    logistics_target: str = "127.0.0.1:50053"
    rewards_target: str = "127.0.0.1:50054"

    call_timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="deadline of a call to a service")
    stop_grace_seconds: float = Field(default=5.0, ge=0, le=120, description="how long calls in flight may finish")
    max_message_bytes: int = Field(default=4 << 20, ge=1 << 16, description="largest request that is read")
    max_concurrent_rpcs: int = Field(default=1_000, ge=1, description="more are refused at once")
    log_level: str = "INFO"


# Of a job that has to do with the database alone: it proves its name to nobody, and nobody calls it.
DATABASE_ONLY: Mapping[str, object] = {
    "identity_key_file": Path(),
    "trust_file": Path(),
    "plaintext": True,
    "tls_certificate_file": None,
    "tls_key_file": None,
    "tls_authorities_file": None,
}
Settings = TypeVar("Settings", bound=ServiceSettings)


def database_only(settings: type[Settings]) -> Settings:
    """A service's settings from the environment, for a job that needs neither key nor certificate."""
    return settings(**DATABASE_ONLY)  # type: ignore[arg-type]
