"""The alerts that are not about an objective: causes that somebody has to remove, and what must never be."""

from collections.abc import Iterator

from deploy.monitoring import outside
from deploy.monitoring.alert import Alert, Severity
from gateway import metrics as of_gateway
from services.accounts import invariants as of_accounts
from services.logistics import invariants as of_logistics
from services.partners import invariants as of_partners
from services.rewards import invariants as of_rewards_data
from services.rewards import metrics as of_rewards
from services.shared import invariants as of_any
from services.shared.metrics import catalogue as of_all

PROCESSES = "gateway|accounts|partners|logistics|rewards"
# The job runs every six hours; two in a row that told nothing are too many.
_UNCHECKED_SECONDS = 13 * 3600

# Certificates are renewed eight hours before they run out; then processes no longer talk to each other.
_CERTIFICATE_SECONDS = 6 * 3600
# Jobs that nobody asks anew: those of a roll-out, and the one that makes the replica set.
JOBS = "(accounts|partners|logistics|rewards)-migrate-.+|mongodb-init"
# The CronJob runs every six hours and may take three; what was to be lost at most is lost beyond that.
_BACKUP_SECONDS = 10 * 3600

_PAGE, _TICKET = Severity.PAGE, Severity.TICKET


def processes() -> Iterator[Alert]:
    """Whether they run, answer and keep up."""
    server, loop = of_all.RPC_SERVER.prometheus_name, of_all.LOOP_LAG.prometheus_name
    files, files_most = of_all.PROCESS_FILES.prometheus_name, of_all.PROCESS_FILES_MOST.prometheus_name
    yield Alert("ProcessDown", f'up{{job=~"{PROCESSES}"}} == 0', _PAGE, "{{ $labels.job }} does not answer.", "2m")
    yield Alert(
        "ServiceNotServing",
        f"{of_all.SERVING.prometheus_name} == 0",
        _PAGE,
        "{{ $labels.job }} refuses all calls: it starts, or cannot reach its database.",
        "1m",
    )
    yield Alert(
        "CertificateNotRenewed",
        f"min by (job) ({of_all.CERTIFICATE_EXPIRES.prometheus_name}) - time() < {_CERTIFICATE_SECONDS}",
        _PAGE,
        "The certificate of {{ $labels.job }} runs out in {{ $value | humanizeDuration }}, and is not renewed.",
        "5m",
    )
    yield Alert(
        "RpcFaults",
        f"sum by (job) (rate({of_all.RPC_FAULTS.prometheus_name}[5m])) "
        f"/ sum by (job) (rate({server}_count[5m])) > 0.02",
        _PAGE,
        "{{ $value | humanizePercentage }} of the calls of {{ $labels.job }} fail through its own fault.",
        "5m",
    )
    yield Alert(
        "GatewaySaturated",
        f'avg by (job) ({of_all.IN_FLIGHT.prometheus_name}{{job="gateway"}}) > 200',
        _TICKET,
        "{{ $value | humanize }} requests are in flight in each gateway; autoscaling aims at 50.",
        "10m",
    )
    limited, http = of_gateway.LIMITED.prometheus_name, of_gateway.HTTP.prometheus_name
    shed = f'sum(rate({limited}{{limit=~"{"|".join(of_gateway.SHED)}"}}[5m]))'
    yield Alert(
        "RequestsShed",
        # Most of what is refused is so before it is a request, and is not among those.
        f"{shed} / ({shed} + sum(rate({http}_count[5m]))) > 0.01",
        _PAGE,
        "{{ $value | humanizePercentage }} of all requests are refused since there is more to do than can be done.",
        "5m",
    )
    yield Alert(
        "EventLoopBlocked",
        f"histogram_quantile(0.99, sum by (job, instance, le) (rate({loop}_bucket[5m]))) > 0.2",
        _TICKET,
        "{{ $labels.instance }} of {{ $labels.job }} answers nobody for {{ $value | humanizeDuration }} at a time.",
        "10m",
    )
    yield Alert(
        "FileDescriptorsShort",
        f"{files} / {files_most} > 0.8",
        _TICKET,
        "{{ $labels.instance }} of {{ $labels.job }} has {{ $value | humanizePercentage }} of its files open.",
        "10m",
    )
    yield Alert(
        "OperationsWithoutPlan",
        f'sum(rate({of_gateway.WAYS.prometheus_name}{{way="abandoned"}}[15m])) > 0.1',
        _TICKET,
        "Plans are given up for {{ $value | humanize }} operations a second, which costs ten times the processor time.",
        "30m",
    )


def stores() -> Iterator[Alert]:
    """The database, as the processes see it."""
    database = of_all.DATABASE.prometheus_name
    used = f'{of_all.CONNECTIONS.prometheus_name}{{db_client_connection_state="used"}}'
    yield Alert(
        "DatabaseFaults",
        f'sum by (job) (rate({database}_count{{db_response_status_code="network"}}[5m])) > 0.1',
        _PAGE,
        "{{ $labels.job }} loses {{ $value | humanize }} database commands a second to the network.",
        "2m",
    )
    yield Alert(
        "DatabaseSlow",
        f'histogram_quantile(0.99, sum by (job, le) (rate({database}_bucket{{db_response_status_code="OK"}}[5m]))) > 1',
        _TICKET,
        "One in a hundred database commands of {{ $labels.job }} takes over {{ $value | humanizeDuration }}.",
        "10m",
    )
    yield Alert(
        "DatabaseConnectionsShort",
        f"{used} / ignoring (db_client_connection_state) {of_all.CONNECTIONS_MOST.prometheus_name} > 0.9",
        _PAGE,
        "{{ $labels.instance }} of {{ $labels.job }} uses {{ $value | humanizePercentage }} of its connections.",
        "5m",
    )
    yield Alert(
        "TransactionConflicts",
        f"sum by (job) (rate({of_all.TRANSACTION_RETRIES.prometheus_name}[5m])) "
        f"/ sum by (job) (rate({of_all.TRANSACTIONS.prometheus_name}[5m])) > 3",
        _TICKET,
        "A transaction of {{ $labels.job }} starts over {{ $value | humanize }} times on average.",
        "15m",
    )


def outboxes() -> Iterator[Alert]:
    """What services have to tell each other."""
    yield Alert(
        "OutboxEventParked",
        f"max by (job) ({of_all.OUTBOX_PARKED.prometheus_name}) > 0",
        _TICKET,
        "{{ $value }} events of {{ $labels.job }} were refused for good; somebody has to decide on them.",
    )
    yield Alert(
        "OutboxUnwatched",
        f"time() - max by (job) ({of_all.OUTBOX_SAMPLED.prometheus_name}) > 120",
        _TICKET,
        "Nobody has looked at the outbox of {{ $labels.job }} for two minutes, or at all since its processes started.",
        "5m",
    )


def ledger() -> Iterator[Alert]:
    """How it keeps up."""
    yield Alert(
        "LedgerBusy",
        f"sum by (job) (rate({of_rewards.BUSY.prometheus_name}[5m])) > 0",
        _PAGE,
        "The ledger sends back {{ $value | humanize }} commands a second: more come than it can decide.",
        "5m",
    )
    yield Alert(
        "LedgerProjectionBehind",
        f"max by (job, partition) ({of_rewards.LAG.prometheus_name}) > 40000",
        _PAGE,
        "{{ $value }} commands of partition {{ $labels.partition }} wait for the read models; at 50,000 none is taken.",
        "5m",
    )
    yield Alert(
        "SweeperStalled",
        f"time() - max by (job) ({of_rewards.SWEPT.prometheus_name}) > 900",
        _TICKET,
        "For a quarter of an hour nothing has swept: due points do not expire, due holds do not end.",
        "5m",
    )


def invariants() -> Iterator[Alert]:
    """What must hold on all that is stored, and that it is looked at."""
    broken = (
        ("LedgerLogBroken", of_rewards_data.LOG, "The ledger's log is not what was once written"),
        ("LedgerBooksBroken", of_rewards_data.BOOKS, "The ledger's books do not balance"),
        ("LedgerAccountsWrong", of_rewards_data.ACCOUNTS, "Accounts or records are not as the ledger's log has them"),
        ("SettlementNetsBroken", of_rewards_data.NETS, "A settlement does not sum to zero, or is not what it was"),
        ("ClaimsNotUnique", of_accounts.UNIQUE, "A gram is, or could be, credited twice"),
        ("ClaimGramsWrong", of_accounts.GRAMS, "A claim has other grams than its factor gives"),
        ("CarbonTotalsWrong", of_accounts.TOTALS, "A member's carbon total is not the sum of the claims"),
        ("PrepaidBlocksMismatch", of_partners.PREPAID, "The ledger has other points than were paid for"),
        ("DropOffsNotUnique", of_logistics.UNIQUE, "A machine's event is, or could be, stored twice"),
        ("OutboxBlocked", of_any.OUTBOX, "Events of {{ $labels.job }} stay behind"),
    )
    holds, checked = of_all.INVARIANT_HOLDS.prometheus_name, of_all.INVARIANT_CHECKED.prometheus_name
    for name, invariant, summary in broken:
        yield Alert(name, f'min by (job, invariant) ({holds}{{invariant="{invariant}"}}) == 0', _PAGE, f"{summary}.")
    yield Alert(
        "InvariantNotChecked",
        f"time() - max by (job, invariant) ({checked}) > {_UNCHECKED_SECONDS}",
        _TICKET,
        "Nobody knows whether {{ $labels.invariant }} of {{ $labels.job }} holds: its job does not tell.",
        "7h",
    )


def jobs() -> Iterator[Alert]:
    """What Kubernetes runs once, or at its time. (Of the jobs that look at invariants, `invariants` tells.)"""
    failed, active = outside.JOB_FAILED.name, outside.JOB_ACTIVE.name
    succeeded, created = outside.CRONJOB_SUCCEEDED.name, outside.CRONJOB_CREATED.name
    yield Alert(
        "JobFailed",
        f'max by (namespace, job_name) ({failed}{{condition="true",job_name=~"{JOBS}"}}) > 0',
        _PAGE,
        "{{ $labels.job_name }} has failed: the database is not ready for what is being rolled out.",
    )
    yield Alert(
        "JobUnfinished",
        f'max by (namespace, job_name) ({active}{{job_name=~"{JOBS}"}}) > 0',
        _TICKET,
        "{{ $labels.job_name }} has not come to its end for an hour.",
        "1h",
    )
    yield Alert(
        "BackupOverdue",
        f'time() - max by (namespace, cronjob) ({succeeded}{{cronjob="backup"}} or {created}{{cronjob="backup"}}) '
        f"> {_BACKUP_SECONDS}",
        _PAGE,
        "The last backup is {{ $value | humanizeDuration }} old.",
    )
