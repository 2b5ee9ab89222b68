"""A name, a label, a port or a setting that leads to nothing is found."""

import copy
from collections.abc import Callable

import pytest

from deploy.checks import references
from deploy.checks.resources import Overlay
from tests.support.manifests import Broken, settings


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


def scaler_by_nothing(broken: Broken) -> None:
    broken.spec("HorizontalPodAutoscaler", "accounts")["metrics"][1]["pods"]["metric"]["name"] = "requests_in_flight"


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


def grace_too_short(broken: Broken) -> None:
    settings(broken)["ALLIANCE_STOP_GRACE_SECONDS"] = "60"


def no_pause(broken: Broken) -> None:
    del broken.container("Deployment", "accounts")["lifecycle"]


def no_probe(broken: Broken) -> None:
    del broken.container("Deployment", "accounts")["startupProbe"]


def liveness_that_asks_for_the_database(broken: Broken) -> None:
    del broken.container("Deployment", "accounts")["livenessProbe"]["grpc"]["service"]


def probe_among_callers(broken: Broken) -> None:
    broken.container("Deployment", "gateway")["livenessProbe"]["httpGet"]["port"] = "http"


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
        (scaler_by_nothing, "HorizontalPodAutoscaler/accounts measures requests_in_flight, which is no gauge"),
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
        (probe_among_callers, "Deployment/gateway: livenessProbe asks port http, where callers come"),
        (root, "Deployment/accounts may run as root"),
        (writable, "CronJob/backup: mongodump can write to its root"),
        (token, "Deployment/accounts gets a token of the cluster"),
        (latest, "image registry.example.com/alliance/green-alliance:latest has no fixed version"),
        (untagged, "image mongo has no fixed version"),
        (two_versions, "is used in several versions: ['0.0.9'"),
    ],
)
def test_a_wrong_reference_is_found(rendered: dict[str, Overlay], damage: Callable[[Broken], None], found: str):
    broken = Broken(rendered["production"])
    damage(broken)
    errors = list(references.errors(broken.overlay))
    assert [error for error in errors if found in error], errors
