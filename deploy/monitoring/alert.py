"""What an alert and a recorded series are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

RUNBOOKS = "https://alliance.example.com/runbooks"


class Severity(StrEnum):
    """Whom an alert reaches."""

    PAGE = "page"  # somebody gets up
    TICKET = "ticket"  # somebody looks on the next working day


@dataclass(frozen=True)
class Rule:
    """A series that Prometheus makes from others."""

    record: str
    expression: str

    def as_prometheus(self) -> dict[str, Any]:
        """As it stands in a rules file."""
        return {"record": self.record, "expr": self.expression}


@dataclass(frozen=True)
class Alert:
    """`summary` says in a sentence what is the matter; the runbook of the same name says what to do."""

    name: str
    expression: str
    severity: Severity
    summary: str
    wait: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_prometheus(self) -> dict[str, Any]:
        """As it stands in a rules file."""
        return {
            "alert": self.name,
            "expr": self.expression,
            **({"for": self.wait} if self.wait else {}),
            "labels": {"severity": str(self.severity), **self.labels},
            "annotations": {"summary": self.summary, "runbook_url": f"{RUNBOOKS}/{self.name}.md"},
        }
