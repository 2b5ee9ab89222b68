"""`python -m deploy.credentials`: keys, certificates and passwords of an alliance in containers on one machine.

They are for compose.yaml and for the local overlay of Kubernetes, both of which read them from the overlay's folder.
The folder is closed to other users of the machine; the files in it can be read by all, since a container's user, to
whom a file is handed alone, is not its owner. What is there already is kept; certificates are renewed in time.

`--key KID` prints a new key pair instead, for any environment: see deploy/docs/keys.md.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from joserfc.jwk import OKPKey

from deploy.local.certificates import authority_key_file, ensure_certificates
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
    ensure_certificates(folder)
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
        # Who signs certificates is handed to no container.
        path.chmod(0o600 if path == authority_key_file(folder) else 0o644)


def new_key(kid: str) -> dict[str, object]:
    """A new Ed25519 key pair of that kid, as two JWKs: `private` for its owner, `public` for all others."""
    key = OKPKey.generate_key("Ed25519", {"kid": kid}, private=True)
    return {"private": key.as_dict(private=True), "public": key.as_dict(private=False)}


def main(arguments: Sequence[str]) -> None:
    """Makes the local credentials, or prints one key pair."""
    parser = argparse.ArgumentParser(prog="python -m deploy.credentials", description="Keys and passwords.")
    parser.add_argument("--key", metavar="KID", help="print a new key pair, and make nothing")
    options = parser.parse_args(arguments)
    if options.key:
        sys.stdout.write(json.dumps(new_key(options.key), indent=1) + "\n")
    else:
        ensure()
        sys.stdout.write(f"keys, certificates and passwords are in {FOLDER}\n")


def _keep(path: Path, make: Callable[[], str]) -> None:
    if not path.exists():
        path.write_text(make())


if __name__ == "__main__":
    main(sys.argv[1:])
