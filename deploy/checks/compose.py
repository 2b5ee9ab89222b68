"""compose.yaml: settings, secrets, targets and images, by the rules that hold for the manifests."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy import credentials
from deploy.checks.references import images
from deploy.checks.references.settings import problems, settings_class

Service = Mapping[str, Any]
_SECRETS = "/run/secrets/"


def errors(deploy: Path) -> Iterator[str]:
    """What is wrong with compose.yaml in the folder `deploy`, and with what it refers to."""
    credentials.ensure(deploy / "overlays" / "local" / "secrets")
    content = yaml.safe_load((deploy / "compose.yaml").read_text())
    services: Mapping[str, Service] = content["services"]
    for name, secret in content["secrets"].items():
        if not (deploy / secret["file"]).is_file():
            yield f"compose: secret {name} is to come from {secret['file']}, which does not exist"
    for name, service in services.items():
        what = f"compose: {name}"
        yield from _of_any(what, service, content, deploy)
        if str(service["image"]).startswith(f"{images.OWN}:"):
            yield from _of_process(what, service, services, deploy)


def versions(deploy: Path) -> Iterator[tuple[str, str]]:
    """The images of others in compose.yaml, each with its version."""
    for service in yaml.safe_load((deploy / "compose.yaml").read_text())["services"].values():
        if not str(service["image"]).startswith(f"{images.OWN}:"):
            yield images.split(service["image"])


def _of_any(what: str, service: Service, content: Mapping[str, Any], deploy: Path) -> Iterator[str]:
    if problem := images.unpinned(service["image"]):
        yield f"{what}: {problem}"
    for published in service.get("ports", ()):
        if not str(published).startswith("127.0.0.1:"):
            yield f"{what}: {published} can be reached from other machines"
    for secret in service.get("secrets", ()):
        if secret["source"] not in content["secrets"]:
            yield f"{what}: there is no secret {secret['source']}"
    for volume in service.get("volumes", ()):
        source = str(volume).partition(":")[0]
        there = (deploy / source).is_file() if source.startswith(".") else source in content["volumes"]
        if not there:
            yield f"{what}: there is no {source}"


def _of_process(what: str, service: Service, services: Mapping[str, Service], deploy: Path) -> Iterator[str]:
    settings = settings_class(service["command"])
    if settings is None:
        yield f"{what} runs {service['command']}, which is no process of the alliance"
        return
    values: dict[str, str] = dict(service["environment"])
    for file in service.get("env_file", ()):
        values |= dict(line.split("=", 1) for line in (deploy / file).read_text().splitlines())
    yield from problems(what, settings, values)
    if values.get("ALLIANCE_PLAINTEXT", "false") != "false":
        yield f"{what} is not encrypted"
    files = {_SECRETS + secret["target"] for secret in service["secrets"]}
    for variable, value in values.items():
        if variable.endswith("_FILE") and value not in files:
            yield f"{what}: {variable} is {value}, which no secret puts there"
        if variable.endswith("_TARGET"):
            host, _, port = value.removeprefix("dns:///").partition(":")
            listens = services.get(host, {}).get("environment", {}).get("ALLIANCE_LISTEN", "")
            if listens != f"0.0.0.0:{port}":
                yield f"{what}: {variable} is {value}, where nobody listens"
