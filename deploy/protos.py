"""Regenerates the Python code beside each proto file, or, with --check, says whether it is fresh."""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent.parent / "protos"

_GENERATED = (".py", ".pyi")  # beside them lies the interpreter's own cache


def generate(out: Path) -> None:
    """Writes messages, stubs and their types for all protos below `out`."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    include = [f"-I{PROTOS}", f"-I{files('grpc_tools') / '_proto'}", f"-I{googleapis()}"]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    beside = Path(sys.executable).parent  # where the environment keeps the plugins, on PATH or not
    plugins = [f"--plugin=protoc-gen-{name}={beside / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    if protoc.main(["protoc", *include, *plugins, *outputs, *sources]) != 0:
        raise SystemExit("protoc failed; its messages are above")
    # A proto without a service gets an empty stub module; leave it out.
    for stub in out.rglob("*_pb2_grpc.py*"):
        proto = PROTOS / stub.relative_to(out).with_name(stub.name.split("_pb2")[0] + ".proto")
        if "\nservice " not in proto.read_text():
            stub.unlink()


def stale() -> list[str]:
    """The generated files that differ from what the protos give now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        made, kept = (
            {path.relative_to(root): path.read_bytes() for path in root.rglob("*_pb2*") if path.suffix in _GENERATED}
            for root in (fresh, PROTOS)
        )
    return sorted(str(name) for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))


def googleapis() -> Path:
    """The folder of the types that Google publishes."""
    import google.type.latlng_pb2 as latlng

    return Path(latlng.__file__).parents[2]


if __name__ == "__main__":
    if "--check" not in sys.argv:
        generate(PROTOS)
    elif names := stale():
        raise SystemExit("not fresh, run `make protos`: " + ", ".join(names))
