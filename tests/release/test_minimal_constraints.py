import pytest
from release.distributions import PROJECT
from release.minimal import FILE, floors, text


def test_the_constraints_are_the_floors_of_pyproject():
    assert FILE.read_text() == text(PROJECT), "run python tests/release/minimal.py"
    assert len(floors(PROJECT)) > 40


def test_a_dependency_without_a_floor_is_refused():
    loose = {"dependencies": ["numpy>=2.0", "xarray"], "optional-dependencies": {"web": []}}
    with pytest.raises(ValueError, match="xarray have no oldest version"):
        floors(loose)


def test_extras_and_ceilings_are_read():
    project = {
        "dependencies": ["dask[array]>=2026.8", "pandas>=2.3,<3"],
        "optional-dependencies": {"web": ["uvicorn>=0.54"]},
    }
    assert floors(project) == {"dask": "2026.8", "pandas": "2.3", "uvicorn": "0.54"}
