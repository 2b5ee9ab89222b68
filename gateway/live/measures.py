"""What is counted of subscriptions."""

from gateway.errors import FieldError
from services.shared.metrics.definition import counter, gauge
from services.shared.metrics.instruments import Level, Meter

_TOPICS = ("wallets", "drop_offs", "impact")
_TOPIC = {"topic": f"what is followed: {', '.join(_TOPICS)}"}
_FROM_ZERO = tuple((topic,) for topic in _TOPICS)
CONNECTIONS = gauge(
    "alliance.live.connections",
    "{connection}",
    "Connections of subscribers.",
    attributes={"transport": "websocket or events"},
)
SUBSCRIPTIONS = gauge("alliance.live.subscriptions", "{subscription}", "Subscriptions.", attributes=_TOPIC)
RESULTS = counter("alliance.live.results", "{result}", "Results made for subscribers.", attributes=_TOPIC)
HELD_BACK = counter(
    "alliance.live.held_back",
    "{result}",
    "Times that a result had to wait since its subscriber had used up what it may ask for per second.",
    attributes=_TOPIC,
    from_zero=_FROM_ZERO,
)
ENDED = counter(
    "alliance.live.ended",
    "{subscription}",
    "Subscriptions that were refused, or ended by the gateway.",
    attributes={"reason": "as the subscriber is told, such as TOO_SLOW, TOKEN_EXPIRED or CONSENT_REQUIRED"},
)
STREAMS = gauge(
    "alliance.live.streams.up",
    "{stream}",
    "Streams of services: 1 while it tells of changes, 0 while it is lost, or nobody is subscribed.",
    attributes=_TOPIC,
)
LOST = counter(
    "alliance.live.streams.lost",
    "{stream}",
    "Streams of services that broke off.",
    attributes=_TOPIC,
    from_zero=_FROM_ZERO,
)


class LiveMeasures:
    """Of one process."""

    def __init__(self, meter: Meter) -> None:
        self._connections = meter.gauge(CONNECTIONS)
        self._subscriptions = meter.gauge(SUBSCRIPTIONS)
        self._results = meter.counter(RESULTS)
        self._held_back = meter.counter(HELD_BACK)
        self._ended = meter.counter(ENDED)
        self._streams = meter.gauge(STREAMS)
        self._lost = meter.counter(LOST)

    def connections(self, transport: str) -> Level:
        return self._connections.at(transport)

    def subscriptions(self, topic: str) -> Level:
        return self._subscriptions.at(topic)

    def answered(self, topic: str) -> None:
        """A result is on its way."""
        self._results.at(topic).add()

    def held_back(self, topic: str) -> None:
        """A result waits for what it costs."""
        self._held_back.at(topic).add()

    def ended(self, why: FieldError) -> None:
        """A subscription was refused, or ended."""
        self._ended.at(why.extensions["reason"]).add()

    def stream_up(self, topic: str) -> None:
        self._streams.at(topic).set(1)

    def stream_down(self, topic: str) -> None:
        """Nobody needs it."""
        self._streams.at(topic).set(0)

    def stream_lost(self, topic: str) -> None:
        self.stream_down(topic)
        self._lost.at(topic).add()
