"""The gateway as an ASGI application: routes, what every response carries, health, and the order of stopping."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic, perf_counter

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import ide
from gateway.allowances import documents_within
from gateway.backends import Backends
from gateway.brands import Brands
from gateway.callers import Callers
from gateway.config import Settings
from gateway.cors import Cors, readable
from gateway.deadlines import Deadlines
from gateway.errors import masked
from gateway.health import PATHS, Health
from gateway.http import GRACE_SECONDS, GraphQLEndpoint
from gateway.limits import Accounts, Buckets
from gateway.live import drop_offs, impact, wallets
from gateway.live.events import EventStreams
from gateway.live.live import Live, Topic
from gateway.live.measures import LiveMeasures
from gateway.live.websocket import WebSocketEndpoint
from gateway.metrics import Measures
from gateway.oauth import OAuth, TokenLimits
from gateway.overload import Overload, Shedding
from gateway.persisted import Persisted
from gateway.request_ids import request_id_of
from gateway.returns import Returns
from gateway.tokens import TokenKeys, Tokens
from gateway.tracing import Tracing
from gateway.turns import Mutations
from services.shared.metrics.process import watch_loop
from services.shared.telemetry import Telemetry, log, trace_id

GRAPHQL_PATH = "/graphql"
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# For who comes over TLS, which ends in front of us: a year without going back to plain text.
_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
# Unless the answer has a policy of its own, nothing may be loaded for it.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


def create_app(settings: Settings, telemetry: Telemetry, clock: Callable[[], float] = monotonic) -> Starlette:
    """Wires the gateway. Services are called when they are first needed; they may start later.

    By `clock`, in seconds, what is limited per second fills up again, and a service that was away is tried again.
    """
    keys = TokenKeys.from_file(settings.token_key_file)
    tokens = Tokens(
        keys,
        settings.issuer_url,
        partner_seconds=settings.partner_token_seconds,
        member_seconds=settings.member_token_seconds,
    )
    backends = Backends(settings, telemetry, clock)
    measures, live_measures = Measures(telemetry.meter), LiveMeasures(telemetry.meter)
    documents = documents_within(
        settings.limits,
        settings.stranger_limits,
        introspection=settings.introspection,
        introspection_for_strangers=settings.introspection_for_strangers,
    )
    brands = Brands(
        settings.brands_folder,
        trusted_only=settings.trusted_documents_only,
        strangers_trusted_only=settings.strangers_trusted_documents_only,
    )
    persisted = Persisted(documents, brands)
    live = Live(documents, persisted, backends, settings, _topics(settings, backends, live_measures), live_measures)
    events = EventStreams(live, settings.live)
    accounts = Accounts(settings.rates, clock)
    callers = Callers(tokens, accounts, settings.trusted_proxies)
    mutations = Mutations(
        settings.mutations_in_flight,
        settings.mutation_seconds,
        settings.mutation_wait_seconds,
        Returns(settings.overload_retry_seconds, clock),
        clock,
    )
    deadlines = Deadlines(settings.request_timeout_seconds, GRACE_SECONDS)
    graphql = GraphQLEndpoint(
        documents, persisted, brands, backends, callers, mutations, settings, ide.page(), measures, deadlines, events
    )
    overload = Overload(settings.requests_in_flight, settings.request_seconds)
    measures.observe(documents.ways, documents.cache)
    measures.observe_doors(overload, accounts, mutations)
    sockets = WebSocketEndpoint(live, settings.live, callers, brands, settings.issuer_url)
    health = Health(backends.health)
    routes: list[BaseRoute] = [
        Route(GRAPHQL_PATH, graphql.answer, methods=["GET", "POST"]),
        WebSocketRoute(GRAPHQL_PATH, sockets),
        *OAuth(tokens, keys, settings.issuer_url, backends, _token_limits(settings, clock)).routes(),
        *health.routes(),
    ]
    if ide.installed():
        routes.append(Mount(ide.MOUNT, StaticFiles(directory=ide.MODULES)))

    paths = frozenset(route.path for route in routes if isinstance(route, Route | Mount))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watches = [
            asyncio.create_task(watch_loop(telemetry.meter)),
            asyncio.create_task(brands.watch(settings.brands_reload_seconds)),
        ]
        yield
        for watch in watches:
            watch.cancel()
        await live.close()
        await backends.close()
        telemetry.stop()

    security = (*_SECURITY, _TRANSPORT) if settings.issuer_url.startswith("https:") else _SECURITY
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            *_tracing(telemetry, paths),
            Middleware(Envelope, measures=measures, paths=paths, security=security, traced=telemetry.tracing),
            Middleware(Cors, brands=brands, path=GRAPHQL_PATH),
            Middleware(Direct, graphql=graphql),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    # A path with a slash behind it is none of ours. A redirect would lead to whichever host the request names, and
    # behind a proxy that ends TLS to http://, with the request's token or secret.
    app.router.redirect_slashes = False
    # For whoever has the application alone: the counts of what it did.
    app.state.ways = graphql.documents.ways
    # For whoever stops the process: subscribers have to be told before connections are closed.
    app.state.live = live
    # For whoever has the connections: what is counted of them, what probes are told, and who is let in.
    app.state.measures, app.state.health = measures, health
    app.state.shedding = Shedding(
        overload,
        callers.client,
        measures.shed,
        Returns(settings.overload_retry_seconds, clock),
        (*security, _POLICY),
        partial(readable, brands=brands, path=GRAPHQL_PATH),
    )
    return app


def _topics(settings: Settings, backends: Backends, measures: LiveMeasures) -> Mapping[str, Topic]:
    return {
        impact.TOPIC: impact.Impact(backends, measures),
        wallets.TOPIC: wallets.Wallets(backends, measures),
        drop_offs.TOPIC: drop_offs.DropOffs(backends, measures, settings.live.buffered_events),
    }


def _token_limits(settings: Settings, clock: Callable[[], float]) -> TokenLimits:
    burst = settings.token_requests_burst
    return TokenLimits(
        Buckets(settings.token_requests_per_address_second, burst, clock),
        Buckets(settings.token_requests_per_second, burst, clock),
        settings.trusted_proxies,
    )


def _tracing(telemetry: Telemetry, routes: Collection[str]) -> list[Middleware]:
    if telemetry.provider is None:
        return []
    return [Middleware(Tracing, provider=telemetry.provider, untraced=PATHS, routes=routes)]


class Envelope:
    """What every response carries: the request's id and security headers; and one form for what nobody expected."""

    def __init__(
        self,
        app: ASGIApp,
        measures: Measures,
        paths: frozenset[str],
        security: Sequence[tuple[bytes, bytes]],
        *,
        traced: bool,
    ) -> None:
        self._app = app
        self._security = security
        self._traced = traced
        self._measures = measures
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, inside = perf_counter(), 0, 1
        request_id = scope["request_id"] = request_id_of(scope)

        def leave() -> None:
            nonlocal inside
            self._measures.in_flight.add(-inside)
            inside = 0

        async def enveloped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if (answering := scope.get("answering")) is not None:
                    answering()
                headers = [
                    *message.get("headers", ()),
                    *self._security,
                    (b"x-request-id", request_id.encode("latin-1")),
                ]
                if _POLICY[0] not in dict(headers):
                    headers.append(_POLICY)
                if self._traced and (found := trace_id()):
                    headers.append((b"x-trace-id", found.encode()))
                message["headers"] = headers
            await send(message)

        # For an answer that goes on for as long as somebody listens: who listens is no reason for another pod.
        scope["leave"] = leave
        self._measures.in_flight.add(1)
        try:
            await self._app(scope, receive, enveloped)
        except ClientDisconnect:
            # Whoever asked has gone, or was cut off, before all of the question was here.
            return
        except Exception as error:
            log.error("unexpected error", path=scope["path"], request_id=request_id, exc_info=error)
            if status:
                raise
            told = masked()
            content = {"message": told.message, "extensions": {**told.extensions, "traceId": trace_id() or request_id}}
            await JSONResponse({"errors": [content]}, 500)(scope, receive, enveloped)
        finally:
            leave()
            path = scope["path"]
            self._measures.answered(scope["method"], path if path in self._paths else "other", status, began)


class Direct:
    """POST /graphql, which is nearly all that comes, goes straight to its endpoint, without looking through routes."""

    def __init__(self, app: ASGIApp, graphql: GraphQLEndpoint) -> None:
        self._app = app
        self._graphql = graphql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == GRAPHQL_PATH and scope["method"] == "POST":
            response = await self._graphql.answer(HttpRequest(scope, receive, send))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _http_error(_: HttpRequest, error: Exception) -> Response:
    """A path or method that does not exist."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
