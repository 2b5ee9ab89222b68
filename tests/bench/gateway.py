"""How fast the gateway is: `make bench-gateway`, or with ARGS=--quick in under 50 seconds.

Three gateways answer the same query: this one (engine) with real tokens, access rules, limits, cost checks and tracing
of a tenth of all requests; Strawberry with dataloaders (stock); and a plan written by hand for this one query
(handwritten). The last two check the token, and do nothing else of that.

- Over the real services on the embedded database, all on one machine: what the whole gives. The database is its limit.
- Over the answers of those services, replayed from memory, so that the gateway is the limit: what the gateway gives.
  Here it has a core to itself, and the rest, load included, has the others.

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
from tests.bench.load import Measured, Target, at_rate, generator, measure, nothing_at_rate
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


class Run:
    """How long each measurement takes, and how many members there are."""

    def __init__(self, *, quick: bool) -> None:
        self.members = 200 if quick else 3_000
        self.rounds = 2 if quick else 5
        self.seconds = 1 if quick else 6
        self.step_seconds = 1 if quick else 4
        self.pace_seconds = 2 if quick else 15


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-gateway")
    parser.add_argument("--quick", action="store_true", help="the same figures from shorter runs, in under 50 s")
    run = Run(quick=parser.parse_args().quick)
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
        result |= over_answers(run, backend, collector)
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
            {name: _ask(target, seconds=run.seconds) for name, target in targets.items()} for _ in range(run.rounds)
        ]
        found = {name: _middle([each[name] for each in rounds]) for name in targets}
        for name, measured in found.items():
            _line(name, measured)
        result = _compared(found) | _paces(run, targets, found)
        _head("cost growth, 16 connections unless it says otherwise")
        for first in (1, 10, 100):
            for name in ("engine", "stock"):
                # The stock executor takes more than a second for 16 long lists.
                seconds = run.step_seconds + (first // 100) * (name == "stock")
                measured = measure(targets[name], MANY_MEMBERS, first=first, connections=_AT_ONCE, seconds=seconds)
                _line(f"{name}, lists of {first} over four services", measured)
        for connections in (1, 16, 64, 256):
            measured = _ask(targets["engine"], connections, run.step_seconds) if connections != 16 else found["engine"]
            _line(f"engine, {connections} connections", measured)
        return result


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
    """Latency below the peak, from when each request was due; and what of it is the machine's own."""
    print(f"\n{'at a fixed rate':44}{'rps':>8}{'p50 ms':>9}{'p99 ms':>9}")

    def line(name: str, rate: float, *percentiles: float) -> None:
        print(f"{name:44}{rate:8.0f}" + "".join(f"{each:9.1f}" for each in percentiles), flush=True)

    result: Result = {}
    for name in ("engine", "handwritten"):
        rate = _SHARE_OF_PEAK * found[name].rps
        answers = at_rate(targets[name], ONE_MEMBER, rate=rate, seconds=run.pace_seconds)
        p99 = answers.percentile_ms(0.99)
        line(f"{name}, 70 % of its peak", rate, answers.percentile_ms(0.5), p99)
        result["p99_ms_at_70" if name == "engine" else f"{name}_p99_ms_at_70"] = round(p99, 1)
    rate = _SHARE_OF_PEAK * found["engine"].rps
    answers = nothing_at_rate(targets["engine"], rate=rate, seconds=run.step_seconds)
    p99 = answers.percentile_ms(0.99)
    line("GET /healthz, the machine's own", rate, answers.percentile_ms(0.5), p99)
    return {**result, "machine_p99_ms": round(p99, 1)}


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
