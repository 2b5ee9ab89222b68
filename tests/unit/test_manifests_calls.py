"""A way between pods that is open and not needed is found, and one that is needed and not open; jobs included."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from deploy.checks import references
from deploy.checks.resources import Overlay
from tests.support.manifests import Broken


def open_to_all(broken: Broken) -> None:
    broken.remove("NetworkPolicy", "deny-all")
    broken.remove("NetworkPolicy", "rewards")
    broken.remove("NetworkPolicy", "rewards-from-invariants")
    broken.remove("NetworkPolicy", "from-telemetry")


def metrics_elsewhere(broken: Broken) -> None:
    broken.variable("Deployment", "accounts", "ALLIANCE_METRICS_LISTEN")["value"] = "0.0.0.0:9999"


def a_monitor_of_nothing(broken: Broken) -> None:
    broken.spec("PodMonitor", "alliance")["selector"] = {"matchLabels": {"app": "alliance"}}


def a_job_that_asks_nobody(broken: Broken) -> None:
    broken.remove("NetworkPolicy", "partners-invariants")


def a_job_of_no_kind(broken: Broken) -> None:
    broken.container("CronJob", "rewards-invariants")["args"] = ["services.rewards.nothing"]


def a_jobs_setting(broken: Broken) -> None:
    broken.container("CronJob", "rewards-invariants")["env"].append({"name": "ALLIANCE_LEDGER_PARTITION", "value": "4"})


def a_migration_of_another_release(broken: Broken) -> None:
    migration(broken)["metadata"]["name"] = "rewards-migrate-0-0-9"


def a_migration_without_its_settings(broken: Broken) -> None:
    migration(broken)["spec"]["template"]["spec"]["containers"][0]["env"].clear()


def a_migration_of_nothing(broken: Broken) -> None:
    migration(broken)["spec"]["template"]["spec"]["containers"][0]["args"] = ["services.rewards.migration"]


def a_migration_with_anothers_password(broken: Broken) -> None:
    variable = migration(broken)["spec"]["template"]["spec"]["containers"][0]["env"][0]
    variable["valueFrom"]["secretKeyRef"]["name"] = "accounts-database"


def a_migration_cut_off(broken: Broken) -> None:
    del migration(broken)["spec"]["template"]["metadata"]["labels"]["alliance/database"]


def migration(broken: Broken) -> Any:
    return next(r for r in broken.resources if r["kind"] == "Job" and r["metadata"]["name"].startswith("rewards-"))


def one_caller_too_many(broken: Broken) -> None:
    values = broken.spec("NetworkPolicy", "rewards")["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0][
        "values"
    ]
    values.append("logistics")
    egress = broken.spec("NetworkPolicy", "logistics")["egress"]
    egress.append(
        {"to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "rewards"}}}], "ports": [{"port": 50054}]}
    )


def one_caller_too_few(broken: Broken) -> None:
    broken.spec("NetworkPolicy", "gateway")["egress"].pop(0)


def wrong_port(broken: Broken) -> None:
    broken.spec("NetworkPolicy", "rewards")["ingress"][0]["ports"][0]["port"] = 50051


def the_whole_world(broken: Broken) -> None:
    broken.spec("NetworkPolicy", "accounts")["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})


def any_namespace(broken: Broken) -> None:
    broken.spec("NetworkPolicy", "from-outside")["ingress"][0]["from"] = [{"namespaceSelector": {}}]


def no_names(broken: Broken) -> None:
    broken.remove("NetworkPolicy", "to-dns")


def no_traces(broken: Broken) -> None:
    broken.spec("NetworkPolicy", "to-telemetry")["egress"][0]["ports"][0]["port"] = 4318


def no_database(broken: Broken) -> None:
    broken.get("NetworkPolicy", "to-mongodb")["spec"]["podSelector"] = {
        "matchLabels": {"app.kubernetes.io/name": "backup"}
    }


def a_method_too_many(broken: Broken) -> None:
    match = copy.deepcopy(broken.spec("GRPCRoute", "machines")["rules"][0]["matches"][0])
    match["method"]["method"] = "RetireMachine"
    broken.spec("GRPCRoute", "machines")["rules"][0]["matches"].append(match)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (open_to_all, "NetworkPolicy: anywhere to rewards:0 is allowed, and nobody needs it"),
        (
            metrics_elsewhere,
            "PodMonitor/alliance reads port metrics of Deployment/accounts, which tells its metrics at 9999",
        ),
        (a_monitor_of_nothing, "PodMonitor/alliance: its selector does not match Deployment/gateway"),
        (a_job_that_asks_nobody, "NetworkPolicy: partners-invariants to rewards:50054 is not allowed, and is needed"),
        (a_job_of_no_kind, "CronJob/rewards-invariants runs ['services.rewards.nothing'], which is no job"),
        (a_jobs_setting, "CronJob/rewards-invariants: the process reads no setting ALLIANCE_LEDGER_PARTITION"),
        (a_migration_of_another_release, "Job/rewards-migrate-0-0-9 is not named after this release"),
        (a_migration_of_nothing, "runs ['services.rewards.migration'], which is no job of the alliance"),
        (a_migration_with_anothers_password, "sees Secret accounts-database, which is not for it"),
        (
            a_migration_cut_off,
            "NetworkPolicy: rewards-migrate to cidr:10.40.0.0/24:27017 is not allowed, and is needed",
        ),
        (a_migration_without_its_settings, "NetworkPolicy: rewards-migrate to cidr:10.40.0.0/24:27017 is allowed"),
        (one_caller_too_many, "NetworkPolicy: logistics to rewards:50054 is allowed, and nobody needs it"),
        (one_caller_too_few, "NetworkPolicy: gateway to accounts:50051 is not allowed, and is needed"),
        (wrong_port, "NetworkPolicy: accounts to rewards:50054 is not allowed, and is needed"),
        (the_whole_world, "NetworkPolicy: accounts to cidr:0.0.0.0/0:0 is allowed, and nobody needs it"),
        (any_namespace, "NetworkPolicy: namespace:any to gateway:8080 is allowed, and nobody needs it"),
        (no_names, "NetworkPolicy: accounts to namespace:kube-system:53 is not allowed, and is needed"),
        (no_traces, "NetworkPolicy: accounts to namespace:observability:4317 is not allowed, and is needed"),
        (no_database, "NetworkPolicy: accounts to cidr:10.40.0.0/24:27017 is not allowed, and is needed"),
        (a_method_too_many, "GRPCRoute: ['alliance.logistics.v1.LogisticsService/CaptureItems', "),
    ],
)
def test_a_wrong_reference_is_found(rendered: dict[str, Overlay], damage: Callable[[Broken], None], found: str):
    broken = Broken(rendered["production"])
    damage(broken)
    errors = list(references.errors(broken.overlay))
    assert [error for error in errors if found in error], errors
