"""What `import gssm` brings, and that the public names are there and documented."""

import inspect
import subprocess
import sys

import pytest
import xarray as xr

import gssm

HEAVY = ("torch", "rasterio", "xgboost", "sklearn", "numba", "stackstac", "matplotlib", "pystac")


def test_import_loads_nothing_heavy():
    program = f"import gssm, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", gssm.__all__)
def test_public_names_are_there_and_documented(name):
    assert inspect.getdoc(getattr(gssm, name))


def test_functions_take_few_options():
    for name in gssm.__all__:
        member = getattr(gssm, name)
        if inspect.isfunction(member):
            kinds = [p.kind for p in inspect.signature(member).parameters.values()]
            assert kinds.count(inspect.Parameter.KEYWORD_ONLY) <= 8, name
            assert inspect.Parameter.VAR_KEYWORD not in kinds, name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'predictt'"):
        gssm.predictt  # noqa: B018


def test_the_accessor_has_the_functions():
    methods = {n for n in dir(xr.Dataset().gssm) if not n.startswith("_")}
    assert methods == {"correct", "build_features", "predict", "to_zarr", "plot"}


def test_version():
    assert gssm.__version__.startswith("0.")


@pytest.mark.parametrize("name", ["predict", "search", "correct", "matchups"])
def test_a_verb_stays_a_verb_after_its_module_is_imported(name):
    program = f"import gssm.{name}, gssm; print(callable(gssm.{name}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr
