"""How fast the gateway is: `make bench-gateway`, or with ARGS=--quick in under 50 seconds.

Three gateways answer the same query: this one (engine) with real tokens, access rules, limits, cost checks and tracing
of a tenth of all requests; Strawberry with dataloaders (stock); and a plan written by hand for this one query
(handwritten). The last two check the token, and do nothing else of that.

- Over the real services on the embedded database, all on one machine: what the whole gives. The database is its limit.
- Over the answers of those services, replayed from memory, so that the gateway is the limit: what the gateway gives.
  Here it has a CPU to itself, and the rest, load included, has the others. Where two CPUs are one core seen twice,
  as on most rented machines, whatever runs beside it slows it down all the same, by up to 1.7.

The load is of two kinds. In a closed loop each of some connections asks again when it is answered: that finds the peak.
It flatters latency and cost, since requests go in step, as many in each call of a service as there are connections. In
an open loop requests come at equal distances whatever is answered, as from frontends that do not know of each other,
and each is timed from when it was due; all requests count. Coming one by one they share fewer calls, so that a rate
which a closed loop reaches is more than an open one sustains. So the sustained rate is found by the same kind of load
as the latency is: as the highest share of the peak at which 99 % are answered within 50 ms; and the p99 at 70 % of it
is told beside that at 70 % of the peak, of both gateways alike: the p99 of all requests of the middle one of some
rounds, for a rented machine stands still now and then, and how much of the run it did is told too.

The table says which is which; the last line is one JSON object, where what is not `real_` is the gateway's own.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from deploy.local.keys import identity_key, token_key
from gateway import schema
from gateway.backends import Backends
from gateway.config import Limits, Settings
from gateway.context import Request
from gateway.engine.document import Documents
from gateway.engine.resolve import bind
from gateway.engine.shape import Budget
from gateway.problems import problem_of
from services.shared.identity import Caller, CallerKind
from services.shared.telemetry import Telemetry
from tests.bench import rig
from tests.bench.client import Answers, percentile_ms
from tests.bench.load import Measured, Target, at_rate, flooded, generator, measure, nothing_at_rate
from tests.bench.query import MANY_MEMBERS, ONE_MEMBER

Result = dict[str, object]

# Of all requests, when the engine is compared.
SAMPLED = 0.1
COMPARED = {
    "engine": rig.Gateway("engine", SAMPLED),
    "stock": rig.Gateway("stock"),
    "handwritten": rig.Gateway("handwritten"),
}
TRACED = {"engine, nothing traced": rig.Gateway("engine"), "engine, all traced": rig.Gateway("engine", 1.0)}
_AT_ONCE = 16
_SHARE_OF_PEAK = 0.7
# A rate is sustained if 99 % are answered within so long; it is tried in these shares of the closed loop's peak.
_SUSTAINED_MS = 50.0
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_TRIES = 2
_FLOOD = 3


class Run:
    """How long each measurement takes, and how many members there are."""

    def __init__(self, *, quick: bool) -> None:
        self.members = 200 if quick else 2_000
        self.rounds = 2 if quick else 5
        self.traced_rounds = 1 if quick else 3
        self.seconds = 1 if quick else 4
        self.step_seconds = 0.5 if quick else 4
        self.pace_rounds = 3 if quick else 7
        self.pace_seconds = 0.4 if quick else 2
        self.flood_seconds = 1 if quick else 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-gateway")
    parser.add_argument("--quick", action="store_true", help="the same figures from shorter runs, in under 50 s")
    run = Run(quick=parser.parse_args().quick)
    rig.allow_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing outlives it
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as name, ExitStack() as stack:
        folder = Path(name)
        collector = stack.enter_context(rig.collector())
        with rig.real(folder, run.members, rig.traced(collector, SAMPLED)) as services:
            print(f"load by {generator()}; {os.cpu_count()} cores; {run.members:,} members", flush=True)
            result = over_services(run, services, collector)
            rpcs = asyncio.run(rpcs_for_50_members(services))
            answers = rig.recording(services, folder)
        backend = stack.enter_context(rig.recorded(answers, services))
        taken = rig.Taken()
        result |= over_answers(run, backend, collector)
        result["machine_taken_share"] = taken.share()
    print(f"\n{'of the machine, taken away by its host':44}{result['machine_taken_share']:>10.1%}")
    result["plan_ms"] = plan_ms()
    result["rpcs_for_50_members"] = rpcs
    print(f"{'first sight of a document':44}{result['plan_ms']:>10} ms")
    print(f"50 members over four services: {rpcs}")
    print(json.dumps(result))


def over_services(run: Run, backend: rig.Backend, collector: str) -> Result:
    """The whole alliance."""
    _head("real services, embedded database, 16 connections")
    with rig.gateways(COMPARED, backend, collector) as targets:
        rps = {name: _line(name, _ask(target, seconds=run.seconds)).rps for name, target in targets.items()}
    return {
        "real_engine_rps": round(rps["engine"]),
        "real_stock_rps": round(rps["stock"]),
        "real_handwritten_rps": round(rps["handwritten"]),
        "real_engine_vs_stock": round(rps["engine"] / rps["stock"], 2),
    }


def over_answers(run: Run, backend: rig.Backend, collector: str) -> Result:
    """The gateways alone."""
    with rig.gateways(COMPARED | TRACED, backend, collector, alone=True) as targets:
        _head("the services' answers replayed, 16 connections")
        # In turns, so that what else the machine does falls on all of them; the middle one counts, of two
        # the faster.
        rounds = [
            {
                name: _ask(target, seconds=run.seconds)
                for name, target in targets.items()
                if number < run.traced_rounds or name in COMPARED
            }
            for number in range(run.rounds)
        ]
        found = {name: _middle([each[name] for each in rounds if name in each]) for name in targets}
        for name, measured in found.items():
            _line(name, measured)
        result = _compared(found) | _paces(run, targets, found)
        _head("cost growth, 16 connections unless it says otherwise")
        for connections in (1, 16, 64, 256):
            measured = _ask(targets["engine"], connections, run.step_seconds) if connections != 16 else found["engine"]
            _line(f"engine, {connections} connections", measured)
        # Behind them, since the stock executor goes on with long lists for a while when nobody waits for them any more.
        for first in (1, 10, 100):
            for name in ("engine", "stock"):
                # The stock executor takes more than a second for 16 long lists.
                seconds = run.step_seconds + (first // 100) * (name == "stock")
                measured = measure(targets[name], MANY_MEMBERS, first=first, connections=_AT_ONCE, seconds=seconds)
                _line(f"{name}, lists of {first} over four services", measured)
        # Last of all: for some seconds behind a flood everything costs more.
        return result | _overload(run, targets["engine"], found["engine"].rps)


def _compared(found: dict[str, Measured]) -> Result:
    engine, stock, handwritten = found["engine"], found["stock"], found["handwritten"]
    return {
        "engine_rps": round(engine.rps),
        "stock_rps": round(stock.rps),
        "handwritten_rps": round(handwritten.rps),
        "engine_vs_stock": round(engine.rps / stock.rps, 2),
        "engine_vs_handwritten": round(engine.rps / handwritten.rps, 2),
        "engine_cpu_ms": round(engine.cpu_ms, 3),
        "stock_cpu_ms": round(stock.cpu_ms, 3),
        "handwritten_cpu_ms": round(handwritten.cpu_ms, 3),
        "tracing_off_rps": round(found["engine, nothing traced"].rps),
        "tracing_10_rps": round(engine.rps),
        "tracing_100_rps": round(found["engine, all traced"].rps),
    }


def _paces(run: Run, targets: dict[str, Target], found: dict[str, Measured]) -> Result:
    """Latency in an open loop: what is sustained, 70 % of it and of the peak; and what of it is the machine's own."""
    print(f"\n{'at a fixed rate, from when each was due':44}{'rps':>8}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}")
    result: Result = {}
    rates: dict[tuple[str, str], float] = {}
    for name, prefix in (("engine", ""), ("handwritten", "handwritten_")):
        sustained = _sustained(run, targets[name], found[name].rps)
        result[f"{prefix}sustained_rps"] = round(sustained)
        rates[name, f"{prefix}p99_ms_at_70"] = _SHARE_OF_PEAK * sustained
        rates[name, f"{prefix}p99_ms_at_70_of_peak"] = _SHARE_OF_PEAK * found[name].rps
    # In turns, as the peak was measured.
    rounds = [
        {key: at_rate(targets[key[0]], ONE_MEMBER, rate=rate, seconds=run.pace_seconds) for key, rate in rates.items()}
        for _ in range(run.pace_rounds)
    ]
    for (name, key), rate in rates.items():
        each = sorted((one[name, key] for one in rounds), key=lambda one: one.percentile_ms(0.99))
        of = "its peak" if key.endswith("_of_peak") else "what it sustains"
        result[key] = _paced_line(f"{name}, 70 % of {of}", rate, each[len(each) // 2])
    rate = _SHARE_OF_PEAK * found["engine"].rps
    answers = nothing_at_rate(targets["engine"], rate=rate, seconds=run.step_seconds)
    return {**result, "machine_p99_ms": _paced_line("GET /healthz, the machine's own", rate, answers)}


def _sustained(run: Run, target: Target, peak: float) -> float:
    """The highest rate of those tried at which 99 % are answered in time; the machine itself may spoil a try."""
    rate = 0.0
    for share in _SHARES:
        rate = share * peak
        for _ in range(_TRIES):
            answers = at_rate(target, ONE_MEMBER, rate=rate, seconds=run.pace_seconds)
            if not answers.failed and not answers.told and answers.percentile_ms(0.99) <= _SUSTAINED_MS:
                _paced_line(f"{target.name}, sustained", rate, answers)
                return rate
    _paced_line(f"{target.name}, not even that is sustained", rate, answers)
    return rate


def _paced_line(what: str, rate: float, answers: Answers) -> float:
    """The p99, in milliseconds."""
    p99 = answers.percentile_ms(0.99)
    failed = answers.failed + len(answers.told)
    print(f"{what:44}{rate:8.0f}{answers.percentile_ms(0.5):9.1f}{p99:9.1f}{failed:8d}", flush=True)
    return round(p99, 1)


def _overload(run: Run, target: Target, peak: float) -> Result:
    """Three times the peak: what is answered all the same, and how soon the others are told to come again."""
    answers = flooded(target, ONE_MEMBER, rate=_FLOOD * peak, seconds=run.flood_seconds)
    goodput, told = answers.good / answers.elapsed, len(answers.told) / max(1, len(answers.took))
    told_ms = percentile_ms(answers.told, 0.99)
    print(
        f"\n{_FLOOD} times its peak, {len(answers.took):,} requests: {goodput:.0f}/s answered, "
        f"{told:.0%} told to come again (99 % of them within {told_ms:.0f} ms), {answers.failed} failed; "
        f"99 % of all within {answers.percentile_ms(0.99):.0f} ms",
        flush=True,
    )
    return {
        "flood_goodput_vs_peak": round(goodput / peak, 2),
        "flood_told_share": round(told, 2),
        "flood_told_p99_ms": round(told_ms, 1),
        "flood_failed": answers.failed,
    }


def _ask(target: Target, connections: int = _AT_ONCE, seconds: float = 1) -> Measured:
    return measure(target, ONE_MEMBER, first=None, connections=connections, seconds=seconds)


def _middle(measured: list[Measured]) -> Measured:
    return sorted(measured, key=lambda one: one.rps)[len(measured) // 2]


def _head(what: str) -> None:
    print(f"\n{what:44}{'rps':>8}{'CPU ms':>9}{'p99 ms':>9}{'failed':>8}", flush=True)


def _line(name: str, measured: Measured) -> Measured:
    figures = f"{measured.rps:8.0f}{measured.cpu_ms:9.3f}{measured.p99_ms:9.1f}{measured.failed:8d}"
    print(f"{name:44}{figures}", flush=True)
    return measured


def documents() -> Documents:
    limits = Limits()
    names = ("depth", "aliases", "root_fields", "fields", "repetitions", "overlaps", "cost")
    return Documents(
        bind(schema.build(), problem_of),
        Budget(**{name: getattr(limits, name) for name in names}),
        most_bytes=limits.document_bytes,
        most_tokens=limits.tokens,
        cached=limits.cached_documents,
        cached_bytes=limits.cached_document_bytes,
        introspection=True,
    )


def plan_ms() -> float:
    """From a document's text to its plan, at first sight; the median of 20, each with a name of its own."""
    made = documents()
    took = []
    for number in range(21):
        text = ONE_MEMBER.replace("query Q", f"query Q{number}")
        start = time.perf_counter()
        operation = made.operation(made.prepare(text), None)
        made.compiled(operation, operation.signature.read({"id": "member_1"}))
        took.append(1_000 * (time.perf_counter() - start))
    return round(sorted(took[1:])[10], 2)


async def rpcs_for_50_members(backend: rig.Backend) -> dict[str, int]:
    """How often each RPC is called for a list of 50 members joined over the four services."""
    settings = Settings(
        plaintext=True,
        token_key_file=token_key(backend.keys),
        identity_key_file=identity_key(backend.keys, "gateway"),
        accounts_target=backend.targets["accounts"],
        partners_target=backend.targets["partners"],
        logistics_target=backend.targets["logistics"],
        rewards_target=backend.targets["rewards"],
    )
    backends = Counting(settings, Telemetry(None))
    made = documents()
    operation = made.operation(made.prepare(MANY_MEMBERS), None)
    operator = Caller(CallerKind.OPERATOR, "operator")
    answer = await made.answer(operation, {"first": 50}, Request(operator, backends, "bench"))
    await backends.close()
    if not isinstance(answer, bytes):
        raise SystemExit(f"50 members were not answered by a plan: {answer.errors}")
    return backends.calls


class Counting(Backends):
    """Counts calls by method."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        super().__init__(settings, telemetry)
        self.calls: dict[str, int] = {}

    async def call(self, service, method, request, caller=None, **options):  # type: ignore[no-untyped-def]
        self.calls[method] = self.calls.get(method, 0) + 1
        return await super().call(service, method, request, caller, **options)


if __name__ == "__main__":
    main()
