"""`make manifests`: renders and checks what is deployed; prints errors, and last a JSON object. Fails if there are any.

`--show OVERLAY` prints the rendered manifests of an overlay instead.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from deploy.checks import compose, recipe, references, schema
from deploy.checks.references import images
from deploy.checks.render import OVERLAYS, CannotRender, render
from deploy.checks.resources import Overlay

DEPLOY = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="make manifests", description="Checks what is deployed, without a cluster.")
    parser.add_argument("--deploy", type=Path, default=DEPLOY, help="the folder of what is deployed")
    parser.add_argument(
        "--show", choices=OVERLAYS, help="print the rendered manifests of an overlay, and check nothing"
    )
    options = parser.parse_args(arguments)
    try:
        if options.show:
            yaml.safe_dump_all(render(options.deploy, options.show).resources, sys.stdout, sort_keys=False)
            return 0
        overlays = [render(options.deploy, name) for name in OVERLAYS]
    except CannotRender as error:
        sys.stderr.write(f"{error}\n")
        return 2

    schema_errors = cross_reference_errors = 0
    for overlay in overlays:
        wrong_fields, wrong_references = list(schema.errors(overlay.resources)), list(references.errors(overlay))
        _print(overlay.name, [*wrong_fields, *wrong_references])
        sys.stdout.write(f"{overlay.name}: {len(overlay.resources)} resources\n")
        schema_errors += len(wrong_fields)
        cross_reference_errors += len(wrong_references)
    across = [*compose.errors(options.deploy), *_two_versions(options.deploy, overlays)]
    _print("all", across)
    recipe_errors = list(recipe.errors(options.deploy / "Dockerfile"))
    _print("all", recipe_errors)
    result = {
        "overlays": len(overlays),
        "resources": sum(len(overlay.resources) for overlay in overlays),
        "kubernetes": list(schema.VERSIONS),
        "schema_errors": schema_errors,
        "cross_reference_errors": cross_reference_errors + len(across),
        "dockerfile_errors": len(recipe_errors),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if schema_errors or result["cross_reference_errors"] or recipe_errors else 0


def _two_versions(deploy: Path, overlays: Sequence[Overlay]) -> Iterator[str]:
    """Images that compose.yaml and the overlays, or two overlays, use in different versions."""
    found: dict[str, set[str]] = {}
    for name, version in compose.versions(deploy):
        found.setdefault(name, set()).add(version)
    for overlay in overlays:
        for workload in overlay.workloads:
            for container in workload.all_containers:
                if images.unpinned(container.spec["image"]) is None:
                    name, version = images.split(container.spec["image"])
                    found.setdefault(name, set()).add(version)
    for name, versions in found.items():
        if len(versions) > 1:
            yield f"image {name} is of several versions, over all environments: {sorted(versions)}"


def _print(where: str, errors: Sequence[str]) -> None:
    for error in errors:
        sys.stdout.write(f"{where}: {error}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
