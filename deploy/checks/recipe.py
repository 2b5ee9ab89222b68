"""The image's recipe: what hadolint finds, and what hadolint does not look at."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from deploy.checks.references.images import unpinned
from deploy.checks.render import tool

_IMAGE_ARGUMENT = re.compile(r"^ARG \w+_IMAGE=(\S+)", re.MULTILINE)
_USER = re.compile(r"^USER (\S+)", re.MULTILINE)


def errors(dockerfile: Path) -> Iterator[str]:
    """What is wrong with a Dockerfile."""
    found = subprocess.run([tool("hadolint"), str(dockerfile)], capture_output=True, text=True, check=False)
    for line in found.stdout.splitlines():
        yield line.replace(f"{dockerfile}:", "Dockerfile: line ", 1)
    text = dockerfile.read_text()
    bases = _IMAGE_ARGUMENT.findall(text)
    if not bases:
        yield "Dockerfile: the base image is no argument, so it cannot be replaced by one with a digest"
    for base in bases:
        if problem := unpinned(base):
            yield f"Dockerfile: {problem}"
    users = _USER.findall(text)
    if not users or re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]) is None:
        yield "Dockerfile: the last USER is no number above 0, so Kubernetes cannot tell that it is not root"
