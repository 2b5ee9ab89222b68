"""Settings of the gateway, from the environment; a variable is the field's name in upper case behind ALLIANCE_."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.shared.tls import TlsSettings


class RequestLimits(BaseSettings):
    """What a request may ask for. A document beyond a limit is refused before any service is called."""

    body_bytes: int = Field(default=256 << 10, ge=1 << 10, description="largest body of a GraphQL request")
    document_bytes: int = Field(default=64 << 10, ge=1 << 10, description="longest document")
    tokens: int = Field(default=3_000, ge=10, description="tokens of a document")
    depth: int = Field(default=15, ge=1, description="nested selection sets")
    aliases: int = Field(default=200, ge=0, description="aliases of a document, fragments counted where they are used")
    root_fields: int = Field(default=50, ge=1, description="fields at the root of an operation")
    fields: int = Field(default=3_000, ge=1, description="fields of a document, fragments counted where they are used")
    repetitions: int = Field(default=100, ge=1, description="how often one name may stand at one place of an answer")
    overlaps: int = Field(
        default=5_000,
        ge=1,
        description="pairs of fields of one name, or of fragments, at one place: what validation compares",
    )
    cost: int = Field(default=20_000, ge=1, description="objects that an answer may have at most, mutations count more")
    parts: int = Field(
        default=500, ge=0, description="parts by @defer and @stream; an answer that could have more comes whole"
    )


class Limits(RequestLimits):
    """Of a request with a token; and of what is kept of all."""

    model_config = SettingsConfigDict(env_prefix="ALLIANCE_LIMIT_", extra="ignore", frozen=True)

    cached_documents: int = Field(default=1_000, ge=2, description="documents kept parsed ...")
    cached_document_bytes: int = Field(default=1 << 20, ge=1, description="... and their length in all")


class LiveLimits(BaseSettings):
    """What subscribers may take up, all in one process. Beyond it they are refused, or ended, with a reason."""

    model_config = SettingsConfigDict(env_prefix="ALLIANCE_LIVE_", extra="ignore", frozen=True)

    connections: int = Field(default=5_000, ge=1, description="connections open at once, of both transports")
    connections_per_client: int = Field(
        default=200, ge=1, description="... of one brand, member or operator; without a token, of one address"
    )
    strangers: int = Field(default=1_000, ge=0, description="... of all who have no token")
    subscriptions: int = Field(default=10_000, ge=1, description="subscriptions at once")
    subscriptions_per_connection: int = Field(default=50, ge=1, description="... of one WebSocket")
    document_bytes: int = Field(
        default=4 << 20, ge=1, description="length of all documents of subscriptions, which stay in memory as long ..."
    )
    document_bytes_per_client: int = Field(default=128 << 10, ge=1, description="... and of one client's")
    variable_bytes: int = Field(default=4 << 10, ge=2, description="... and of the variables of one subscription")
    init_seconds: float = Field(default=5.0, gt=0, description="how long a WebSocket may take to say connection_init")
    message_bytes: int = Field(default=128 << 10, ge=1 << 10, description="largest message of a WebSocket")
    frames_per_second: float = Field(
        default=20.0, gt=0, description="frames of a WebSocket: messages, pings and fragments; a thousand at once"
    )
    subscription_seconds: float = Field(
        default=3_600.0, gt=0, description="how long a subscription lasts; it can be resumed"
    )
    keepalive_seconds: float = Field(
        default=15.0, gt=0, description="how long nothing is sent at most: a ping, or a comment among events"
    )
    send_seconds: float = Field(default=20.0, gt=0, description="how long a client may take to take a message")
    buffered_events: int = Field(default=256, ge=1, description="events that wait for a slow subscriber at most")


class ConnectionLimits(BaseSettings):
    """What connections may take up of one process, whoever makes them. Beyond it they are refused, or ended."""

    model_config = SettingsConfigDict(env_prefix="ALLIANCE_HTTP_", extra="ignore", frozen=True)

    connections: int = Field(
        default=10_000, ge=8, description="connections open at once, WebSockets too; fewer if the process may not"
    )
    connections_per_address: int = Field(
        default=2_000, ge=1, description="... of one address; not looked at behind trusted proxies, who count them"
    )
    head_bytes: int = Field(default=32 << 10, ge=1 << 10, description="longest request line and headers")
    head_seconds: float = Field(default=10.0, gt=0, description="how long they may take to come")
    body_seconds: float = Field(default=15.0, gt=0, description="how long a body may take to come")
    idle_seconds: float = Field(
        default=75.0,
        gt=0,
        description="how long a connection may be without a request; longer than proxies keep theirs",
    )
    send_seconds: float = Field(default=20.0, gt=0, description="how long an answer may not be taken any further")
    pipelined: int = Field(default=16, ge=1, description="requests that may be sent ahead of their answers")


class StrangerLimits(RequestLimits):
    """What a request without a token may ask for: less, since nobody answers for it."""

    model_config = SettingsConfigDict(env_prefix="ALLIANCE_STRANGER_LIMIT_", extra="ignore", frozen=True)

    body_bytes: int = Field(default=64 << 10, ge=1 << 10, description="largest body of a GraphQL request")
    document_bytes: int = Field(default=16 << 10, ge=1 << 10, description="longest document")
    tokens: int = Field(default=1_000, ge=10, description="tokens of a document")
    overlaps: int = Field(default=1_000, ge=1, description="pairs at one place that validation compares")
    cost: int = Field(default=5_000, ge=1, description="objects that an answer may have at most")
    parts: int = Field(default=50, ge=0, description="parts by @defer and @stream")


class Rates(BaseSettings):
    """Units of cost per second; what a unit is stands in `gateway/limits.py`."""

    model_config = SettingsConfigDict(env_prefix="ALLIANCE_RATE_", extra="ignore", frozen=True)

    operator: float = Field(default=1_000_000, gt=0, description="of an operator's client")
    client: float = Field(default=50_000, gt=0, description="of a brand's API client")
    member: float = Field(default=5_000, gt=0, description="of a member")
    members_of_brand: float = Field(default=100_000, gt=0, description="of all members at one brand's frontends")
    address: float = Field(default=2_000, gt=0, description="of an address without a token; of IPv6, a /64")
    strangers_unseen: float = Field(
        default=4_000, gt=0, description="of all without a token, for documents that have not been seen before"
    )
    burst_seconds: float = Field(default=20, ge=1, description="so many seconds' worth may be asked for at once")


class Settings(TlsSettings):
    """Of the whole process."""

    listen: str = Field(default="127.0.0.1:8080", pattern=r"^.+:\d{1,5}$", description="host:port to answer on")
    issuer: str = Field(default="", description="the gateway's URL as its callers know it; default http://<listen>")
    token_key_file: Path = Field(
        description="private JWK (Ed25519), or JWKS of several: the first signs access tokens, all are published"
    )
    identity_key_file: Path = Field(description="private JWK (Ed25519) by which this process proves its name")

    health_listen: str = Field(
        default="",
        description="host:port at which health alone is told, whatever callers take up; empty for none but theirs",
    )
    metrics_listen: str = Field(
        default="",
        description="host:port at which Prometheus reads; empty for none. Not for callers: no identity asked",
    )

    accounts_target: str = "127.0.0.1:50051"
    partners_target: str = "127.0.0.1:50052"
    logistics_target: str = "127.0.0.1:50053"
    rewards_target: str = "127.0.0.1:50054"

    partner_token_seconds: int = Field(
        default=900, ge=1, le=86_400, description="life of a brand's or operator's token"
    )
    member_token_seconds: int = Field(default=600, ge=1, le=86_400, description="life of a member's token")
    token_requests_per_second: float = Field(default=50, gt=0, description="per client, at the token endpoint ...")
    token_requests_per_address_second: float = Field(default=200, gt=0, description="... and per address")
    token_requests_burst: int = Field(default=500, ge=1, description="token requests of one that may come at once")

    call_timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="deadline of a call to a service")
    breaker_failures: int = Field(
        default=5, ge=0, description="calls of a service that may fail in a row before it is not called; 0: any number"
    )
    breaker_open_seconds: float = Field(
        default=1.0, gt=0, le=60, description="when it is tried again; later each time that fails, up to 8 times this"
    )
    request_timeout_seconds: float = Field(default=15.0, gt=0, le=300, description="deadline of a whole request")
    requests_in_flight: int = Field(
        default=2_000, ge=8, description="requests that are answered at the same time, at most ..."
    )
    request_seconds: float = Field(
        default=0.5, gt=0, le=5, description="... and while the process is busy as many as it answers within this"
    )
    overload_retry_seconds: int = Field(
        default=1, ge=1, le=30, description="when to come again at the earliest, for who was not let in"
    )
    mutations_in_flight: int = Field(
        default=500, ge=8, description="mutations of one field that are answered at the same time, at most ..."
    )
    mutation_seconds: float = Field(
        default=0.5, gt=0, le=60, description="... and fewer while they take longer than this on average"
    )
    mutation_wait_seconds: float = Field(
        default=0.5, ge=0, le=60, description="how long a mutation may wait for its turn before it is refused"
    )
    batch: int = Field(default=0, ge=0, le=100, description="requests that may come as one list; 0: none")
    trusted_proxies: int = Field(
        default=0, ge=0, le=10, description="proxies of our own in front, each of which appends to X-Forwarded-For"
    )
    stop_grace_seconds: float = Field(default=5.0, ge=0, le=120, description="how long requests in flight may finish")
    introspection: bool = Field(
        default=True, description="whether the schema may be asked for, and names are suggested"
    )
    introspection_for_strangers: bool = Field(default=True, description="... by who comes without a token too")
    brands_folder: Path | None = Field(
        default=None, description="what brands declare, see gateway/brands.py: origins and trusted documents"
    )
    brands_reload_seconds: float = Field(default=5.0, gt=0, description="how often changes of it are looked for")
    trusted_documents_only: bool = Field(
        default=False, description="whether nothing is answered but declared documents; operators are not bound to it"
    )
    strangers_trusted_documents_only: bool = Field(default=False, description="... to who comes without a token")
    log_level: str = "INFO"
    limits: Limits = Field(default_factory=Limits)
    live: LiveLimits = Field(default_factory=LiveLimits)
    stranger_limits: StrangerLimits = Field(default_factory=StrangerLimits)
    rates: Rates = Field(default_factory=Rates)
    connections: ConnectionLimits = Field(default_factory=ConnectionLimits)

    @property
    def issuer_url(self) -> str:
        """Who signs access tokens, and where."""
        return self.issuer.rstrip("/") or f"http://{self.listen}"

    def targets(self) -> Mapping[str, str]:
        """Where each service answers."""
        return {
            "accounts": self.accounts_target,
            "partners": self.partners_target,
            "logistics": self.logistics_target,
            "rewards": self.rewards_target,
        }
