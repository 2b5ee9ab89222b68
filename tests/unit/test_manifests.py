"""Manifests are right, and each way in which they could be wrong is found: here they are broken on purpose."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.checks import references, schema
from deploy.checks.references import calls
from deploy.checks.render import OVERLAYS, CannotRender, render
from deploy.checks.resources import Overlay

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


class Broken:
    """A copy of an overlay that a test may damage."""

    def __init__(self, overlay: Overlay) -> None:
        self._name = overlay.name
        self.resources: list[Any] = copy.deepcopy(overlay.resources)

    def get(self, kind: str, name: str) -> Any:
        return next(r for r in self.resources if r["kind"] == kind and r["metadata"]["name"] == name)

    def spec(self, kind: str, name: str) -> Any:
        return self.get(kind, name)["spec"]

    def pod(self, kind: str, name: str) -> Any:
        spec = self.spec(kind, name)
        return spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"]

    def container(self, kind: str, name: str) -> Any:
        return self.pod(kind, name)["containers"][0]

    def variable(self, kind: str, name: str, variable: str) -> Any:
        return next(each for each in self.container(kind, name)["env"] if each["name"] == variable)

    def remove(self, kind: str, name: str) -> None:
        self.resources.remove(self.get(kind, name))

    @property
    def overlay(self) -> Overlay:
        return Overlay(self._name, self.resources)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Overlay]:
    """All overlays, rendered from a copy, so that the secrets of the local one stay out of the working tree."""
    deploy = copied(tmp_path_factory.mktemp("deploy"))
    return {name: render(deploy, name) for name in OVERLAYS}


def copied(folder: Path) -> Path:
    """A copy of all that is rendered."""
    ignore = shutil.ignore_patterns("secrets")
    for part in ("base", "overlays", "compose"):
        shutil.copytree(DEPLOY / part, folder / part, ignore=ignore)
    for file in ("compose.yaml", "Dockerfile"):
        shutil.copy(DEPLOY / file, folder / file)
    return folder


@pytest.mark.parametrize("name", OVERLAYS)
def test_o4_an_overlay_is_right(rendered: dict[str, Overlay], name: str):
    assert list(schema.errors(rendered[name].resources)) == []
    assert list(references.errors(rendered[name])) == []


# --- Fields and kinds -------------------------------------------------------------------------------------------------


def unknown_field(broken: Broken) -> None:
    broken.spec("Deployment", "accounts")["replica"] = 3


def unknown_field_deep_inside(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["securityContext"]["readOnlyRootFileSystem"] = True


def wrong_type(broken: Broken) -> None:
    broken.spec("HorizontalPodAutoscaler", "rewards")["maxReplicas"] = "many"


def missing_field(broken: Broken) -> None:
    del broken.spec("Deployment", "accounts")["selector"]


def wrong_identity(broken: Broken) -> None:
    broken.spec("Certificate", "accounts")["uris"] = ["spiffe://elsewhere/accounts"]


def issuer_of_two_kinds(broken: Broken) -> None:
    broken.spec("Issuer", "internal")["selfSigned"] = {}


def unknown_kind(broken: Broken) -> None:
    broken.get("Deployment", "accounts")["kind"] = "Deploymnt"


def unknown_field_of_a_custom_kind(broken: Broken) -> None:
    broken.spec("GRPCRoute", "machines")["rules"][0]["matches"][0]["method"]["verb"] = "POST"


def secret_without_its_place(broken: Broken) -> None:
    del broken.spec("ExternalSecret", "tokens")["data"][0]["remoteRef"]["key"]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (unknown_field, "'replica' was unexpected"),
        (unknown_field_deep_inside, "'readOnlyRootFileSystem' was unexpected"),
        (wrong_type, "'many' is not of type 'integer'"),
        (missing_field, "'selector' is a required property"),
        (unknown_kind, "knows no Deploymnt"),
        (unknown_field_of_a_custom_kind, "'verb' was unexpected"),
        (wrong_identity, "'spiffe://elsewhere/accounts' does not match"),
        (issuer_of_two_kinds, "has too many properties"),
        (secret_without_its_place, "'key' is a required property"),
    ],
)
def test_a_wrong_field_is_found(rendered: dict[str, Overlay], damage: Callable[[Broken], None], found: str):
    broken = Broken(rendered["production"])
    damage(broken)
    changed = [resource for resource in broken.resources if resource not in rendered["production"].resources]
    assert [error for error in schema.errors(changed) if found in error]


# --- Names, labels, ports ---------------------------------------------------------------------------------------------


def selector_of_a_service(broken: Broken) -> None:
    broken.spec("Service", "accounts")["selector"] = {"app.kubernetes.io/name": "acounts"}


def selector_of_a_deployment(broken: Broken) -> None:
    broken.spec("Deployment", "rewards")["selector"]["matchLabels"]["app.kubernetes.io/name"] = "reward"


def selector_of_a_budget(broken: Broken) -> None:
    broken.spec("PodDisruptionBudget", "rewards")["selector"] = {
        "matchLabels": {"app.kubernetes.io/part-of": "alliance"}
    }


def selector_of_a_spread(broken: Broken) -> None:
    constraint = broken.pod("Deployment", "gateway")["topologySpreadConstraints"][0]
    constraint["labelSelector"]["matchLabels"] = {"app": "gateway"}


def selector_of_a_policy(broken: Broken) -> None:
    broken.spec("NetworkPolicy", "accounts")["podSelector"]["matchLabels"] = {"app": "accounts"}


def scaler_of_nothing(broken: Broken) -> None:
    broken.spec("HorizontalPodAutoscaler", "accounts")["scaleTargetRef"]["name"] = "account"


def scaler_against_replicas(broken: Broken) -> None:
    broken.spec("Deployment", "accounts")["replicas"] = 2


def scaler_without_request(broken: Broken) -> None:
    del broken.container("Deployment", "accounts")["resources"]["requests"]["cpu"]


def budget_for_all(broken: Broken) -> None:
    broken.spec("PodDisruptionBudget", "accounts")["maxUnavailable"] = 3


def account_of_nobody(broken: Broken) -> None:
    broken.pod("Deployment", "accounts")["serviceAccountName"] = "default"


def volume_of_nothing(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["volumeMounts"][0]["name"] = "cache"


def claim_of_nothing(broken: Broken) -> None:
    broken.remove("PersistentVolumeClaim", "backups")


def another_namespace(broken: Broken) -> None:
    broken.get("Service", "accounts")["metadata"]["namespace"] = "default"


def twice(broken: Broken) -> None:
    broken.resources.append(broken.get("Service", "accounts"))


def route_to_nothing(broken: Broken) -> None:
    broken.spec("HTTPRoute", "graphql")["rules"][0]["backendRefs"][0]["port"] = 8080


def route_of_another_name(broken: Broken) -> None:
    broken.spec("GRPCRoute", "machines")["hostnames"] = ["machine.alliance.example.com"]


def route_at_no_listener(broken: Broken) -> None:
    broken.spec("HTTPRoute", "graphql")["parentRefs"][0]["sectionName"] = "https"


def target_port(broken: Broken) -> None:
    broken.spec("Service", "gateway")["ports"][0]["targetPort"] = "web"


def headless_translation(broken: Broken) -> None:
    broken.spec("Service", "accounts")["ports"][0]["port"] = 80


def probe_port(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["readinessProbe"]["grpc"]["port"] = 50052


def probe_name(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["livenessProbe"]["grpc"]["service"] = "live"


def listener_port(broken: Broken) -> None:
    broken.variable("Deployment", "accounts", "ALLIANCE_LISTEN")["value"] = "0.0.0.0:50052"


def listener_address(broken: Broken) -> None:
    broken.variable("Deployment", "accounts", "ALLIANCE_LISTEN")["value"] = "127.0.0.1:50051"


def target_of_nobody(broken: Broken) -> None:
    settings(broken)["ALLIANCE_REWARDS_TARGET"] = "dns:///reward:50054"


def one_address_for_all_pods(broken: Broken) -> None:
    del broken.spec("Service", "rewards")["clusterIP"]


# --- Settings and secrets ---------------------------------------------------------------------------------------------


def settings(broken: Broken, name: str = "settings") -> Any:
    found = next(
        r
        for r in broken.resources
        if r["kind"] == "ConfigMap" and (r["metadata"]["name"] == name or r["metadata"]["name"].startswith(f"{name}-"))
    )
    return found["data"]


def unknown_setting(broken: Broken) -> None:
    settings(broken)["ALLIANCE_LOGLEVEL"] = "INFO"


def setting_of_another_process(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["env"].append({"name": "ALLIANCE_ISSUER", "value": "https://x.example"})


def refused_setting(broken: Broken) -> None:
    settings(broken)["ALLIANCE_STOP_GRACE_SECONDS"] = "soon"


def refused_limit(broken: Broken) -> None:
    settings(broken, "gateway-settings")["ALLIANCE_LIMIT_DEPTH"] = "0"


def unknown_limit(broken: Broken) -> None:
    settings(broken, "gateway-settings")["ALLIANCE_LIMIT_DEEP"] = "12"


def missing_setting(broken: Broken) -> None:
    broken.container("Deployment", "gateway")["env"].remove(
        broken.variable("Deployment", "gateway", "ALLIANCE_TOKEN_KEY_FILE")
    )


def unknown_telemetry_setting(broken: Broken) -> None:
    settings(broken)["OTEL_TRACE_SAMPLER"] = "always_on"


def process_of_nobody(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["args"] = ["services.account"]


def file_of_nobody(broken: Broken) -> None:
    broken.variable("Deployment", "gateway", "ALLIANCE_TOKEN_KEY_FILE")["value"] = "/etc/alliance/keys/token.jwk"


def key_of_a_secret(broken: Broken) -> None:
    broken.variable("Deployment", "accounts", "MONGODB_URI")["valueFrom"]["secretKeyRef"]["key"] = "url"


def secret_of_nobody(broken: Broken) -> None:
    broken.remove("ExternalSecret", "accounts-identity")


def config_map_of_nobody(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["envFrom"][0]["configMapRef"]["name"] = "setting"


def unused_secret(broken: Broken) -> None:
    spare = copy.deepcopy(broken.get("ExternalSecret", "tokens"))
    spare["metadata"]["name"] = spare["spec"]["target"]["name"] = "spare"
    broken.resources.append(spare)


def secret_of_another(broken: Broken) -> None:
    keys = next(volume for volume in broken.pod("Deployment", "accounts")["volumes"] if volume["name"] == "keys")
    keys["projected"]["sources"][0]["secret"]["name"] = "gateway-identity"


# --- Stop, security, images -------------------------------------------------------------------------------------------


def grace_too_short(broken: Broken) -> None:
    settings(broken)["ALLIANCE_STOP_GRACE_SECONDS"] = "60"


def no_pause(broken: Broken) -> None:
    del broken.container("Deployment", "accounts")["lifecycle"]


def no_probe(broken: Broken) -> None:
    del broken.container("Deployment", "accounts")["startupProbe"]


def liveness_that_asks_for_the_database(broken: Broken) -> None:
    del broken.container("Deployment", "accounts")["livenessProbe"]["grpc"]["service"]


def root(broken: Broken) -> None:
    broken.pod("Deployment", "accounts")["securityContext"]["runAsUser"] = 0


def writable(broken: Broken) -> None:
    broken.container("CronJob", "backup")["securityContext"]["readOnlyRootFilesystem"] = False


def token(broken: Broken) -> None:
    del broken.pod("Deployment", "accounts")["automountServiceAccountToken"]


def latest(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["image"] = "registry.example.com/alliance/green-alliance:latest"


def untagged(broken: Broken) -> None:
    broken.container("CronJob", "backup")["image"] = "mongo"


def two_versions(broken: Broken) -> None:
    broken.container("Deployment", "accounts")["image"] = "registry.example.com/alliance/green-alliance:0.0.9"


# --- Who reaches whom -------------------------------------------------------------------------------------------------


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
        (
            selector_of_a_service,
            "Service/accounts: its selector should match the pods of one workload, and matches nothing",
        ),
        (selector_of_a_deployment, "Deployment/rewards: its selector does not match the labels of its own pods"),
        (selector_of_a_budget, "PodDisruptionBudget/rewards: its selector should match the pods of one workload"),
        (selector_of_a_spread, "Deployment/gateway: a topologySpreadConstraint does not match its own pods"),
        (
            selector_of_a_policy,
            "NetworkPolicy/accounts: its selector {'matchLabels': {'app': 'accounts'}} matches nothing",
        ),
        (scaler_of_nothing, "HorizontalPodAutoscaler/accounts scales account, which does not exist"),
        (scaler_against_replicas, "HorizontalPodAutoscaler/accounts and spec.replicas"),
        (scaler_without_request, "HorizontalPodAutoscaler/accounts measures CPU against a request"),
        (budget_for_all, "PodDisruptionBudget/accounts allows all 3 pods"),
        (account_of_nobody, "Deployment/accounts runs as ServiceAccount default"),
        (volume_of_nothing, "Deployment/accounts mounts volume cache"),
        (claim_of_nothing, "CronJob/backup uses PersistentVolumeClaim backups"),
        (another_namespace, "Service/accounts is in namespace default"),
        (twice, "Service/accounts is there 2 times"),
        (route_to_nothing, "HTTPRoute/graphql leads to gateway:8080"),
        (route_of_another_name, "GRPCRoute/machines is for ['machine.alliance.example.com']"),
        (route_at_no_listener, "HTTPRoute/graphql is attached to public/https"),
        (target_port, "Service/gateway: Deployment/gateway has no port web"),
        (headless_translation, "Service/accounts is headless"),
        (probe_port, "Deployment/accounts: readinessProbe asks port 50052"),
        (probe_name, "Deployment/accounts: livenessProbe asks for live"),
        (listener_port, "Deployment/accounts listens on 0.0.0.0:50052"),
        (listener_address, "Deployment/accounts listens on 127.0.0.1:50051"),
        (target_of_nobody, "ALLIANCE_REWARDS_TARGET is dns:///reward:50054, where nobody listens"),
        (one_address_for_all_pods, "Service rewards is not headless"),
        (unknown_setting, "the process reads no setting ALLIANCE_LOGLEVEL"),
        (setting_of_another_process, "Deployment/accounts: the process reads no setting ALLIANCE_ISSUER"),
        (refused_setting, "stop_grace_seconds: Input should be a valid number"),
        (refused_limit, "Deployment/gateway: limits.depth: Input should be greater than or equal to 1"),
        (unknown_limit, "Deployment/gateway: the process reads no setting ALLIANCE_LIMIT_DEEP"),
        (missing_setting, "Deployment/gateway: the setting token_key_file is missing"),
        (unknown_telemetry_setting, "OpenTelemetry reads no variable OTEL_TRACE_SAMPLER"),
        (process_of_nobody, "Deployment/accounts runs ['services.account'], which is no process"),
        (file_of_nobody, "ALLIANCE_TOKEN_KEY_FILE is /etc/alliance/keys/token.jwk, which no volume puts there"),
        (key_of_a_secret, "Deployment/accounts uses key url of Secret accounts-database, which has only ['uri']"),
        (secret_of_nobody, "Deployment/accounts uses Secret accounts-identity, which does not exist"),
        (config_map_of_nobody, "Deployment/accounts uses ConfigMap setting, which does not exist"),
        (unused_secret, "ExternalSecret/spare is used by nobody"),
        (secret_of_another, "Deployment/accounts sees Secret gateway-identity, which is not for it"),
        (grace_too_short, "Deployment/accounts is killed after 40 s, its stop may take 75 s"),
        (no_pause, "Deployment/accounts has no preStop pause"),
        (no_probe, "Deployment/accounts has no startupProbe"),
        (liveness_that_asks_for_the_database, "Deployment/accounts: livenessProbe and readinessProbe ask the same"),
        (root, "Deployment/accounts may run as root"),
        (writable, "CronJob/backup: mongodump can write to its root"),
        (token, "Deployment/accounts gets a token of the cluster"),
        (latest, "image registry.example.com/alliance/green-alliance:latest has no fixed version"),
        (untagged, "image mongo has no fixed version"),
        (two_versions, "is used in several versions: ['0.0.9'"),
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


def test_settings_that_are_grouped_can_be_given(rendered: dict[str, Overlay]):
    broken = Broken(rendered["production"])
    settings(broken, "gateway-settings").update(
        {
            "ALLIANCE_LIMIT_DEPTH": "12",
            "ALLIANCE_LIMIT_TOKENS": "2000",
            "ALLIANCE_STRANGER_LIMIT_COST": "1000",
            "ALLIANCE_LIVE_CONNECTIONS": "9000",
            "ALLIANCE_RATE_MEMBER": "2500",
        }
    )
    assert list(references.errors(broken.overlay)) == []


def members(broken: Broken) -> None:
    broken.spec("StatefulSet", "mongodb")["replicas"] = 5


def a_stateful_set_behind_one_address(broken: Broken) -> None:
    del broken.spec("Service", "mongodb")["clusterIP"]


def a_password_for_a_service(broken: Broken) -> None:
    broken.pod("Deployment", "accounts")["volumes"].append(
        {"name": "keys2", "secret": {"secretName": "mongodb-passwords"}}
    )


def a_database_for_all(broken: Broken) -> None:
    broken.spec("NetworkPolicy", "mongodb")["ingress"][0].pop("from")
    broken.spec("NetworkPolicy", "to-mongodb")["podSelector"] = {}


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (members, "Job/mongodb-init: MONGODB_MEMBERS is mongodb-0.mongodb:27017,"),
        (
            a_stateful_set_behind_one_address,
            "StatefulSet/mongodb needs its serviceName to be that of a headless Service",
        ),
        (a_password_for_a_service, "Deployment/accounts sees Secret mongodb-passwords, which is not for it"),
        (a_database_for_all, "NetworkPolicy: gateway to mongodb:27017 is allowed, and nobody needs it"),
    ],
)
def test_a_wrong_reference_to_the_database_is_found(
    rendered: dict[str, Overlay], damage: Callable[[Broken], None], found: str
):
    broken = Broken(rendered["staging"])
    damage(broken)
    errors = list(references.errors(broken.overlay))
    assert [error for error in errors if found in error], errors


# --- What the rest of the project says --------------------------------------------------------------------------------


def test_the_calls_are_those_of_the_protos():
    assert calls.callers()["logistics"] == {"gateway"}
    assert {"gateway", "accounts", "partners"} <= calls.callers()["rewards"]
    assert calls.public_methods() == {"alliance.logistics.v1.LogisticsService/CaptureItems"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_may_change_with_a_release_and_a_migration_needs_is_applied_with_it(
    rendered: dict[str, Overlay], name: str
):
    first = [r for r in rendered[name].resources if r["metadata"].get("labels", {}).get("alliance/step") == "migrate"]
    jobs = [r["spec"]["template"]["spec"] for r in first if r["kind"] == "Job"]
    assert [job["containers"][0]["args"] for job in jobs] == [
        [f"services.{service}.migrate"] for service in ("accounts", "logistics", "partners", "rewards")
    ]
    names = {(r["kind"], r["metadata"]["name"]) for r in first}
    for job in jobs:
        assert ("ServiceAccount", job["serviceAccountName"]) in names
        for source in job["containers"][0].get("envFrom", ()):
            assert ("ConfigMap", source["configMapRef"]["name"]) in names


def test_only_the_local_overlay_holds_secrets(rendered: dict[str, Overlay]):
    assert list(rendered["local"].of("Secret"))
    for name in ("staging", "production"):
        assert list(rendered[name].of("Secret")) == []
        assert list(rendered[name].of("ExternalSecret"))


def test_the_command_prints_its_findings_and_last_a_summary(tmp_path: Path):
    deploy = copied(tmp_path)
    policy = deploy / "base" / "network" / "calls.yaml"
    policy.write_text(policy.read_text().replace("port: 50054", "port: 50055", 1))
    account = deploy / "base" / "services" / "accounts.yaml"
    account.write_text(account.read_text().replace("serviceAccountName:", "serviceAcountName:"))
    dockerfile = deploy / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN cd /tmp\n")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.checks", "--deploy", str(deploy)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["overlays"] == 3
    assert summary["schema_errors"] == 6  # three overlays, two versions of Kubernetes
    assert summary["cross_reference_errors"] >= 6
    assert summary["dockerfile_errors"] >= 1
    assert "production: Deployment/accounts (Kubernetes 1.37): spec.template.spec: " in done.stdout
    assert "all: Dockerfile: line " in done.stdout
    assert "production: NetworkPolicy: gateway to rewards:50054 is not allowed, and is needed" in done.stdout


def test_what_kustomize_cannot_read_is_said_in_its_own_words(tmp_path: Path):
    deploy = copied(tmp_path)
    (deploy / "base" / "network" / "calls.yaml").unlink()
    with pytest.raises(CannotRender, match=r"calls\.yaml"):
        render(deploy, "production")
