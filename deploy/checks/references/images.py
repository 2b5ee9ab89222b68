"""Images are named so that the same name always means the same image."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from deploy.checks.resources import Overlay, Workload

OWN = "green-alliance"
_PINNED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9./:_-]*?)(?::(?P<tag>[\w][\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_ROOT = Path(__file__).resolve().parents[3]


def errors(overlay: Overlay) -> Iterator[str]:
    """Images without a fixed version, of two versions at once, or of another version than this project's."""
    versions: dict[str, set[str]] = {}
    for workload in overlay.workloads:
        for container in workload.all_containers:
            image = str(container.spec["image"])
            if problem := unpinned(image):
                yield f"{workload.title}: {problem}"
                continue
            name, version = split(image)
            versions.setdefault(name, set()).add(version)
            if workload.resource["kind"] == "Job" and name.rpartition("/")[2] == OWN:
                yield from _named_after_version(workload)
    for name, found in versions.items():
        if len(found) > 1:
            yield f"image {name} is used in several versions: {sorted(found)}"
        own = name.rpartition("/")[2] == OWN
        if own and overlay.name != "local" and not any(version.startswith("sha256:") for version in found):
            expected = project_version()
            if found != {expected}:
                yield f"image {name} is of version {sorted(found)}, the project is at {expected}"


def _named_after_version(workload: Workload) -> Iterator[str]:
    """A Job cannot be changed: that of the next release would be refused under the same name."""
    if not workload.name.endswith(f"-{as_name(project_version())}"):
        yield f"{workload.title} is not named after this release, {project_version()}"


def as_name(version: str) -> str:
    """A version as it may stand within a name."""
    return version.replace(".", "-")


def unpinned(image: str) -> str | None:
    """What is wrong with the name of an image; None if it means one image for good."""
    match = _PINNED.fullmatch(image)
    if match is None:
        return f"{image!r} is no name of an image"
    if match["digest"] is None and match["tag"] in (None, "latest"):
        return f"image {image} has no fixed version"
    return None


def split(image: str) -> tuple[str, str]:
    """Name and version (digest, or else tag) of an image that is pinned."""
    match = _PINNED.fullmatch(image)
    assert match is not None  # noqa: S101  only called for what `unpinned` let pass
    return match["name"], match["digest"] or match["tag"]


def project_version() -> str:
    """As pyproject.toml has it."""
    content = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    return str(content["project"]["version"])
