from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A first read or compilation may be slow: pytest-timeout watches the time instead.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what is imported by now: it takes a tenth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


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


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Catalogue of a small simulated scene of two dates; not to be changed."""
    from gssm.simulate import simulate_scene

    folder = tmp_path_factory.mktemp("scene") / "catalogue"
    simulate_scene(folder, size=40, dates=2)
    return folder


@pytest.fixture(autouse=True)
def _no_read_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own read cache out of the tests."""
    for name in ("GSSM_READ_CACHE", "GSSM_READ_CACHE_GB", "GSSM_READ_CACHE_DAYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_figure_is_handed_on() -> Iterator[None]:
    """Close what a test has drawn, so that the next can tell whether it left a figure open."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
