"""What several modules of unit tests look at."""

import pytest

from deploy.checks.render import OVERLAYS, render
from deploy.checks.resources import Overlay
from tests.support.manifests import copied


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Overlay]:
    """All overlays, rendered from a copy, so that the secrets of the local one stay out of the working tree."""
    deploy = copied(tmp_path_factory.mktemp("deploy"))
    return {name: render(deploy, name) for name in OVERLAYS}
