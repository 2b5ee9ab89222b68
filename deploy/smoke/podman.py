"""Podman, told to do with what a plain machine has: no systemd, no network of its own."""

import os
import shutil
import subprocess
from pathlib import Path

# For a machine without systemd, whose limits on files and processes cannot be raised.
_CONF = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]
base_hosts_file = "{hosts}"
"""
_NEEDED = ("podman", "runc", "catatonit", "unshare", "ip")


class Podman:
    """Runs podman with a configuration of its own, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        conf = folder / "containers.conf"
        conf.write_text(_CONF.format(hosts=self.hosts))
        self._environment = {**os.environ, "CONTAINERS_CONF": str(conf)}

    def run(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """The output of a command; SystemExit with podman's own words if it fails and that matters."""
        done = subprocess.run(
            ["podman", *arguments],  # noqa: S607  the machine's own
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
        )
        if check and done.returncode != 0:
            raise SystemExit(f"podman {' '.join(arguments[:3])} failed:\n{done.stderr.strip()[-3000:]}")
        return done.stdout.strip()

    def log(self, container: str) -> str:
        """The end of what a container's process printed, to either output."""
        done = subprocess.run(
            ["podman", "logs", "--tail", "15", container],  # noqa: S607  the machine's own
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=self._environment,
        )
        return done.stdout.strip()


def missing() -> list[str]:
    """The commands that are needed and not there."""
    return [name for name in _NEEDED if shutil.which(name) is None and not Path(f"/usr/libexec/podman/{name}").exists()]
