"""Keys of a local alliance: made once, kept in its data folder, readable by their owner alone."""

import json
import secrets
from pathlib import Path

from joserfc.jwk import OKPKey

PROCESSES = ("gateway", "accounts", "partners", "logistics", "rewards")


def ensure_keys(folder: Path) -> None:
    """Makes what is missing: an identity key per process, the trust file, the token key, the operator's secret."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    public = []
    for name in PROCESSES:
        path = identity_key(folder, name)
        if not path.exists():
            _write(path, _new_key(name))
        key = OKPKey.import_key(json.loads(path.read_text()))
        public.append(key.as_dict(private=False))
    trust_file(folder).write_text(json.dumps({"keys": public}, indent=1))
    if not token_key(folder).exists():
        _write(token_key(folder), _new_key(secrets.token_hex(8)))
    if not _operator(folder).exists():
        _operator(folder).touch(0o600)
        _operator(folder).write_text(secrets.token_urlsafe(32))


def identity_key(folder: Path, process: str) -> Path:
    return folder / f"{process}.jwk"


def trust_file(folder: Path) -> Path:
    return folder / "trust.jwks"


def token_key(folder: Path) -> Path:
    """The private JWK by which the gateway signs access tokens."""
    return folder / "tokens.jwk"


def operator_secret(folder: Path) -> str:
    return _operator(folder).read_text()


def _operator(folder: Path) -> Path:
    return folder / "operator.secret"


def _new_key(kid: str) -> dict[str, object]:
    key = OKPKey.generate_key("Ed25519", {"kid": kid}, private=True)
    return dict(key.as_dict(private=True))


def _write(path: Path, content: dict[str, object]) -> None:
    path.touch(0o600)
    path.write_text(json.dumps(content))
