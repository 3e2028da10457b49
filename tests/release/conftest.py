from __future__ import annotations

from pathlib import Path

import pytest
from release.distributions import given_or_built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return given_or_built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this tree."""
    return given_or_built("sdist", tmp_path_factory.mktemp("sdist"))
