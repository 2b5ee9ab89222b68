"""`python -m deploy.credentials`: keys and passwords of an alliance in containers on one machine, for trying it out.

They are for compose.yaml and for the local overlay of Kubernetes, both of which read them from the overlay's folder.
The folder is closed to other users of the machine; the files in it can be read by all, since a container's user, to
whom a file is handed alone, is not its owner. What is there already is kept.
"""

import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.local.keys import PROCESSES, ensure_keys, operator_secret

FOLDER = Path(__file__).parent / "overlays" / "local" / "secrets"
SERVICES = tuple(name for name in PROCESSES if name != "gateway")
USERS = ("root", *SERVICES, "backup")

_MONGODB = "mongodb-0.mongodb:27017"
_KEYFILE_CHARACTERS = 756  # as many as MongoDB's own instructions make


def ensure(folder: Path = FOLDER) -> None:
    """Makes what is missing in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    ensure_keys(folder)
    _keep(folder / "mongodb.keyfile", lambda: secrets.token_hex(_KEYFILE_CHARACTERS // 2))
    for user in USERS:
        _keep(folder / f"{user}.password", lambda: secrets.token_urlsafe(24))
    for service in SERVICES:
        password = (folder / f"{service}.password").read_text()
        uri = f"mongodb://{service}:{password}@{_MONGODB}/?replicaSet=alliance&authSource=admin"
        (folder / f"{service}.uri").write_text(uri)
        variables = {"MONGODB_URI": uri}
        if service == "partners":
            variables["ALLIANCE_OPERATOR_CLIENT_SECRET"] = operator_secret(folder)
        (folder / f"{service}.env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    for path in folder.iterdir():
        path.chmod(0o644)


def _keep(path: Path, make: Callable[[], str]) -> None:
    if not path.exists():
        path.write_text(make())


if __name__ == "__main__":
    ensure()
    sys.stdout.write(f"keys and passwords are in {FOLDER}\n")
