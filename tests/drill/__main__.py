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
from itertools import chain
from pathlib import Path

from tests.drill.drills import DRILLS, FULL, QUICK, Row, Scale
from tests.drill.ground import Ground, mount_volume
from tests.drill.judge import Verdict, judge, verify
from tests.drill.load import Acknowledged, Cast, Load
from tests.drill.overload import PATIENCE_SECONDS, Reports

_SHOWN = 20
_OVERLOAD = "overload"
_CROWD = 40
_GOODPUT_SHARE = 0.8
_SILENT_SHARE = 0.01
_TOLD_SECONDS = 0.5
_FINDING_OUT_SECONDS = 4.0
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
    goodput_at_3x_vs_peak: float | None = None
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.failed_after_retry or self.findings)

    def count(self, name: str, verdict: Verdict, wrong: str) -> None:
        """One drill more, as it was judged."""
        self.drills += 1
        self.acknowledged += verdict.acknowledged
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.findings += [f"{name}: {finding}" for finding in (*verdict.findings, wrong) if finding]
        print(
            f"  {verdict.acknowledged:,} acknowledged: {verdict.lost} lost, {verdict.doubled} doubled; "
            f"ledger {'clean' if not wrong else 'NOT clean'}",
            flush=True,
        )

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
    tally.failed_after_retry += len(load.told.failed)
    tally.findings += [f"{name}: {failed}" for failed in load.told.failed]
    tally.worst_recovery_s = max(tally.worst_recovery_s, *(row.recovery_s for row in rows))
    tally.count(name, await judge(cast, load.told), await _verify(ground))
    return rows


async def overload(ground: Ground, scale: Scale, tally: Tally) -> None:
    """Three times the peak. Nobody repeats anything, so that what was not acknowledged may have happened or not.

    The peak is measured before and after the flood, and what it answered is held against the mean of both: a rented
    machine is not as fast in one minute as in the next.
    """
    print("\noverload", flush=True)
    cast = await Cast.assemble(ground.world, members=_CROWD)
    reports = await Reports.of(ground.alliance.url, cast)
    await reports.peak(scale.peak_seconds / 2)  # what is slow only at first
    meter = ground.cpu()
    peak = await reports.peak(scale.peak_seconds)
    at_peak = ground.cpu() - meter
    first, flood = await asyncio.gather(
        reports.flood(3 * peak.goodput, _FINDING_OUT_SECONDS),
        reports.flood(3 * peak.goodput, 2 * scale.peak_seconds, after_seconds=_FINDING_OUT_SECONDS),
    )
    of_flood = ground.cpu() - meter - at_peak
    calm = await reports.peak(scale.peak_seconds / 2)  # what the flood has left behind
    again = await reports.peak(scale.peak_seconds)
    await reports.close()
    floods = (peak, first, flood, calm, again)
    at_most = (peak.goodput + again.goodput) / 2
    print(
        f"  peak, each caller waiting for its answer: {peak.goodput:.0f} requests/s answered, "
        f"{again.goodput:.0f} after the flood",
        flush=True,
    )
    print(f"  CPU seconds: {_shares(at_peak)}", flush=True)
    print(
        f"  3 times that, {flood.offered:,} requests: {flood.goodput:.0f}/s answered, {len(flood.told):,} told that it "
        f"is too much (99 % of them within {1_000 * flood.told_p99_seconds:.0f} ms), "
        f"{flood.silent} left without a word for {PATIENCE_SECONDS:.0f} s; before, while it was found out "
        f"how much is too much, {first.silent} of {first.offered:,} were",
        flush=True,
    )
    print(f"  CPU seconds, of finding out too: {_shares(of_flood)}", flush=True)
    tally.goodput_at_3x_vs_peak = round(flood.goodput / at_most, 2) if at_most else 0.0
    told = Acknowledged(sum(each.good for each in floods))
    for member, act in chain.from_iterable(each.acts for each in floods):
        told.acts[member].add(act)
    verdict = await judge(cast, told)
    verdict.doubled = 0
    verdict.findings += [f"{times} times {other}" for each in floods for other, times in each.other.items()]
    if flood.told_p99_seconds > _TOLD_SECONDS:
        verdict.findings.append(f"it took {flood.told_p99_seconds:.2f} s to be told that there is too much to do")
    if flood.silent > _SILENT_SHARE * flood.offered:
        verdict.findings.append(f"{flood.silent} of {flood.offered} were not told at once that there is too much to do")
    if tally.goodput_at_3x_vs_peak < _GOODPUT_SHARE:
        verdict.findings.append(f"at 3 times the peak only {tally.goodput_at_3x_vs_peak} of it was answered")
    tally.count("overload", verdict, await _verify(ground))


def _shares(cpu: Counter[str]) -> str:
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in cpu.most_common())


async def _verify(ground: Ground) -> str:
    alliance = ground.alliance
    return await verify(alliance.database_uri, f"{alliance.options.database_prefix}_rewards", dict(os.environ))


async def run(data: Path, names: list[str], scale: Scale) -> Tally:
    """The drills one after the other on one alliance, which has to live with what the one before did to it; the flood
    last.
    """
    tally = Tally()
    if on_links := [name for name in names if name != _OVERLOAD]:
        mount_volume(data / "drills")
        async with Ground.prepared(data / "drills") as ground:
            for name in on_links:
                await drill(ground, name, scale, tally)
    if _OVERLOAD in names:
        # On another, without links: their work would be part of what is measured.
        async with Ground.prepared(data / _OVERLOAD, linked=False) as ground:
            await overload(ground, scale, tally)
    for folder in ("drills", _OVERLOAD):
        tally.findings += unexpected(data / folder / "logs")
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
    parser.add_argument(
        "--only", action="append", choices=[*DRILLS, _OVERLOAD], help="this drill; may be given several times"
    )
    options = parser.parse_args()
    _enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing outlives it
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as folder:
        tally = asyncio.run(run(Path(folder), options.only or [*DRILLS, _OVERLOAD], QUICK if options.quick else FULL))
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
