"""What the backup's pods run, with tools beside it that are as strict as MongoDB's own about what they are told."""

import gzip
import os
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "deploy" / "base" / "backup"
# As the tools' own sources have it: the oplog goes with an archive of everything, and with nothing less.
TOOLS = {
    "mongodump": r"""
        case "$*" in *--db*|*--collection*) echo "--oplog needs everything" >&2; exit 1;; esac
        for argument in "$@"; do
          case $argument in
            --archive=*) archive=${argument#--archive=};;
            --config=*) grep --quiet '^uri: "mongodb://' "${argument#--config=}" || exit 2;;
          esac
        done
        [ -z "${DUMP_FAILS:-}" ] || { printf half > "$archive"; exit 1; }
        printf everything | gzip > "$archive"
    """,
    "mongorestore": r"""
        case "$*" in
          *--oplogReplay*--nsInclude*|*--nsInclude*--oplogReplay*)
            echo "Failed: cannot use --oplogReplay with includes specified" >&2; exit 1;;
        esac
        for argument in "$@"; do
          case $argument in
            --archive=*) gzip --decompress --stdout "${argument#--archive=}" > "$RESTORED";;
            --config=*) grep --quiet '^uri: "mongodb://' "${argument#--config=}" || exit 2;;
          esac
        done
    """,
    "mongosh": 'printf "%s\\n" "${THERE:-}"',
}


class Pod:
    """Where a script runs: the tools, a volume and an environment."""

    def __init__(self, folder: Path) -> None:
        self.volume, tools = folder / "backups", folder / "tools"
        self.volume.mkdir()
        tools.mkdir()
        self.restored = folder / "restored"
        for name, body in TOOLS.items():
            (tools / name).write_text(f"#!/usr/bin/env bash\nset -eu\n{body}\n")
            (tools / name).chmod(0o755)
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "BACKUPS": str(self.volume),
            "KEEP_DAYS": "14",
            "MONGODB_URI": "mongodb://backup:secret@nowhere/?authSource=admin",
            "RESTORED": str(self.restored),
        }

    def run(self, script: str, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        command = ["bash", str(SCRIPTS / script), *arguments]
        environment = {**self.environment, **more}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def archives(self) -> list[str]:
        return sorted(path.name for path in self.volume.iterdir())

    def kept(self, name: str, days: int) -> None:
        path = self.volume / name
        path.write_bytes(gzip.compress(b"old"))
        os.utime(path, (time.time() - days * 86_400,) * 2)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_what_was_backed_up_is_restored(pod: Pod):
    told = pod.run("backup.sh")
    (name,) = pod.archives()
    assert told.returncode == 0, told.stderr
    assert name.endswith(".archive.gz")
    assert f"wrote {pod.volume / name}, " in told.stdout
    done = pod.run("restore.sh", str(pod.volume / name))
    assert done.returncode == 0, done.stderr
    assert pod.restored.read_text() == "everything"


def test_old_archives_go_when_there_is_a_new_one_and_not_before(pod: Pod):
    pod.kept("alliance-20200101T000000Z.archive.gz", days=16)
    pod.kept("alliance-20200110T000000Z.archive.gz", days=3)
    assert pod.run("backup.sh", DUMP_FAILS="yes").returncode != 0
    assert [name for name in pod.archives() if name.endswith(".gz")] == [
        "alliance-20200101T000000Z.archive.gz",
        "alliance-20200110T000000Z.archive.gz",
    ]
    assert pod.run("backup.sh").returncode == 0
    kept = [name for name in pod.archives() if name.endswith(".gz")]
    assert len(kept) == 2
    assert "alliance-20200110T000000Z.archive.gz" in kept


def test_half_an_archive_is_not_restored(pod: Pod):
    half = pod.volume / "alliance-20200110T000000Z.archive.gz"
    half.write_bytes(gzip.compress(b"everything" * 100)[:-9])
    assert pod.run("restore.sh", str(half)).returncode != 0
    assert not pod.restored.exists()


def test_nothing_is_restored_over_what_is_there(pod: Pod):
    pod.kept("alliance-20200110T000000Z.archive.gz", days=3)
    told = pod.run("restore.sh", str(pod.volume / "alliance-20200110T000000Z.archive.gz"), THERE="alliance_rewards")
    assert told.returncode == 1
    assert "there is something already: alliance_rewards" in told.stderr
    assert not pod.restored.exists()


def test_no_password_is_an_argument_of_the_tools_that_run_for_long():
    for script in ("backup.sh", "restore.sh"):
        for line in (SCRIPTS / script).read_text().splitlines():
            assert not (line.startswith(("mongodump", "mongorestore")) and "--uri" in line)
