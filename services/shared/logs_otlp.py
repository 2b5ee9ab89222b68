"""Sends log lines by OTLP, beside standard output: for those whose collector does not read the latter."""

from collections.abc import Mapping
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
# What a record has in places of its own.
_PLACED = frozenset({"event", "level", "timestamp", "service", "trace_id", "exc_info"})


class LogSender:
    """Is called with each line; sends them in batches, from a thread of its own, with the ids of the current trace."""

    def __init__(self, resource: Resource) -> None:
        self._provider = LoggerProvider(resource, shutdown_on_exit=False)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        self._logger = self._provider.get_logger("alliance")

    def __call__(self, line: Mapping[str, Any]) -> None:
        level = str(line.get("level", "info"))
        error = line.get("exc_info")
        self._logger.emit(
            LogRecord(
                severity_text=level.upper(),
                severity_number=_SEVERITIES.get(level, SeverityNumber.UNSPECIFIED),
                body=str(line.get("event", "")),
                attributes={name: _plain(value) for name, value in line.items() if name not in _PLACED},
                exception=error if isinstance(error, BaseException) else None,
            )
        )

    def stop(self) -> None:
        """Sends what is still waiting."""
        self._provider.shutdown()


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)
