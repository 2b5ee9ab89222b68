"""What has to survive between two runs of the same day: which day it was, and secrets that are shown only once."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.local.day.plan import Scale


class OtherDay(Exception):
    """The data folder has played another day already."""


def scale_of(path: Path, wanted: Scale) -> Scale:
    """The scale that is kept in the file; the first time, the one that is wanted, which is kept from then on.

    OtherDay if seed, members or acts differ. The date is that of the first run.
    """
    if not path.exists():
        kept = {"seed": wanted.seed, "day": wanted.day.isoformat(), "members": wanted.members, "acts": wanted.acts}
        path.write_text(json.dumps(kept) + "\n")
        return wanted
    kept = json.loads(path.read_text())
    scale = Scale(kept["seed"], date.fromisoformat(kept["day"]), kept["members"], kept["acts"])
    if (scale.seed, scale.members, scale.acts) != (wanted.seed, wanted.members, wanted.acts):
        raise OtherDay(
            f"{path} says that seed {scale.seed} with {scale.members} members and {scale.acts} acts has been played. "
            "Play that again, or use another folder with --data, or remove this one with `make clean`."
        )
    return scale


@dataclass
class Keepsakes:
    """Secrets by name in a file that only its owner can read; each is written at once, and never changed."""

    path: Path

    def __post_init__(self) -> None:
        self.path.touch(0o600)
        text = self.path.read_text()
        # A line that a crash cut off was never acted on.
        self._kept: dict[str, str] = dict(json.loads(line) for line in text.splitlines() if line.endswith("]"))
        if text and not text.endswith("\n"):
            with self.path.open("a") as out:
                out.write("\n")

    def get(self, name: str) -> str | None:
        """The secret, if there is one of that name."""
        return self._kept.get(name)

    def keep(self, name: str, secret: str) -> str:
        """Keeps a secret."""
        with self.path.open("a") as out:
            out.write(json.dumps([name, secret]) + "\n")
        self._kept[name] = secret
        return secret

    def machine_key(self, machine: str) -> Ed25519PrivateKey:
        """The private key of a machine, made when it is first needed."""
        name = f"machine/{machine}"
        raw = self.get(name)
        if raw is None:
            key = Ed25519PrivateKey.generate()
            raw = self.keep(name, key.private_bytes_raw().hex())
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(raw))


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public half of a key, 32 bytes."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
