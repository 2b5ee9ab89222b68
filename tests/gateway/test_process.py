"""`python -m gateway` as its operator meets it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.embedded import free_port
from deploy.local.keys import identity_key, token_key


def start(keys: Path, listen: str, **changes: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "ALLIANCE_LISTEN": listen,
        "ALLIANCE_PLAINTEXT": "true",
        "ALLIANCE_TOKEN_KEY_FILE": str(token_key(keys)),
        "ALLIANCE_IDENTITY_KEY_FILE": str(identity_key(keys, "gateway")),
        **{f"ALLIANCE_{name}_TARGET": "127.0.0.1:1" for name in ("ACCOUNTS", "PARTNERS", "LOGISTICS", "REWARDS")},
        **changes,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "gateway"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def listen(keys: Path) -> Iterator[str]:
    listen = f"127.0.0.1:{free_port()}"
    process = start(keys, listen)
    until = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"http://{listen}/healthz", timeout=60)
            break
        except httpx.TransportError:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.05)
    yield listen
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert '"event": "stopped"' in output


def test_it_serves_before_the_services_do_and_ends_well(listen: str):
    answer = httpx.post(f"http://{listen}/graphql", json={"query": "{ viewer { kind } }"}, timeout=60).json()
    assert answer == {"data": {"viewer": {"kind": "ANYONE"}}}
    ready = httpx.get(f"http://{listen}/readyz", timeout=60)
    assert ready.status_code == 503
    assert set(ready.json()["services"].values()) == {"unreachable"}
    metadata = httpx.get(f"http://{listen}/.well-known/oauth-authorization-server", timeout=60).json()
    assert metadata["issuer"] == f"http://{listen}"


@pytest.mark.parametrize("setting", ["ALLIANCE_LISTEN", "ALLIANCE_HEALTH_LISTEN"])
def test_a_taken_port_is_named_with_what_to_do(keys: Path, setting: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        process = start(keys, "127.0.0.1:0", **{setting: listen})
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert listen in output
    assert f"set {setting} to a free one" in output
    assert "Traceback" not in output


def test_it_can_be_stopped_while_it_starts(keys: Path):
    process = start(keys, f"127.0.0.1:{free_port()}", ALLIANCE_LOG_LEVEL="INFO")
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if '"event": "listening"' in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    # Before it serves, the signal ends it at once.
    assert process.returncode == 0
