"""A process ends in time, whoever takes what it has still to send."""

import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from structlog.testing import capture_logs

from services.shared.telemetry import Telemetry


@pytest.fixture
def away() -> Iterator[threading.Event]:
    """A collector that takes nothing until it is set."""
    event = threading.Event()
    yield event
    event.set()


def test_everything_is_sent_at_the_end():
    said: list[str] = []
    provider = TracerProvider(shutdown_on_exit=False)
    provider.shutdown = lambda: said.append("traces")  # type: ignore[method-assign]
    with capture_logs() as logged:
        Telemetry(provider, stops=[lambda: said.append("logs"), lambda: said.append("metrics")]).stop()
    assert sorted(said) == ["logs", "metrics", "traces"]
    assert logged == []


def test_a_collector_that_is_away_does_not_keep_a_process_from_ending(away: threading.Event):
    said: list[str] = []

    def hangs() -> None:
        away.wait()

    for seconds in (0.2, 2.0, 20.0):  # As long as this machine needs to send what can be sent.
        said.clear()
        with capture_logs() as logged:
            Telemetry(stops=[hangs, lambda: said.append("sent")], farewell_seconds=seconds).stop()
        if [line["unfinished"] for line in logged] == [1]:
            break
    assert not away.is_set()
    assert said == ["sent"]
    assert [(line["event"], line["unfinished"]) for line in logged] == [("telemetry could not be sent in time", 1)]
