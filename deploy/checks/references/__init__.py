"""What one resource says of another must be true: labels, names, ports, settings, networks, images, times.

Each module answers errors as sentences that begin with the resource that is wrong.
"""

from collections.abc import Iterator

from deploy.checks.references import calls, certificates, images, lifecycle, names, ports, selectors, settings, vaults
from deploy.checks.resources import Overlay

_CHECKS = (
    names.errors,
    selectors.errors,
    ports.errors,
    settings.errors,
    vaults.errors,
    calls.errors,
    certificates.errors,
    lifecycle.errors,
    images.errors,
)


def errors(overlay: Overlay) -> Iterator[str]:
    """All that is wrong between the resources of an overlay."""
    for check in _CHECKS:
        yield from check(overlay)
