"""The embedded database: a MongoDB-compatible server as a process of its own, for laptops and tests."""

import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

from deploy.local.guard import guarded

_START_SECONDS = 60


def command(folder: Path, port: int) -> list[str]:
    """How to start the server on a port of the loopback address; RuntimeError if it is not installed."""
    program = Path(sys.executable).parent / "secantusd-py"
    if not program.exists():
        raise RuntimeError("the embedded database is not installed; run `make up`, or set MONGODB_URI")
    return [
        str(program),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--storage-path", str(folder), "--sync-on-commit", "--log-level", "WARNING"),
    ]


def uri(port: int) -> str:
    """Where the server on that port is, for a client."""
    # Retryable writes make this server slow after 10,000 of them; it is a single node on loopback, so that a
    # write's fate is only in doubt when the server dies, and then the request id settles it.
    return f"mongodb://127.0.0.1:{port}/?directConnection=true&retryWrites=false"


class EmbeddedServer:
    """One running server, which ends with the process that started it; its data stay in `folder` and are found again
    by the next start.
    """

    def __init__(self, folder: Path, log: Path, port: int = 0) -> None:
        self.folder = folder
        self.log = log
        self.port = port or reserved_port(self)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return uri(self.port)

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the embedded database has not been started")
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it accepts connections; RuntimeError with the end of its log if it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                guarded(*command(self.folder, self.port)),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop it last.
            )
        until = time.monotonic() + _START_SECONDS
        while not accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(
                    f"the embedded database did not start; the end of {self.log}:\n{tail_of(self.log, 10)}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """Asks it to end, and makes it end after ten seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    """A port of the loopback address that nobody has just now, and that the kernel gives to nobody else for a minute.

    A connection that ended at the port keeps it from being picked; a server that asks for it by number gets it.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            server.accept()[0].close()  # The end that closes first is the one that lingers.
        port: int = address[1]
        return port


def reserved_port(owner: object) -> int:
    """A port of the loopback address that the kernel gives to nobody else as long as the owner is there, whether a
    server listens at it just now or not. One that asks for it by number gets it, as often as it is started.
    """
    held = socket.socket()
    weakref.finalize(owner, held.close)
    # Sockets may share an address that they may take again, as long as no other listens.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    return port


def accepts(port: int) -> bool:
    """Whether somebody answers on that port of the loopback address."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def tail_of(path: Path, lines: int) -> str:
    """The last lines of a text file; empty if there is no such file."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
