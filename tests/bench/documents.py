"""What a flood of distinct documents does to the gateway's memory: `make bench-documents`, ARGS=10000 for fewer.

Each document is read, costed and compiled as if it were asked for once. The last line is one JSON object.
"""

import argparse
import gc
import json
import time
from pathlib import Path

from gateway import schema
from gateway.config import Limits
from gateway.engine.document import Documents
from gateway.engine.resolve import bind
from gateway.engine.shape import Budget
from gateway.problems import problem_of

_MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-documents")
    parser.add_argument("count", nargs="?", type=int, default=100_000)
    count = parser.parse_args().count
    limits = Limits()
    names = ("depth", "aliases", "root_fields", "fields", "repetitions", "overlaps", "cost")
    documents = Documents(
        bind(schema.build(), problem_of),
        Budget(**{name: getattr(limits, name) for name in names}),
        most_bytes=limits.document_bytes,
        most_tokens=limits.tokens,
        cached=limits.cached_documents,
        cached_bytes=limits.cached_document_bytes,
        introspection=True,
    )
    ask(documents, "warm", 100)
    gc.collect()
    before, began = rss(), time.process_time()
    full = 0.0
    for part in range(10):
        ask(documents, f"p{part}", count // 10)
        full = full or rss()
        print(f"{(part + 1) * count // 10:>8,} documents: {rss():6.1f} MiB, {len(documents.cache):,} kept", flush=True)
    took = time.process_time() - began
    print(
        json.dumps(
            {
                "documents": count,
                "rss_before_mib": round(before, 1),
                "rss_after_a_tenth_mib": round(full, 1),
                "rss_after_mib": round(rss(), 1),
                "kept": len(documents.cache),
                "kept_kib": documents.cache.bytes >> 10,
                "cpu_ms_each": round(1_000 * took / count, 2),
            }
        )
    )


def ask(documents: Documents, name: str, count: int) -> None:
    """So many documents that have not been seen before."""
    for number in range(count):
        text = f"{{ {name}x{number}: viewer {{ kind }} }}"
        operation = documents.operation(documents.prepare(text), None)
        documents.cost(operation, {})
        documents.compiled(operation, operation.signature.read({}))


def rss() -> float:
    """Of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096 / _MIB


if __name__ == "__main__":
    main()
