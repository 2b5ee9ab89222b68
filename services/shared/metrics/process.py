"""What every process can say of itself: processor, memory, files, garbage, and whether its event loop keeps up."""

import asyncio
import gc
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from services.shared.metrics import catalogue
from services.shared.metrics.instruments import Meter

_LOOK_SECONDS = 0.25
_FILES = Path("/proc/self/fd")
_MEMORY = Path("/proc/self/statm")


def observe_process(meter: Meter) -> None:
    """Has the process's own numbers read whenever somebody asks."""
    began = time.monotonic()
    meter.observe(catalogue.PROCESS_CPU, _cpu)
    meter.observe(catalogue.PROCESS_UPTIME, lambda: time.monotonic() - began)
    meter.observe(catalogue.PROCESS_THREADS, lambda: float(threading.active_count()))
    meter.observe(catalogue.PROCESS_FILES_MOST, lambda: float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    meter.observe(catalogue.GC_COLLECTIONS, _collections)
    if _MEMORY.exists():  # Linux
        meter.observe(catalogue.PROCESS_MEMORY, _resident_bytes)
        meter.observe(catalogue.PROCESS_FILES, lambda: float(len(os.listdir(_FILES))))
    gc.callbacks.append(_Pauses(meter))


async def watch_loop(meter: Meter) -> None:
    """A job: notes by how much a timer is late, until cancelled."""
    lag = meter.histogram(catalogue.LOOP_LAG).at()
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LOOK_SECONDS
        await asyncio.sleep(_LOOK_SECONDS)
        lag.record(max(loop.time() - due, 0.0))


class _Pauses:
    """Told by the collector when it begins and when it has ended."""

    def __init__(self, meter: Meter) -> None:
        self._time = meter.counter(catalogue.GC_PAUSES).at()
        self._began = 0.0

    def __call__(self, phase: str, _: object) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._time.add(time.perf_counter() - self._began)


def _cpu() -> Iterator[tuple[tuple[str, ...], float]]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield ("user",), used.ru_utime
    yield ("system",), used.ru_stime


def _collections() -> Iterator[tuple[tuple[str, ...], float]]:
    for generation, stats in enumerate(gc.get_stats()):
        yield (str(generation),), float(stats["collections"])


def _resident_bytes() -> float:
    return float(_MEMORY.read_text().split()[1]) * resource.getpagesize()
