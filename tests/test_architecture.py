"""The map stays true: who imports whom, what is generated is fresh, every method has a rule, every query an index."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pool import Default

from alliance.accounts.v1 import accounts_pb2  # noqa: F401  (makes its descriptors known, as the next ones do)
from alliance.logistics.v1 import logistics_pb2  # noqa: F401
from alliance.partners.v1 import partners_pb2  # noqa: F401
from alliance.rewards.v1 import ledger_pb2, rewards_pb2  # noqa: F401
from deploy import protos
from services.shared.access import access_rule
from services.shared.identity import CallerKind

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("accounts", "partners", "logistics", "rewards")
DRIVERS = ("pymongo", "motor", "bson")
_SHARED = ("mongo", "commands", "failures", "idempotency", "outbox", "pages", "queries", "server", "tail")
DRIVER_ROOMS = tuple(f"{room}.py" for room in _SHARED)


def modules(folder: str) -> Iterator[tuple[str, set[str]]]:
    """Each module below a folder, and what it imports."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        yield str(path.relative_to(ROOT)), names


def within(names: set[str], *packages: str) -> set[str]:
    return {name for name in names if any(name == package or name.startswith(package + ".") for package in packages)}


@pytest.mark.parametrize("service", SERVICES)
def test_services_import_neither_each_other_nor_the_gateway(service: str):
    others = [f"services.{name}" for name in SERVICES if name != service]
    for module, names in modules(f"services/{service}"):
        assert not within(names, *others, "gateway", "deploy", "tests"), module


def test_what_is_shared_knows_no_service():
    for module, names in modules("services/shared"):
        assert not within(names, *(f"services.{name}" for name in SERVICES), "gateway", "deploy"), module
        assert not within(names, *(f"alliance.{name}" for name in SERVICES)), module


def test_the_gateway_shares_with_services_only_how_to_be_one():
    for module, names in modules("gateway"):
        assert not within(names, *(f"services.{name}" for name in SERVICES), "deploy", *DRIVERS), module


def test_domains_are_pure():
    allowed = {*sys.stdlib_module_names}
    for service in SERVICES:
        for module, names in modules(f"services/{service}"):
            parts = Path(module).parts
            if "domain.py" not in parts and "domain" not in parts:
                continue
            for name in names - {""}:
                inside = within({name}, f"services.{service}", "services.shared.errors")
                assert name.split(".")[0] in allowed or inside or name == "services.shared", f"{module}: {name}"


def test_only_stores_touch_the_driver():
    for folder in ("services", "gateway", "deploy"):
        for module, names in modules(folder):
            path = Path(module)
            is_store = path.name == "store.py" or "store" in path.parts or path.name in ("log.py", "projector.py")
            # A backup is of whole databases, whatever the stores make of them.
            is_backup = path == Path("deploy/backup.py")
            if is_store or is_backup or (path.parent.name == "shared" and path.name in DRIVER_ROOMS):
                continue
            assert not within(names, *DRIVERS), module


def test_generated_code_is_fresh():
    assert protos.stale() == []


def methods() -> Iterator[str]:
    names = [f"alliance.{service}.v1.{service.capitalize()}Service" for service in SERVICES]
    for full_name in [*names, "alliance.rewards.v1.LedgerService"]:
        for method in Default().FindServiceByName(full_name).methods:
            yield f"/{full_name}/{method.name}"


@pytest.mark.parametrize("method", list(methods()))
def test_every_method_says_who_may_call_it(method: str):
    kinds, services = access_rule(method)
    assert kinds, "nobody may call it"
    assert (CallerKind.SERVICE in kinds) == bool(services)
    assert services <= set(SERVICES)
