"""`make metrics`: writes the metrics' page, the rules and the dashboards. `--check` only says which of them are old."""

import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.monitoring import catalogue, rules
from deploy.monitoring.dashboards import dashboards

_DEPLOY = Path(__file__).resolve().parents[1]


def files() -> Mapping[Path, str]:
    """Everything that is made, by its place below deploy/."""
    made = {
        Path("docs/metrics.md"): catalogue.page(),
        Path("compose/rules.yaml"): rules.for_prometheus(),
        Path("base/monitoring/rules.yaml"): rules.for_kubernetes(),
    }
    return made | {Path(f"base/monitoring/dashboards/{each.uid}.json"): each.as_json() for each in dashboards()}


def stale(deploy: Path = _DEPLOY) -> list[str]:
    """Files that are not as they would be made now."""
    return [str(path) for path, text in files().items() if not _is(deploy / path, text)]


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def main() -> int:
    """The exit status: with --check, 1 if anything is old."""
    if "--check" in sys.argv[1:]:
        old = stale()
        sys.stdout.writelines(f"{path} is old; run make metrics\n" for path in old)
        return 1 if old else 0
    for path, text in files().items():
        (_DEPLOY / path).parent.mkdir(parents=True, exist_ok=True)
        (_DEPLOY / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
