"""`make drill`: the alliance's worst hours, brought about on purpose; a table per drill, and last one JSON object.

ARGS=--quick for a short round, ARGS="--only 'full disk'" for one of them.

Real processes, a real database, load through the public doors: each request has an id and is repeated, as the
documentation says, until it is answered. After each drill everything that was acknowledged is looked for, through the
same doors, and the ledger is verified from its first block on.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.drill.drills import DRILLS, FULL, QUICK, Row, Scale
from tests.drill.ground import Ground, mount_volume
from tests.drill.judge import judge, verify
from tests.drill.load import Cast, Load

_SHOWN = 20
_INSIDE = "ALLIANCE_DRILL_INSIDE"


@dataclass
class Tally:
    """What the drills have shown."""

    drills: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    failed_after_retry: int = 0
    worst_recovery_s: float = 0.0
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.failed_after_retry or self.findings)

    def as_json(self) -> str:
        figures = {name: value for name, value in vars(self).items() if name != "findings"}
        return json.dumps({**figures, "worst_recovery_s": round(self.worst_recovery_s, 1)})


async def drill(ground: Ground, name: str, scale: Scale, tally: Tally) -> list[Row]:
    """One drill with a cast of its own, judged."""
    cast = await Cast.assemble(ground.world)
    rows = []
    async with Load.on(cast) as load:
        print(f"\n{name}", flush=True)
        async for row in DRILLS[name](ground, load, scale):
            rows.append(row)
            print(
                f"  {row.what:<66} well again after {row.recovery_s:5.1f} s"
                f"  {row.requests:6,} acknowledged  {row.repeated:5,} repeated",
                flush=True,
            )
    verdict = await judge(cast, load.told)
    wrong = await verify(
        ground.alliance.database_uri, f"{ground.alliance.options.database_prefix}_rewards", dict(os.environ)
    )
    tally.drills += 1
    tally.acknowledged += verdict.acknowledged
    tally.lost += verdict.lost
    tally.doubled += verdict.doubled
    tally.failed_after_retry += len(load.told.failed)
    tally.worst_recovery_s = max(tally.worst_recovery_s, *(row.recovery_s for row in rows))
    tally.findings += [f"{name}: {finding}" for finding in (*verdict.findings, *load.told.failed, wrong) if finding]
    print(
        f"  {verdict.acknowledged:,} acknowledged: {verdict.lost} lost, {verdict.doubled} doubled, "
        f"{len(load.told.failed)} failed for good; ledger {'clean' if not wrong else 'NOT clean'}",
        flush=True,
    )
    return rows


async def run(data: Path, names: list[str], scale: Scale) -> Tally:
    """The drills one after the other on one alliance, which has to live with what the one before did to it."""
    tally = Tally()
    mount_volume(data)
    async with Ground.prepared(data) as ground:
        for name in names:
            await drill(ground, name, scale, tally)
    tally.findings += unexpected(data / "logs")
    return tally


def unexpected(logs: Path) -> list[str]:
    """What the processes themselves call unexpected, whatever a caller saw of it."""
    lines = [line for path in sorted(logs.glob("*.log")) for line in path.read_text(errors="replace").splitlines()]
    told = [json.loads(line) for line in lines if '"unexpected error"' in line]
    return [f"{it['service']} {it.get('method', '')}: {it['exception'].splitlines()[-1][:160]}" for it in told]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make drill", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short round")
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill; may be given several times")
    options = parser.parse_args()
    _enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing outlives it
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as folder:
        tally = asyncio.run(run(Path(folder), options.only or list(DRILLS), QUICK if options.quick else FULL))
    for finding, times in Counter(tally.findings).most_common(_SHOWN):
        print(f"{times} times: {finding}" if times > 1 else finding)
    print(tally.as_json())
    return 0 if tally.good else 1


def _enter_namespace() -> None:
    """Becomes the same command with mounts of its own, where that is permitted: the volume goes when the drill does."""
    unshare = shutil.which("unshare")
    if unshare is None or os.environ.get(_INSIDE):
        return
    command = [unshare, "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",))]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        os.execve(  # noqa: S606  the same command again
            unshare, [*command, sys.executable, "-m", "tests.drill", *sys.argv[1:]], {**os.environ, _INSIDE: "1"}
        )


if __name__ == "__main__":
    sys.exit(main())
