"""`make sbom`: the bill of materials of the image's Python packages, in CycloneDX, with their licences."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CYCLONEDX = ROOT / ".venv-sbom" / "bin" / "cyclonedx-py"


def main(out: Path) -> None:
    """Installs what the image gets into an environment of its own, describes that, and says how much it is."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        uv = str(Path(sys.executable).parent / "uv")
        lock = str(ROOT / "deploy" / "requirements-runtime.lock")
        _run(uv, "venv", "--quiet", "--python", sys.executable, folder)
        _run(uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", lock)
        describe = (str(CYCLONEDX), "environment", "--output-reproducible", "--mc-type", "application")
        _run(*describe, "--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(out), str(python))
    content = json.loads(out.read_text())
    components = content["components"]
    licensed = sum(bool(component.get("licenses")) for component in components)
    result = {"file": str(out), "components": len(components), "with_licence": licensed}
    sys.stdout.write(json.dumps(result) + "\n")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
