"""What the launcher checks before it starts anything."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.__main__ import main
from deploy.local.alliance import SERVICES, Alliance, CannotStart
from deploy.local.day.keepsakes import Keepsakes, OtherDay, scale_of
from deploy.local.embedded import accepts, free_port, reserved_port
from deploy.local.lock import Lock
from deploy.local.options import Options
from tests.support.day import DAY, SMALL

ANY_PORTS = {f"{name}_port": 0 for name in (*SERVICES, "gateway", "database")}


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.fixture(autouse=True)
def no_given_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)


def options(tmp_path: Path, **chosen: int) -> Options:
    return Options(data=tmp_path, **{**ANY_PORTS, **chosen})  # type: ignore[arg-type]


async def test_a_taken_port_is_told_before_anything_is_started(tmp_path: Path, taken_port: int):
    alliance = Alliance(options(tmp_path, rewards_port=taken_port))
    with pytest.raises(CannotStart, match=f"Port {taken_port}, which rewards needs, .* --rewards-port"):
        await alliance.start()
    assert all(process.pid is None for process in alliance.processes.values())
    assert not list((tmp_path / "logs").iterdir())


def test_a_free_port_is_kept_for_who_asks_for_it_by_number():
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_reserved_port_is_its_owners_whether_a_server_listens_or_not():
    class Owner: ...

    owner = Owner()
    port = reserved_port(owner)
    for _ in range(2):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        assert not accepts(port)
        with socket.create_server(("127.0.0.1", port)):
            assert accepts(port)


def test_the_command_says_so_and_fails(tmp_path: Path, taken_port: int, capsys: pytest.CaptureFixture[str]):
    ports = [f"--{name}-port={taken_port if name == 'accounts' else 0}" for name in (*SERVICES, "gateway", "database")]
    assert main(["up", "--data", str(tmp_path), *ports]) == 1
    assert f"Port {taken_port}, which accounts needs" in capsys.readouterr().err


async def test_one_data_folder_has_one_alliance(tmp_path: Path):
    (tmp_path / "run").mkdir()
    first = Lock(tmp_path / "run" / "lock")
    first.take()
    with pytest.raises(CannotStart, match=rf"runs on .* already \(pid {os.getpid()}\).* --data"):
        await Alliance(options(tmp_path)).start()
    first.give_up()
    Lock(tmp_path / "run" / "lock").take()


def test_with_a_given_database_none_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://db.example:27017/")
    alliance = Alliance(options(tmp_path))
    alliance.data.joinpath("keys").mkdir()
    programs = {p.name: p for p in with_keys(alliance)}
    assert "database" not in programs
    assert programs["rewards"].environment["MONGODB_URI"] == "mongodb://db.example:27017/"
    assert "MONGODB_URI" not in programs["gateway"].environment


def test_every_service_has_a_database_of_its_own_and_knows_the_others(tmp_path: Path):
    alliance = Alliance(options(tmp_path))
    programs = {p.name: p for p in with_keys(alliance)}
    assert set(programs) == {"database", *SERVICES, "gateway"}
    assert {programs[name].environment["ALLIANCE_MONGODB_DATABASE"] for name in SERVICES} == {
        f"alliance_{name}" for name in SERVICES
    }
    for name in (*SERVICES, "gateway"):
        for other in SERVICES:
            assert programs[name].environment[f"ALLIANCE_{other.upper()}_TARGET"] == alliance.target(other)
    holders = [name for name, p in programs.items() if alliance.operator_secret in p.environment.values()]
    assert holders == ["partners"]


def with_keys(alliance: Alliance):  # type: ignore[no-untyped-def]
    from deploy.local.keys import ensure_keys

    ensure_keys(alliance.data / "keys")
    return alliance._programs()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--gateway-port", "70000"], "less than or equal to 65535"),
        (["up", "--database-prefix", "a.b"], "should match pattern"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["demo", "--members", "3"], ["demo", "--acts", "many"], []])
def test_a_wrong_command_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_day_of_the_first_run_stays_the_day(tmp_path: Path):
    path = tmp_path / "day.json"
    assert scale_of(path, SMALL) == SMALL
    later = scale_of(path, type(SMALL)(SMALL.seed, DAY.day.replace(year=2030), SMALL.members, SMALL.acts))
    assert later == SMALL
    with pytest.raises(OtherDay, match="40 members and 200 acts"):
        scale_of(path, DAY)


def test_keepsakes_survive_a_crash_in_the_middle_of_a_line(tmp_path: Path):
    path = tmp_path / "secrets"
    first = Keepsakes(path)
    first.keep("a", "1")
    key = first.machine_key("m")
    with path.open("a") as out:
        out.write('["b", "2')
    second = Keepsakes(path)
    assert (second.get("a"), second.get("b")) == ("1", None)
    second.keep("c", "3")
    assert Keepsakes(path).get("c") == "3"
    assert Keepsakes(path).machine_key("m").private_bytes_raw() == key.private_bytes_raw()
    assert path.stat().st_mode & 0o777 == 0o600
