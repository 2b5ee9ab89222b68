"""What only the gateway has to say of itself: requests, operations, batches, ways of answering, documents kept."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from time import perf_counter

from gateway import errors
from gateway.breaker import Breaker
from gateway.engine.cache import Cache
from gateway.engine.document import Document, Operation, Ways
from gateway.engine.source import Source
from gateway.errors import DOCUMENT_INVALID, INTERNAL, SERVICE_UNAVAILABLE, FieldError
from gateway.limits import Accounts
from gateway.overload import Overload
from gateway.turns import Mutations
from services.shared.metrics import catalogue
from services.shared.metrics.definition import counter, gauge, histogram
from services.shared.metrics.instruments import Distribution, Meter

HTTP = histogram(
    "http.server.request.duration",
    "s",
    "Time from a request's arrival to the end of its answer.",
    attributes={
        "http.request.method": "GET, POST or other",
        "http.route": "path of a route of the gateway, or other",
        "http.response.status_code": "HTTP status; 0 if the asker had gone",
    },
)
OPERATIONS = histogram(
    "alliance.graphql.operation.duration",
    "s",
    "Time that the execution of an operation took; its document was valid and within its limits.",
    attributes={
        "graphql.operation.type": "query, mutation or subscription",
        # The names of operations are their authors' to choose, and without end.
        "field": "the root field that is asked for, of those in the schema; several, if there are more than one",
        "outcome": (
            "ok; refused: the asker's own doing; partial: something could not be had, the rest is answered; "
            "failed: nothing could be had"
        ),
    },
)
OUTCOMES = OK, REFUSED, PARTIAL, FAILED = "ok", "refused", "partial", "failed"
ANSWERED = counter(
    "alliance.graphql.operations",
    "{operation}",
    "Operations that were executed: of all fields together, what the objective is about.",
    attributes={
        "graphql.operation.type": "query, mutation or subscription",
        "outcome": "as of alliance.graphql.operation.duration",
    },
    from_zero=tuple(product(("query", "mutation", "subscription"), OUTCOMES)),
)
REFUSALS = counter(
    "alliance.graphql.refused",
    "{request}",
    "Requests at /graphql that were answered without being executed.",
    attributes={"code": "code of the error, such as DOCUMENT_INVALID or UNAUTHENTICATED"},
    from_zero=tuple((code,) for code in errors.OF_REQUESTS),
)
_FIELD = {"field": "the root field that is asked for; several, if there are more than one"}
# By which what there is to do at once is bounded, as opposed to what a caller may ask for.
SHED = ("requests in flight", "mutations in flight", "connections")
_OF_CONNECTIONS = (
    "connections of an address", "head bytes", "head seconds", "body seconds", "send seconds", "pipelined requests",
    "frames of a websocket",
)  # fmt: skip
_OF_DOCUMENTS = (
    "bytes", "tokens", "levels", "aliases", "root fields", "fields", "repetitions", "overlaps", "cost",
)  # fmt: skip
_OF_REQUESTS = ("body bytes", "requests in a list", "rate", "seconds")
LIMITED = counter(
    "alliance.gateway.limited",
    "{request}",
    "Requests that were refused since they were beyond a limit; nothing was called for them.",
    attributes={
        "limit": (
            f"of a document: {', '.join(_OF_DOCUMENTS)}; of a request: {', '.join(_OF_REQUESTS)}; of a connection: "
            f"{', '.join(_OF_CONNECTIONS)}; of all that there is at once: {', '.join(SHED)}"
        )
    },
    from_zero=tuple((limit,) for limit in (*_OF_DOCUMENTS, *_OF_REQUESTS, *_OF_CONNECTIONS, *SHED)),
)
IN_FLIGHT_MOST = gauge(
    "alliance.requests.in_flight.limit",
    "{request}",
    "Requests that may be in flight at present; less than the setting while the process is overloaded.",
)
MUTATIONS_IN_FLIGHT = gauge(
    "alliance.mutations.in_flight",
    "{mutation}",
    "Mutations that are being answered, by the field of Mutation.",
    attributes=_FIELD,
)
MUTATIONS_MOST = gauge(
    "alliance.mutations.in_flight.limit",
    "{mutation}",
    "Mutations that may be in flight at present; fewer while they take longer than the setting says.",
    attributes=_FIELD,
)
MUTATIONS_WAITING = gauge(
    "alliance.mutations.waiting", "{mutation}", "Mutations that wait for their turn.", attributes=_FIELD
)
CONNECTIONS = gauge(
    "alliance.http.connections", "{connection}", "Connections that are open, idle ones and WebSockets included."
)
CLIENTS = gauge("alliance.gateway.clients", "{client}", "Clients whose rate is kept in mind.")
WAYS = counter(
    "alliance.graphql.ways",
    "{operation}",
    "Operations by the way in which they were answered.",
    attributes={
        "way": (
            "compiled: a plan alone; walked: a plan, with errors; uncompiled: graphql-core, there is no plan; "
            "abandoned: graphql-core, the plan could not be gone through with; divided: graphql-core, in parts"
        )
    },
    from_zero=tuple((way,) for way in ("compiled", "walked", "uncompiled", "abandoned", "divided")),
)
DOCUMENTS = counter(
    "alliance.graphql.documents",
    "{document}",
    "Documents that were asked for, by whether they were kept from before.",
    attributes={"cache": "hit or miss"},
)
DOCUMENTS_KEPT = gauge("alliance.graphql.documents.kept", "{document}", "Documents that are kept, with their plans.")
DOCUMENTS_KEPT_SIZE = gauge("alliance.graphql.documents.kept.size", "By", "Length of the documents that are kept.")
BATCHES = histogram(
    "alliance.graphql.batch.size",
    "{key}",
    "Keys that one call of a service asked for, collected from all requests in flight.",
    attributes={"source": "the RPC, such as AccountsService/BatchGetMembers"},
    boundaries=(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0),
)

_SERVICE = {"service": "accounts, partners, logistics or rewards"}
BREAKER = gauge(
    "alliance.gateway.breaker.state",
    "{state}",
    "Of the circuit breaker to a service: 0 closed, all is well; 1 half open, one call tries; 2 open, nothing is sent.",
    attributes=_SERVICE,
)
BREAKER_REFUSED = counter(
    "alliance.gateway.breaker.refused",
    "{call}",
    "Calls of a service that were not sent, since it did not answer others.",
    attributes=_SERVICE,
)

# What went wrong was ours, and not the asker's.
_OURS = frozenset({INTERNAL, SERVICE_UNAVAILABLE})


class Batches:
    """Told of each call of a source, and how many keys it asks for."""

    def __init__(self, meter: Meter) -> None:
        self._sizes = meter.histogram(BATCHES)
        self._by_source: dict[Source, Distribution] = {}

    def __call__(self, source: Source, keys: int) -> None:
        cell = self._by_source.get(source)
        if cell is None:
            cell = self._by_source[source] = self._sizes.at(source.name)
        cell.record(keys)


def observe_breakers(meter: Meter, breakers: Mapping[str, Breaker]) -> None:
    """Has the state of each read."""
    meter.observe(BREAKER, lambda: [((name,), float(breaker.state)) for name, breaker in breakers.items()])
    meter.observe(BREAKER_REFUSED, lambda: [((name,), float(breaker.refused)) for name, breaker in breakers.items()])


class Measures:
    """What becomes of requests and operations."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._http = meter.histogram(HTTP)
        self._operations = meter.histogram(OPERATIONS)
        self._answered = meter.counter(ANSWERED)
        self._refused = meter.counter(REFUSALS)
        self._limited = meter.counter(LIMITED)
        # Called for each request that was not let in at all.
        self.shed: Callable[[], None] = self._limited.at("requests in flight").add
        self.in_flight = meter.gauge(catalogue.IN_FLIGHT).at()

    def observe(self, ways: Ways, documents: Cache[Document]) -> None:
        """Has read what is counted anyway."""
        self._meter.observe(WAYS, lambda: [((name,), float(getattr(ways, name))) for (name,) in WAYS.from_zero])
        counts = ("hit", "miss")
        self._meter.observe(
            DOCUMENTS, lambda: [((name,), float(n)) for name, n in zip(counts, documents.found, strict=True)]
        )
        self._meter.observe(DOCUMENTS_KEPT, lambda: float(len(documents)))
        self._meter.observe(DOCUMENTS_KEPT_SIZE, lambda: float(documents.bytes))

    def observe_doors(self, overload: Overload, accounts: Accounts, mutations: Mutations) -> None:
        """Has read what those count who let requests in."""
        turns = mutations.by_field
        self._meter.observe(
            MUTATIONS_IN_FLIGHT, lambda: [((name,), float(each.limit.in_flight)) for name, each in list(turns.items())]
        )
        self._meter.observe(
            MUTATIONS_MOST, lambda: [((name,), float(each.limit.limit)) for name, each in list(turns.items())]
        )
        self._meter.observe(
            MUTATIONS_WAITING, lambda: [((name,), float(each.in_line)) for name, each in list(turns.items())]
        )
        self._meter.observe(IN_FLIGHT_MOST, lambda: float(overload.limit))
        self._meter.observe(CLIENTS, lambda: float(len(accounts)))

    def observe_connections(self, count: Callable[[], int]) -> None:
        """Has read how many there are."""
        self._meter.observe(CONNECTIONS, lambda: float(count()))

    def cut(self, limit: str) -> None:
        """A connection was refused, or ended, by that limit."""
        self._limited.at(limit).add()

    def answered(self, method: str, route: str, status: int, began: float) -> None:
        """An HTTP request that began then, by `perf_counter`."""
        self._http.at(method if method in ("GET", "POST") else "other", route, str(status)).record(
            perf_counter() - began
        )

    def executed(self, operation: Operation, outcome: str, began: float) -> None:
        """An operation."""
        self._operations.at(operation.type, operation.field, outcome).record(perf_counter() - began)
        self._answered.at(operation.type, outcome).add()

    def refused(self, error: FieldError) -> None:
        """A request that was not executed; counted under its limit too, if it was beyond one."""
        self._refused.at(error.extensions["code"]).add()
        if measure := error.extensions.get("measure"):
            self._limited.at(measure).add()

    def invalid(self) -> None:
        """A request whose document cannot be executed."""
        self._refused.at(DOCUMENT_INVALID).add()


def outcome_of(errors: Sequence[Mapping[str, object]], *, answered: bool) -> str:
    """Of an answer with errors, as they are told; `answered` says whether it has data, too."""
    ours = any(_code(error) in _OURS for error in errors)
    if not ours:
        return REFUSED
    return PARTIAL if answered else FAILED


def _code(error: Mapping[str, object]) -> object:
    extensions = error.get("extensions")
    return extensions.get("code") if isinstance(extensions, Mapping) else None
