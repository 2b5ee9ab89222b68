"""The alliance's public doors, as those outside see them: OAuth and GraphQL over HTTP, and gRPC for machines.

Whoever calls through here is patient: what fails in passing (a process that restarts, a database that is away) is tried
again, with jittered backoff, for up to two minutes: somebody may be starting a process again by hand. Every mutation
carries a request id, so that it takes effect once.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc import aio
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from alliance.logistics.v1 import logistics_pb2, logistics_pb2_grpc
from services.shared.errors import DeadlineExceeded, DomainError, ResourceExhausted, Unavailable
from services.shared.rpc_errors import from_rpc

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
_TIMEOUT_SECONDS = 15.0
_PASSING_STATUS = frozenset({429, 502, 503, 504})
_PASSING_CODES = frozenset({"SERVICE_UNAVAILABLE"})
_RENEW_BEFORE_SECONDS = 20.0
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  the name of a grant, not a secret
CUSTOMER_NUMBER = "urn:alliance:params:oauth:token-type:customer-number"
_SIGNED = b"alliance.logistics.v1.ItemBatch\n"


class Passing(Exception):
    """Something could not be reached just now."""


class Refused(Exception):
    """The answer is no: a member of a result union, an error of a document, or an OAuth error.

    `reason` is for programs; `code` says where it came from.
    """

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(f"{reason or code}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


@dataclass
class Traffic:
    """What went through the doors."""

    # Requests that were answered, refusals included.
    answered: int = 0
    # Attempts that failed in passing.
    retried: int = 0


@dataclass
class Person:
    """A brand's backend, an operator, or a member at a brand's frontend: whoever has a token."""

    name: str
    grant: Mapping[str, str]
    client_id: str
    secret: str
    token: str = ""
    token_good_until: float = 0.0

    def at(self, customer_number: str) -> "Person":
        """The member with that customer number, through this brand's frontend."""
        grant = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": customer_number,
            "subject_token_type": CUSTOMER_NUMBER,
        }
        return Person(f"{self.name}/{customer_number}", grant, self.client_id, self.secret)


def backend(name: str, client_id: str, secret: str) -> Person:
    """A brand or an operator, by its client credentials."""
    return Person(name, {"grant_type": "client_credentials"}, client_id, secret)


@dataclass
class Doors:
    """Calls through all doors. Close it when done."""

    url: str
    logistics_target: str
    patience_seconds: float = PATIENCE_SECONDS
    # Whose certificates machines trust, as PEM; None: the way to logistics is not encrypted.
    authorities: bytes | None = None
    traffic: Traffic = field(default_factory=Traffic)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=32)
        self._http = httpx.AsyncClient(base_url=self.url, timeout=_TIMEOUT_SECONDS, limits=limits, trust_env=False)
        options = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1_000))
        if self.authorities is None:
            self._channel = aio.insecure_channel(self.logistics_target, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(self.authorities)
            self._channel = aio.secure_channel(self.logistics_target, credentials, options=options)
        self._logistics = logistics_pb2_grpc.LogisticsServiceStub(self._channel)

    async def close(self) -> None:
        """Ends all connections."""
        await self._http.aclose()
        await self._channel.close()

    async def __aenter__(self) -> "Doors":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def token(self, person: Person) -> str:
        """An access token of that person; a new one shortly before the old one ends. Refused if there is none."""
        if time.monotonic() >= person.token_good_until:
            answer = await self._patiently(lambda: self._ask_for_token(person))
            person.token = answer["access_token"]
            person.token_good_until = time.monotonic() + float(answer["expires_in"]) - _RENEW_BEFORE_SECONDS
        return person.token

    async def execute(self, person: Person | None, document: str, variables: Mapping[str, Any] | None = None) -> Any:
        """The data of a GraphQL document, whole; Refused with the first error otherwise."""
        return await self._patiently(lambda: self._post(person, document, variables))

    async def mutate(self, person: Person | None, document: str, **fields: Any) -> Any:
        """The payload of a mutation with one input of these fields; Refused if its answer is a problem."""
        data = await self.execute(person, document, {"input": fields})
        (result,) = data.values()
        if "reason" in result:
            raise Refused(result["__typename"], result["reason"], result["message"])
        return result

    async def capture_items(
        self, machine_id: str, batch: logistics_pb2.ItemBatch, key: Ed25519PrivateKey
    ) -> logistics_pb2.CaptureItemsResponse:
        """What a machine that has that key uploads; Refused if the batch is."""
        content = batch.SerializeToString(deterministic=True)
        request = logistics_pb2.CaptureItemsRequest(
            machine_id=machine_id, batch=content, signature=key.sign(_SIGNED + content)
        )
        return await self._patiently(lambda: self._upload(request))

    async def _ask_for_token(self, person: Person) -> Any:
        answer = await self._send("/oauth/token", data=dict(person.grant), auth=(person.client_id, person.secret))
        body = answer.json()
        if answer.status_code != 200:
            raise Refused(str(answer.status_code), body.get("error", ""), body.get("error_description", ""))
        return body

    async def _post(self, person: Person | None, document: str, variables: Mapping[str, Any] | None) -> Any:
        before = person.token if person else ""
        headers = {"authorization": f"Bearer {await self.token(person)}"} if person else {}
        answer = await self._send("/graphql", json={"query": document, "variables": variables or {}}, headers=headers)
        body = answer.json()
        for error in body.get("errors", ()):
            extensions = error.get("extensions") or {}
            code = extensions.get("code", str(answer.status_code))
            if code in _PASSING_CODES:
                raise Passing(error["message"])
            if code == "UNAUTHENTICATED" and person is not None and person.token == before:
                person.token_good_until = 0.0  # It is not good any more; the next attempt gets another.
                raise Passing(error["message"])
            raise Refused(code, extensions.get("reason", ""), error["message"])
        return body["data"]

    async def _send(self, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = await self._http.post(path, **arguments)
        except httpx.TransportError as error:
            raise Passing(f"{type(error).__name__} {error}") from error
        if answer.status_code in _PASSING_STATUS:
            raise Passing(f"HTTP status {answer.status_code}")
        return answer

    async def _upload(self, request: logistics_pb2.CaptureItemsRequest) -> logistics_pb2.CaptureItemsResponse:
        try:
            answer: logistics_pb2.CaptureItemsResponse = await self._logistics.CaptureItems(
                request, timeout=_TIMEOUT_SECONDS
            )
        except grpc.RpcError as error:
            failure = from_rpc(error) if isinstance(error, aio.AioRpcError) else DomainError(str(error))
            if isinstance(failure, Unavailable | DeadlineExceeded | ResourceExhausted):
                raise Passing(failure.message) from error
            raise Refused(failure.code.name, failure.reason, failure.message) from error
        return answer

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Passing),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            stop=stop_after_delay(self.patience_seconds),
            before_sleep=lambda _: self._count_retry(),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                try:
                    answer = await call()
                except Refused:
                    self.traffic.answered += 1
                    raise
                self.traffic.answered += 1
                return answer
        raise AssertionError("retrying ends with an answer or an error")

    def _count_retry(self) -> None:
        self.traffic.retried += 1
