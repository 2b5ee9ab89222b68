"""`make scan`: security findings of checkov in the manifests and the image's recipe; last a JSON object of counts.

Fails if there is a finding that accepted.yaml does not name, or if accepted.yaml names one that is not there any more.
"""

import fnmatch
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.checks.render import OVERLAYS, render

DEPLOY = Path(__file__).resolve().parent.parent
CHECKOV = DEPLOY.parent / ".venv-scan" / "bin" / "checkov"
ACCEPTED = Path(__file__).with_name("accepted.yaml")


@dataclass(frozen=True)
class Finding:
    """A check that a resource failed."""

    check: str
    title: str
    resource: str
    file: str

    def __str__(self) -> str:
        return f"{self.file}: {self.resource}: {self.check} {self.title}"


@dataclass(frozen=True)
class Acceptance:
    """Findings of one check that are accepted, and why."""

    check: str
    resources: tuple[str, ...]
    reason: str

    def covers(self, finding: Finding) -> bool:
        return finding.check == self.check and any(
            fnmatch.fnmatchcase(finding.resource, pattern) for pattern in self.resources
        )


def accepted(path: Path = ACCEPTED) -> list[Acceptance]:
    """What is accepted. ValueError for an entry without a reason."""
    entries = [
        Acceptance(entry["check"], tuple(entry["resources"]), str(entry.get("reason") or "").strip())
        for entry in yaml.safe_load(path.read_text())
    ]
    for entry in entries:
        if not entry.reason:
            raise ValueError(f"{path.name}: {entry.check} is accepted without a reason")
    return entries


def judge(findings: Iterable[Finding], acceptances: Sequence[Acceptance]) -> tuple[list[Finding], list[str]]:
    """The findings that nobody accepted, and what is accepted without need (`check pattern`)."""
    unmet = {(each.check, pattern) for each in acceptances for pattern in each.resources}
    new = []
    for finding in findings:
        if not any(each.covers(finding) for each in acceptances):
            new.append(finding)
        unmet -= {
            (check, pattern)
            for check, pattern in unmet
            if check == finding.check and fnmatch.fnmatchcase(finding.resource, pattern)
        }
    return new, sorted(f"{check} {pattern}" for check, pattern in unmet)


def main() -> int:
    """The exit status: 0 if every finding is accepted, and every acceptance needed."""
    with tempfile.TemporaryDirectory() as folder:  # readable by nobody else: the local overlay holds secrets
        for name in OVERLAYS:
            with (Path(folder) / f"{name}.yaml").open("w") as out:
                yaml.safe_dump_all(render(DEPLOY, name).resources, out)
        (Path(folder) / "Dockerfile").write_text((DEPLOY / "Dockerfile").read_text())
        parts = _checkov(Path(folder))
    findings = [
        Finding(each["check_id"], each["check_name"], each["resource"], each["file_path"].lstrip("/"))
        for part in parts
        for each in part["results"]["failed_checks"]
    ]
    acceptances = accepted()
    new, needless = judge(findings, acceptances)
    for acceptance in acceptances:
        count = sum(acceptance.covers(finding) for finding in findings)
        sys.stdout.write(f"accepted {acceptance.check} ({count}): {acceptance.reason}\n")
    for finding in new:
        sys.stdout.write(f"new: {finding}\n")
    for entry in needless:
        sys.stdout.write(f"needless in {ACCEPTED.name}: {entry}\n")
    result = {
        "passed": sum(part["summary"]["passed"] for part in parts),
        "failed": len(findings),
        "accepted": len(findings) - len(new),
        "new": len(new),
        "needless": len(needless),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if new or needless else 0


def _checkov(folder: Path) -> list[Any]:
    command = [str(CHECKOV), "--skip-download", "--directory", str(folder), "--framework", "kubernetes", "dockerfile"]
    done = subprocess.run(
        [*command, "--output", "json", "--compact", "--quiet", "--soft-fail"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"},
    )
    if done.returncode != 0:
        raise SystemExit(f"checkov failed:\n{done.stderr[-2000:]}")
    parts = json.loads(done.stdout)
    if {part["check_type"] for part in parts} != {"kubernetes", "dockerfile"}:
        raise SystemExit("checkov has not looked at both the manifests and the Dockerfile")
    if any(part["summary"]["parsing_errors"] for part in parts):
        raise SystemExit("checkov could not read all files")
    return list(parts)


if __name__ == "__main__":
    sys.exit(main())
