"""Manifests for tests: copies of what is rendered, and of an overlay that may be damaged."""

import copy
import shutil
from pathlib import Path
from typing import Any

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


def copied(folder: Path) -> Path:
    """A copy of all that is rendered."""
    ignore = shutil.ignore_patterns("secrets")
    for part in ("base", "overlays", "compose"):
        shutil.copytree(DEPLOY / part, folder / part, ignore=ignore)
    for file in ("compose.yaml", "Dockerfile"):
        shutil.copy(DEPLOY / file, folder / file)
    return folder


def settings(broken: Broken, name: str = "settings") -> Any:
    found = next(
        r
        for r in broken.resources
        if r["kind"] == "ConfigMap" and (r["metadata"]["name"] == name or r["metadata"]["name"].startswith(f"{name}-"))
    )
    return found["data"]
