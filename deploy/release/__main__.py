"""`python -m deploy.release check` says what of the last release would break; `... release VERSION` makes a release.

A release: the version in pyproject.toml, from where the image and the overlays have it; an entry in
deploy/docs/changelog.md; and the contracts, kept in deploy/release/last for the checks of all later changes.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.checks.references.images import as_name, project_version
from deploy.release.breaking import breaking
from deploy.release.contracts import Contracts, breaking_by_buf

_ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = _ROOT / "deploy" / "docs" / "changelog.md"
# Where the version has to stand besides pyproject.toml, since tools read it there.
_COPIES = (
    "deploy/Dockerfile",
    "deploy/overlays/staging/kustomization.yaml",
    "deploy/overlays/production/kustomization.yaml",
)
# Where names have it, in which dots are better not.
_NAMES = "deploy/base/migrate/jobs/kustomization.yaml"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def check(*, buf: bool) -> int:
    """0 if nothing is broken."""
    now = Contracts.of_now()
    broken = breaking(Contracts.last_released(), now)
    told = breaking_by_buf(now) if buf else None
    sys.stdout.write(
        "".join(f"{sentence}\n" for sentence in (*broken, *(f"buf: {line}" for line in (told or "").splitlines())))
    )
    by_buf = "" if told is None else f", {len(told.splitlines())} by `buf breaking`"
    sys.stdout.write(f"{len(broken)} breaking changes since the last release{by_buf}\n")
    return 1 if broken or told else 0


def release(version: str) -> int:
    """Sets the version and keeps the contracts; refuses what clients would notice."""
    current = project_version()
    if not _VERSION.fullmatch(version):
        sys.stderr.write(f"{version} is no version; give three numbers, as in 1.4.0\n")
        return 2
    if f"\n## {version}" not in CHANGELOG.read_text():
        sys.stderr.write(f"{CHANGELOG} has no entry for {version}; write what changes for whom\n")
        return 1
    if version.split(".")[0] == current.split(".")[0] and check(buf=True):
        sys.stderr.write(
            "clients of the last release would notice; make the change beside the old, or a new major version\n"
        )
        return 1
    for name in ("pyproject.toml", *_COPIES):
        path = _ROOT / name
        path.write_text(path.read_text().replace(current, version))
    names = _ROOT / _NAMES
    names.write_text(names.read_text().replace(f"-{as_name(current)}\n", f"-{as_name(version)}\n"))
    Contracts.of_now().write()
    sys.stdout.write(f"{version} is ready: commit, tag v{version}, build the image, set its digest in the overlays\n")
    return 0


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="what would break for clients of the last release")
    checking.add_argument("--buf", action="store_true", help="ask `buf breaking`, too, where npm is at hand")
    commands.add_parser("release", help="make a release").add_argument("version")
    options = parser.parse_args(arguments)
    return check(buf=options.buf) if options.command == "check" else release(options.version)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
