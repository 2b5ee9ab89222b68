"""Manifests are right, and each way in which they could be wrong is found: here they are broken on purpose."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.checks import references, schema
from deploy.checks.references import calls
from deploy.checks.render import OVERLAYS, CannotRender, render
from deploy.checks.resources import Overlay
from tests.support.manifests import Broken, copied, settings


@pytest.mark.parametrize("name", OVERLAYS)
def test_o4_an_overlay_is_right(rendered: dict[str, Overlay], name: str):
    assert list(schema.errors(rendered[name].resources)) == []
    assert list(references.errors(rendered[name])) == []


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
