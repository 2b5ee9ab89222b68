"""Objectives, and the alerts that tell when their error budget is being used up too fast.

Multi-window, multi-burn-rate alerts as in Google's Site Reliability Workbook, chapter 5: a page when 2 % of the budget
of 30 days goes in an hour, or 5 % in six hours; a ticket at 10 % in a day, or in three. The short window, a twelfth of
the long one, ends the alert soon after the cause has ended.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deploy.monitoring.alert import Alert, Rule, Severity
from gateway import metrics as of_gateway
from services.rewards import metrics as of_rewards
from services.shared.metrics import catalogue as of_all

_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_BURNS = (
    (14.4, "1h", "5m", Severity.PAGE),
    (6.0, "6h", "30m", Severity.PAGE),
    (3.0, "1d", "2h", Severity.TICKET),
    (1.0, "3d", "6h", Severity.TICKET),
)
STALE_OUTBOX_SECONDS = 60
SLOW_COMMIT_SECONDS = 0.25
SLOW_SECONDS = 0.5


@dataclass(frozen=True)
class Objective:
    """`target` of all (requests, or moments) are good; `bad_ratio` is the expression of the others in a window."""

    name: str
    alert: str
    promise: str
    target: float
    bad_ratio: Callable[[str], str]
    # What the ratio is made from, where that is not in the metrics as it is.
    sampled: str = ""

    def recorded(self, window: str) -> str:
        """The series of the ratio of what was bad in that window."""
        return f"slo:{self.name}:bad_ratio_{window}"

    @property
    def sample(self) -> str:
        """The series that is 1 at moments that are bad, and 0 at others."""
        return f"slo:{self.name}:bad"

    def rules(self) -> Iterator[Rule]:
        """The ratios of all windows."""
        if self.sampled:
            yield Rule(self.sample, self.sampled)
        for window in _WINDOWS:
            yield Rule(self.recorded(window), self.bad_ratio(window))

    def alerts(self) -> Iterator[Alert]:
        """One for each speed at which the budget may go."""
        budget = 1 - self.target
        for burn, long, short, severity in _BURNS:
            limit = f"{burn * budget:.6g}"
            yield Alert(
                self.alert,
                f"{self.recorded(long)} > {limit} and {self.recorded(short)} > {limit}",
                severity,
                f"{self.promise}: in {long} the budget of 30 days went {burn:g} times too fast "
                "({{ $value | humanizePercentage }} bad).",
                labels={"window": long},
            )


def objectives() -> tuple[Objective, ...]:
    """All of them."""
    operations, answered = of_gateway.OPERATIONS.prometheus_name, of_gateway.ANSWERED.prometheus_name
    asked = 'graphql_operation_type!="subscription"'

    def unavailable(window: str) -> str:
        bad = f'sum(rate({answered}{{{asked},outcome=~"partial|failed"}}[{window}]))'
        return f"{bad} / sum(rate({answered}{{{asked}}}[{window}]))"

    def slow(window: str) -> str:
        fast = f'sum(rate({operations}_bucket{{{asked},le="{SLOW_SECONDS:g}"}}[{window}]))'
        return f"1 - {fast} / sum(rate({operations}_count{{{asked}}}[{window}]))"

    def moments(name: str) -> Callable[[str], str]:
        return lambda window: f"avg_over_time(slo:{name}:bad[{window}])"

    def slow_commits(window: str) -> str:
        commits = of_rewards.COMMIT.prometheus_name
        fast = f'sum(rate({commits}_bucket{{le="{SLOW_COMMIT_SECONDS:g}"}}[{window}]))'
        return f"1 - {fast} / sum(rate({commits}_count[{window}]))"

    oldest = of_all.OUTBOX_OLDEST.prometheus_name
    return (
        Objective(
            "gateway_availability",
            "GatewayAvailabilityBurn",
            "99.9 % of operations are answered in full",
            0.999,
            unavailable,
        ),
        Objective(
            "gateway_latency",
            "GatewayLatencyBurn",
            f"99 % of operations take less than {SLOW_SECONDS:g} s",
            0.99,
            slow,
        ),
        Objective(
            "outbox_freshness",
            "OutboxFreshnessBurn",
            f"99.9 % of the time no event waits longer than {STALE_OUTBOX_SECONDS} s",
            0.999,
            moments("outbox_freshness"),
            f"max by (job) ({oldest}) > bool {STALE_OUTBOX_SECONDS}",
        ),
        Objective(
            "ledger_commits",
            "LedgerCommitBurn",
            f"99 % of the ledger's blocks are in its log within {SLOW_COMMIT_SECONDS:g} s",
            0.99,
            slow_commits,
        ),
    )
