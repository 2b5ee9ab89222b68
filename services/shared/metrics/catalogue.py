"""Every metric that all processes, or all services, have. What only one process has stands in its own `metrics.py`.

Names and attributes are OpenTelemetry's semantic conventions where those have one; the others begin with `alliance.`.
"""

from collections.abc import Iterator, Mapping
from types import ModuleType

from services.shared.metrics.definition import Definition, counter, gauge, histogram

_METHOD = "full name of a method of the protos, such as alliance.accounts.v1.AccountsService/BatchGetMembers"
_STATUS = "gRPC status code, such as OK or UNAVAILABLE"

IN_FLIGHT = gauge(
    "alliance.requests.in_flight",
    "{request}",
    "Requests that are being answered: HTTP requests of the gateway, RPCs of a service; subscriptions and other "
    "streams are not among them. Autoscalers go by it.",
)
RPC_SERVER = histogram(
    "rpc.server.call.duration",
    "s",
    "Time from an RPC's arrival to its answer.",
    attributes={"rpc.method": _METHOD, "rpc.response.status_code": _STATUS},
)
# gRPC codes by which a service says that it, and not the caller, is the trouble.
FAULTS = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED")
RPC_FAULTS = counter(
    "alliance.rpc.faults",
    "{call}",
    "RPCs that were not answered through the service's own fault.",
    attributes={"rpc.response.status_code": f"one of {', '.join(FAULTS)}"},
    from_zero=tuple((code,) for code in FAULTS),
)
RPC_CLIENT = histogram(
    "rpc.client.call.duration",
    "s",
    "Time from the sending of an RPC to its answer, attempts and waits for a connection included.",
    attributes={"rpc.method": _METHOD, "rpc.response.status_code": _STATUS},
)
STREAMS = gauge(
    "alliance.rpc.streams.open", "{stream}", "Streams that callers hold open.", attributes={"rpc.method": _METHOD}
)
SERVING = gauge(
    "alliance.service.serving",
    "{state}",
    "1 while the service answers calls, 0 while it starts, or cannot reach its database.",
)
CERTIFICATE_EXPIRES = gauge(
    "alliance.tls.certificate.expires.time",
    "s",
    "When the certificate runs out that the process shows the others, in seconds since 1970; not there without TLS.",
)

DATABASE = histogram(
    "db.client.operation.duration",
    "s",
    "Time from the sending of a database command to its reply.",
    attributes={
        "db.operation.name": "the command, such as find or insert",
        "db.response.status_code": "OK, or the database's error code; `network` if there was no reply",
    },
)
CONNECTIONS = gauge(
    "db.client.connection.count",
    "{connection}",
    "Connections to the database.",
    attributes={"db.client.connection.state": "used or idle"},
)
CONNECTIONS_MOST = gauge("db.client.connection.max", "{connection}", "Connections to the database that may be open.")
CONNECTION_WAIT = histogram(
    "db.client.connection.wait_time", "s", "Time for which a database command waited for a connection."
)
TRANSACTIONS = counter(
    "alliance.database.transactions",
    "{transaction}",
    "Transactions that came to an end.",
    attributes={"outcome": "committed, or failed: refused by a rule, conflicted too often, or cut off"},
    from_zero=(("committed",), ("failed",)),
)
TRANSACTION_RETRIES = counter(
    "alliance.database.transaction.retries",
    "{attempt}",
    "Attempts at a transaction beyond its first, since others changed the same documents meanwhile.",
)

_TOPIC = {"topic": "topic of the event, from the service's own list"}
OUTBOX_WAITING = gauge(
    "alliance.outbox.waiting",
    "{event}",
    "Events in the service's outbox that have not been delivered; the same from each replica, counted to 10,000.",
)
OUTBOX_OLDEST = gauge(
    "alliance.outbox.oldest.age",
    "s",
    "Age of the oldest event that has not been delivered, 0 if there is none; the same from each replica.",
)
OUTBOX_PARKED = gauge(
    "alliance.outbox.parked",
    "{event}",
    "Events that the receiver refused for good; an operator has to decide on each. The same from each replica.",
)
OUTBOX_ATTEMPTS = counter(
    "alliance.outbox.attempts",
    "{attempt}",
    "Attempts to deliver a batch of events.",
    attributes={**_TOPIC, "outcome": "delivered, postponed (the receiver cannot just now) or refused"},
)
OUTBOX_BATCH = histogram(
    "alliance.outbox.batch.size",
    "{event}",
    "Events that an attempt took along.",
    attributes=_TOPIC,
    boundaries=(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0),
)
OUTBOX_SAMPLED = gauge(
    "alliance.outbox.sampled.time",
    "s",
    "When the outbox was last looked at, in seconds since 1970: what the numbers above are worth.",
)

_INVARIANT = {"invariant": "name of one of the service's invariants"}
INVARIANT_HOLDS = gauge(
    "alliance.invariant.holds",
    "{state}",
    "1 if the invariant held when it was last checked, 0 if not; the same from each replica.",
    attributes=_INVARIANT,
)
INVARIANT_CHECKED = gauge(
    "alliance.invariant.checked.time",
    "s",
    "When the invariant was last checked, in seconds since 1970; 0 if never. The same from each replica.",
    attributes=_INVARIANT,
)
INVARIANT_DURATION = gauge(
    "alliance.invariant.check.duration",
    "s",
    "How long the last check took that looked at the invariant.",
    attributes=_INVARIANT,
)

LOOP_LAG = histogram(
    "alliance.event_loop.lag",
    "s",
    "By how much a timer of the event loop was late: for so long nobody was answered.",
    boundaries=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
PROCESS_CPU = counter(
    "process.cpu.time", "s", "Processor time that the process took.", attributes={"cpu.mode": "user or system"}
)
PROCESS_MEMORY = gauge("process.memory.usage", "By", "Memory of the process that is resident.")
PROCESS_FILES = gauge(
    "process.unix.file_descriptor.count", "{file_descriptor}", "Files and connections that the process has open."
)
PROCESS_FILES_MOST = gauge(
    "alliance.process.file_descriptors.max", "{file_descriptor}", "Files and connections that it may have open."
)
PROCESS_THREADS = gauge("process.thread.count", "{thread}", "Threads of the process.")
PROCESS_UPTIME = gauge("process.uptime", "s", "Time since the process started.")
GC_COLLECTIONS = counter(
    "cpython.gc.collections",
    "{collection}",
    "Runs of Python's garbage collector.",
    attributes={"cpython.gc.generation": "0, 1 or 2"},
)
GC_PAUSES = counter("alliance.process.gc.time", "s", "Time for which the garbage collector stopped everything else.")


def definitions(module: ModuleType) -> Iterator[Definition]:
    """All that a module defines, in its order."""
    found: Mapping[str, object] = vars(module)
    return (each for each in found.values() if isinstance(each, Definition))
