"""Builds the image as deploy/Dockerfile says, from packages that have been fetched before: the build has no network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.smoke.podman import Podman

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/green-alliance:local"
_SUITE = "bookworm"
_PACKAGES = "python3.11,python3.11-venv,python3-pip,ca-certificates"


def ensure_base(podman: Podman, work: Path) -> str:
    """Provides the base image that the Dockerfile names, and says what it is: the real one, or a stand-in.

    The stand-in is Debian's own Python of the same minor version in a Debian of the same release, under the same name.
    It is made where there is debootstrap and the real one is not present: `podman pull` it beforehand to have that.
    """
    name = base_name()
    if name in podman.run("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        return f"{name}, {podman.run('image', 'inspect', '--format', '{{.Comment}}', name) or 'as pulled'}"
    if shutil.which("debootstrap") is None:
        raise SystemExit(f"Neither the image {name} nor debootstrap is there; `podman pull {name}` first.")
    tree = work / "base"
    _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(tree), _mirror())
    # As in the official image: `python` is there, and pip may install.
    (tree / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
    (tree / "usr/bin/python").symlink_to("python3")
    for rubbish in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(tree / rubbish, ignore_errors=True)
    archive = work / "base.tar"
    _run("tar", "--directory", str(tree), "--create", "--file", str(archive), ".")
    path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    podman.run("import", "--message", "a stand-in made by debootstrap", "--change", path, str(archive), name)
    shutil.rmtree(tree)
    archive.unlink()
    return f"{name}, a stand-in made by debootstrap"


def base_name() -> str:
    """The image that the Dockerfile builds on by default."""
    match = re.search(r"^ARG PYTHON_IMAGE=(\S+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    if match is None:
        raise SystemExit("deploy/Dockerfile has no ARG PYTHON_IMAGE")
    return match[1]


def build(podman: Podman, work: Path) -> None:
    """Fetches the wheels that the image's lock names, and builds the image from them."""
    wheels = work / "wheels"
    lock = str(ROOT / "deploy/requirements-runtime.lock")
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run(*download, "--require-hashes", "--only-binary", ":all:", "--requirement", lock, "--dest", str(wheels))
    podman.run(
        *("build", "--format", "docker", "--pull=never", "--network=none"),
        *("--ignorefile", str(ROOT / "deploy/Dockerfile.dockerignore"), "--volume", f"{wheels}:/wheels:ro"),
        *("--build-arg", "PIP_NO_INDEX=1", "--build-arg", "PIP_FIND_LINKS=/wheels"),
        *("--file", str(ROOT / "deploy/Dockerfile"), "--tag", IMAGE, str(ROOT)),
    )


def megabytes(podman: Podman, image: str) -> int:
    """The size of an image, unpacked."""
    return round(int(podman.run("image", "inspect", "--format", "{{.Size}}", image)) / 1e6)


def _mirror() -> str:
    """Where this machine's own packages come from."""
    for path in sorted(Path("/etc/apt").rglob("*")):
        if path.name == "sources.list" or path.suffix in (".list", ".sources"):
            for line in path.read_text().splitlines():
                match = re.match(r"(?:URIs:|deb(?: \[[^]]*\])?)\s+(\S+)", line)
                if match:
                    return match[1]
    raise SystemExit("No source of Debian packages is configured in /etc/apt.")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{(done.stderr or done.stdout)[-3000:]}")
