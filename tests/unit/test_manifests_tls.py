"""Certificates of the overlays, and the page of who may call what."""

from collections.abc import Callable

import pytest

from deploy import callers
from deploy.checks import references
from deploy.checks.render import render
from deploy.checks.resources import Overlay
from tests.support.manifests import DEPLOY, Broken


@pytest.fixture
def production(rendered: dict[str, Overlay]) -> Overlay:
    return rendered["production"]


def no_certificate(broken: Broken) -> None:
    broken.remove("Certificate", "rewards")


def certificate_of_another(broken: Broken) -> None:
    broken.spec("Certificate", "accounts")["uris"] = ["spiffe://alliance/ns/alliance/sa/gateway"]


def certificate_for_another_host(broken: Broken) -> None:
    broken.spec("Certificate", "accounts")["dnsNames"] = ["account"]


def certificate_for_servers_alone(broken: Broken) -> None:
    broken.spec("Certificate", "accounts")["usages"].remove("client auth")


def certificate_by_nobody(broken: Broken) -> None:
    broken.spec("Certificate", "accounts")["issuerRef"]["name"] = "external"


def certificate_of_a_neighbour(broken: Broken) -> None:
    volumes = broken.pod("Deployment", "accounts")["volumes"]
    (tls,) = [volume for volume in volumes if volume["name"] == "tls"]
    tls["projected"]["sources"][0]["secret"]["name"] = "rewards-tls"


def without_tls(broken: Broken) -> None:
    environment = broken.container("Deployment", "accounts")["env"]
    environment[:] = [variable for variable in environment if "TLS" not in variable["name"]]
    environment.append({"name": "ALLIANCE_PLAINTEXT", "value": "true"})


def neither_nor(broken: Broken) -> None:
    environment = broken.container("Deployment", "accounts")["env"]
    environment[:] = [variable for variable in environment if "TLS" not in variable["name"]]


def health_nowhere(broken: Broken) -> None:
    (variable,) = [
        v for v in broken.container("Deployment", "accounts")["env"] if v["name"] == "ALLIANCE_HEALTH_LISTEN"
    ]
    variable["value"] = "0.0.0.0:50099"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (no_certificate, "Deployment/rewards mounts no certificate"),
        (certificate_of_another, "so that calls of accounts would be refused"),
        (certificate_for_another_host, "Certificate/accounts is not good for the host accounts"),
        (certificate_for_servers_alone, "Certificate/accounts is not good for ['client auth']"),
        (certificate_by_nobody, "Certificate/accounts is to be signed by Issuer external"),
        (certificate_of_a_neighbour, "Deployment/accounts sees Secret rewards-tls, which is not for it"),
        (without_tls, "Deployment/accounts does without TLS, which is for the overlay local alone"),
        (neither_nor, "set ALLIANCE_TLS_CERTIFICATE_FILE"),
        (health_nowhere, "Deployment/accounts listens on 0.0.0.0:50099"),
    ],
)
def test_o4_what_would_break_the_trust_between_processes_is_found(
    production: Overlay, damage: Callable[[Broken], None], found: str
):
    broken = Broken(production)
    damage(broken)
    errors = list(references.errors(broken.overlay))
    assert [error for error in errors if found in error], errors


def test_plaintext_is_for_the_local_overlay_alone(production: Overlay):
    assert render(DEPLOY, "local").get("ConfigMap", "settings")["data"]["ALLIANCE_PLAINTEXT"] == "true"  # type: ignore[index]
    assert "ALLIANCE_PLAINTEXT" not in str(production.resources)


def test_the_page_of_callers_is_that_of_the_protos():
    assert callers.PAGE.read_text() == callers.render(), "run `make protos`"
    assert "| CaptureItems |  |  |  |  |  | ● |  |" in callers.render()
