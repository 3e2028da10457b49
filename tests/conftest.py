from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A first read or compilation may be slow: pytest-timeout watches the time instead.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of the real test data, which is not part of the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    path = Path(os.environ.get("GSSM_TEST_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no real test data at {path}: set GSSM_TEST_DATA to its folder")
    return path


@pytest.fixture(scope="session")
def flanders(test_data: Path) -> Path:
    """One site of the test data, in Flanders."""
    return test_data / "sites" / "flanders"
