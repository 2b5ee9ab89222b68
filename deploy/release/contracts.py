"""The contracts that clients rely on: the protos, the GraphQL schema, and documents that frontends really send."""

import subprocess
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from deploy.local.day import documents
from deploy.protos import PROTOS, googleapis

LAST = Path(__file__).parent / "last"
_SCHEMA = Path(__file__).resolve().parents[2] / "gateway" / "schema.graphql"
_BUF = "@bufbuild/buf@1.75.0"
_BUF_SECONDS = 120
_BUF_FOUND = 100
_NAMES = ("protos.binpb", "schema.graphql", "documents.graphql")


@dataclass(frozen=True)
class Contracts:
    """Of one version."""

    protos: FileDescriptorSet
    schema: str
    documents: str

    @classmethod
    def last_released(cls, folder: Path = LAST) -> "Contracts":
        """Those that clients out there have."""
        protos, schema, documents = (folder / name for name in _NAMES)
        return cls(FileDescriptorSet.FromString(protos.read_bytes()), schema.read_text(), documents.read_text())

    @classmethod
    def of_now(cls) -> "Contracts":
        """Those of this source tree."""
        return cls(_compiled(), _SCHEMA.read_text(), _documents())

    def write(self, folder: Path = LAST) -> None:
        """Keeps them as the last released ones."""
        folder.mkdir(exist_ok=True)
        protos, schema, documents = (folder / name for name in _NAMES)
        protos.write_bytes(self.protos.SerializeToString(deterministic=True))
        schema.write_text(self.schema)
        documents.write_text(self.documents)


def _compiled() -> FileDescriptorSet:
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    include = [f"-I{PROTOS}", f"-I{files('grpc_tools') / '_proto'}", f"-I{googleapis()}"]
    with tempfile.NamedTemporaryFile() as out:
        command = ["protoc", *include, "--include_imports", f"--descriptor_set_out={out.name}", *sources]
        if protoc.main(command) != 0:
            raise SystemExit("protoc failed; its messages are above")
        return FileDescriptorSet.FromString(Path(out.name).read_bytes())


def _documents() -> str:
    """What the day sends, which stands for the frontends of all brands."""
    texts = [text for name, text in sorted(vars(documents).items()) if name.isupper() and isinstance(text, str)]
    return "\n".join(text.strip() for text in texts if text.lstrip().startswith(("query", "mutation"))) + "\n"


def breaking_by_buf(now: Contracts, folder: Path = LAST) -> str | None:
    """What `buf breaking` says, where npm is at hand; None if it is not, and empty if all is well."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as compiled:
        compiled.write(now.protos.SerializeToString())
        compiled.flush()
        command = ["npx", "--yes", _BUF, "breaking", compiled.name, "--against", str(folder / _NAMES[0])]
        try:
            done = subprocess.run(
                [*command, "--exclude-imports"], capture_output=True, text=True, check=False, timeout=_BUF_SECONDS
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
    return done.stdout if done.returncode in (0, _BUF_FOUND) else None
