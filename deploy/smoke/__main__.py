"""Builds the image, runs the local overlay's migrations and starts its Deployments, from their manifests, asks the
gateway, stops everything.

Runs as root, in a network namespace of its own, so that nothing can be reached from outside and nothing goes out.
Prints what it finds, and last one JSON object; fails if a pod is not healthy, not restricted, or does not end well.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from deploy.checks.render import render
from deploy.local.embedded import EmbeddedServer
from deploy.smoke import image
from deploy.smoke.podman import Podman, missing
from deploy.smoke.pods import Pods

_INSIDE = "ALLIANCE_SMOKE_INSIDE"
_HEALTHY_WITHIN_SECONDS = 60.0
# One query that every service has a part in.
_QUERY = """{
  factors { id }
  partners(first: 1) { edges { node { id } } }
  recyclingPoints(first: 1) { edges { node { id } } }
  rewards(first: 1) { edges { node { id } } }
}"""
_RESTRICTED = {
    "uid": 10001,
    "capabilities": 0,
    "no_new_privileges": True,
    "seccomp": True,
    "read_only_root": True,
}


def main() -> int:
    """The exit status."""
    if os.environ.get(_INSIDE):
        with tempfile.TemporaryDirectory() as folder:
            return start(Path(folder))
    if os.geteuid() != 0 or (absent := missing()):
        wanted = "root" if os.geteuid() != 0 else ", ".join(absent)
        sys.stderr.write(f"make container-smoke needs {wanted} (Debian: podman runc catatonit debootstrap iproute2)\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        podman = Podman(Path(folder))
        _say(f"base image: {image.ensure_base(podman, Path(folder))}")
        _say("building ...")
        image.build(podman, Path(folder))
    command = ["unshare", "--net", sys.executable, "-m", "deploy.smoke"]
    return subprocess.run(command, check=False, env={**os.environ, _INSIDE: "1"}).returncode


def start(work: Path) -> int:
    """Starts, asks and stops the pods, within the network namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # noqa: S607  the machine's own
    podman = Podman(work)
    database = EmbeddedServer(work / "database", work / "database.log")
    database.start()
    pods = Pods(podman, render(Path(image.ROOT / "deploy"), "local"), work, database.uri)
    faults: list[str] = []
    try:
        pods.remove()
        pods.make_secrets()
        pods.start_jobs()
        migrated = sum(_ends_its_job(pods, name, faults) for name in pods.jobs)
        began = time.monotonic()
        pods.start()
        healthy = {name: _seconds_until_healthy(pods, name, began, faults) for name in pods.names}
        restricted = sum(_is_restricted(pods, name, faults) for name in pods.names)
        answered = _answers(faults)
        stopped = sum(_ends_well(pods, name, faults) for name in pods.names)
    finally:
        pods.remove()
        database.stop()
    for fault in faults:
        _say(fault)
    result = {
        "image_mb": image.megabytes(podman, image.IMAGE),
        "base_mb": image.megabytes(podman, image.base_name()),
        "jobs": len(pods.jobs),
        "jobs_ended_with_0": migrated,
        "pods": len(pods.names),
        "healthy": sum(seconds is not None for seconds in healthy.values()),
        "healthy_after_seconds": round(max(seconds or 0.0 for seconds in healthy.values()), 1),
        "restricted": restricted,
        "query_answered": answered,
        "ended_with_0": stopped,
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if faults else 0


def _ends_its_job(pods: Pods, name: str, faults: list[str]) -> bool:
    _wait(lambda: pods.job_status(name) is not None, time.monotonic() + _HEALTHY_WITHIN_SECONDS)
    status = pods.job_status(name)
    if status != 0:
        faults.append(f"{name}: ended with {status}:\n{pods.log(name)}")
    return status == 0


def _seconds_until_healthy(pods: Pods, name: str, began: float, faults: list[str]) -> float | None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if not _wait(lambda probe=probe: pods.passes(name, probe), began + _HEALTHY_WITHIN_SECONDS):  # type: ignore[misc]
            faults.append(f"{name}: its {probe} does not pass:\n{pods.log(name)}")
            return None
    seconds = time.monotonic() - began
    _say(f"{name}: healthy after {seconds:.1f} s")
    return seconds


def _is_restricted(pods: Pods, name: str, faults: list[str]) -> bool:
    found = pods.restrictions(name)
    if found != _RESTRICTED:
        faults.append(f"{name}: should be held to {_RESTRICTED}, is to {found}")
    return found == _RESTRICTED


def _answers(faults: list[str]) -> bool:
    request = urllib.request.Request(
        "http://127.0.0.1:8080/graphql",
        data=json.dumps({"query": _QUERY}).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            answer = json.loads(response.read())
    except OSError as error:
        faults.append(f"gateway: does not answer: {error}")
        return False
    if answer.get("errors") or not answer["data"]["factors"]:
        faults.append(f"gateway: answers {json.dumps(answer)[:1000]}")
        return False
    _say(f"gateway: answered over four services, with {len(answer['data']['factors'])} factors")
    return True


def _ends_well(pods: Pods, name: str, faults: list[str]) -> bool:
    status = pods.stop(name)
    if status != 0:
        faults.append(f"{name}: ended with {status} when it was asked to stop:\n{pods.log(name)}")
    return status == 0


def _wait(condition: Callable[[], bool], until: float) -> bool:
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
