"""Renders overlays as `kubectl apply --kustomize` would, without a cluster."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from deploy import credentials
from deploy.checks.resources import Overlay

OVERLAYS = ("local", "staging", "production")


class CannotRender(Exception):
    """The overlay is not what kustomize can read; the message is kustomize's own."""


def render(deploy: Path, overlay: str) -> Overlay:
    """The resources of an overlay below the folder `deploy`. CannotRender if that fails."""
    folder = deploy / "overlays" / overlay
    if overlay == "local":
        credentials.ensure(folder / "secrets")
    done = subprocess.run([tool("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotRender(f"{overlay}: {done.stderr.strip()}")
    return Overlay(overlay, list(yaml.safe_load_all(done.stdout)))


def tool(name: str) -> str:
    """The path of a command: the one of this environment before any other, so that all see the same version."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise CannotRender(f"{name} is missing; `make` installs it into .venv")
    return found
