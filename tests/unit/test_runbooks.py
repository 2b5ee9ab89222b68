"""What a runbook has somebody type at night is about things that there are."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from deploy.checks.resources import Overlay
from deploy.monitoring import alerts

DOCS = Path(__file__).resolve().parents[2] / "deploy" / "docs"
PAGES = [*sorted((DOCS / "runbooks").glob("*.md")), DOCS / "restore.md", DOCS / "changelog.md", DOCS / "keys.md"]
NAMES = ("accounts", "partners", "logistics", "rewards")
KINDS = {"deployment": "Deployment", "cronjob": "CronJob", "job": "Job", "pod": "Pod", "statefulset": "StatefulSet"}
COMMAND = re.compile(r"kubectl (?:[^`\n\\]|\\\n)*")


def commands(page: Path) -> list[str]:
    """What is to be typed, NAME being one of the services."""
    found = [" ".join(match.split("|")[0].replace("\\\n", " ").split()) for match in COMMAND.findall(page.read_text())]
    return [command.replace("NAME", name) for command in found for name in (NAMES if "NAME" in command else [""])]


@pytest.fixture
def staging(rendered: dict[str, Overlay]) -> Overlay:
    """The overlay that has everything in the cluster."""
    return rendered["staging"]


def labels_of(kind: str, overlay: Overlay) -> list[dict[str, str]]:
    """The labels of all Jobs, or pods, that there will be."""
    found: list[Any] = []
    for resource in overlay.resources:
        spec = resource.get("spec", {})
        job = spec.get("jobTemplate") if resource["kind"] == "CronJob" else resource
        if kind == "Job" and (resource["kind"] == "CronJob" or resource["kind"] == "Job"):
            found.append(job["metadata"].get("labels", {}))
        if kind == "Pod" and "template" in job.get("spec", {}):
            found.append(job["spec"]["template"]["metadata"]["labels"])
    return found


def selects(command: str, overlay: Overlay) -> bool:
    """Whether the command's selector, if it has one, is that of anything of the command's kind."""
    words = shlex.split(command)
    if "--selector" not in words or "apply" in words:
        return True
    label, _, value = words[words.index("--selector") + 1].partition("=")
    kind = "Job" if {"job", "jobs"} & set(words) else "Pod"
    return any(labels.get(label) == value for labels in labels_of(kind, overlay))


def named(command: str, overlay: Overlay) -> bool:
    """Whether what the command names is there."""
    for kind, name in re.findall(r"\b(deployment|cronjob|job|statefulset)/([a-z0-9-]+)", command):
        if (kind, name) != ("job", "restore") and overlay.get(KINDS[kind], name) is None:
            return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_about_what_there_is(page: Path, staging: Overlay):
    typed = commands(page)
    assert [command for command in typed if not selects(command, staging) or not named(command, staging)] == []
    # Who is not named is refused: the database knows no strangers.
    assert [command for command in typed if "mongosh" in command and "-u root" not in command] == []
    # A Deployment's log is that of one of its pods.
    assert [command for command in typed if " logs deployment/" in command] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_stopped_is_started_again(page: Path):
    # Neither an autoscaler nor `apply` does it: what a page scales to 0 it has to scale up, or say who tells how.
    text = page.read_text()
    if "--replicas=0" in text:
        assert re.search(r"--replicas=[1-9]", text)
    for said in re.finditer(r"scaled? (it )?to 0", text):
        assert "--replicas=0" in text or text[said.start() - 1] == "[", said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_writes_into_the_database_goes_to_the_primary(page: Path, staging: Overlay):
    """A shell in a pod is one on that member, which is any of the three."""
    writing = re.compile(r"renameCollection|updateOne|updateMany|deleteOne|drop\(")
    shells = re.findall(r"'mongosh(?:[^`]|\n)*?\n(?= *```| *kubectl)", page.read_text())
    assert [shell for shell in shells if writing.search(shell) and "replicaSet=alliance" not in shell] == []
    (database,) = [each for each in staging.of("StatefulSet") if each["metadata"]["name"] == "mongodb"]
    assert "--replSet alliance" in str(database["spec"]["template"]["spec"]["containers"])


def test_what_is_not_there_is_found(staging: Overlay):
    assert not selects("kubectl get jobs --selector app.kubernetes.io/name=reward-invariants", staging)
    assert not selects("kubectl get pods --selector app.kubernetes.io/name=mongo", staging)
    assert not named("kubectl rollout undo deployment/account", staging)
    assert sum(len(commands(page)) for page in PAGES) > 100


def test_every_job_is_watched(staging: Overlay):
    jobs = {each["metadata"]["name"] for each in staging.of("Job")}
    assert jobs
    assert [name for name in jobs if not re.fullmatch(alerts.JOBS, name)] == []
    # Of these the processes tell, by `alliance_invariant_checked_time_seconds`; of the backup kube-state-metrics.
    invariants = {f"{name}-invariants" for name in NAMES}
    assert {each["metadata"]["name"] for each in staging.of("CronJob")} == invariants | {"backup"}
