"""The wheel does its work where pip has put it: an empty environment, far from the sources.

Takes minutes and some gigabytes of disk, so only `make dist` and `make test-slow` run it.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from release.distributions import PROJECT, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CONSTRAINTS = ROOT / "constraints.txt"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and a folder to work in."""

    python: Path
    folder: Path

    def run(self, *command: str) -> str:
        """Run a command of the environment in the folder; it must succeed."""
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "GSSM"))}
        path = f"{self.python.parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            [str(self.python.parent / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**environment, "PATH": path, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pip(self, *arguments: str) -> str:
        """Install with the tested versions."""
        options = ["-q", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
        return self.run("python", "-m", "pip", "install", *options, *arguments)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    (folder / "elsewhere").mkdir()
    environment = Installed(folder / "env" / "bin" / "python", folder / "elsewhere")
    torch = next(one for one in CONSTRAINTS.read_text().split() if one.startswith("torch=="))
    environment.pip(torch)
    environment.pip(str(wheel))
    yield environment
    shutil.rmtree(folder / "env")


def test_it_is_this_wheel_and_lacks_nothing(installed, wheel):
    found = installed.run("python", "-c", "import gssm; print(gssm.__version__, gssm.__file__)")
    version, file = found.split()
    assert version == PROJECT["version"]
    assert Path(file).is_relative_to(installed.python.parents[1])
    assert "No broken requirements" in installed.run("python", "-m", "pip", "check")


def test_the_command(installed):
    assert installed.run("gssm", "--version").strip() == f"gssm {PROJECT['version']}"
    told = installed.run("gssm", "--help")
    assert all(name in told for name in ("search", "predict", "train", "archive", "demo"))


def test_the_demo(installed):
    told = installed.run("gssm", "demo", "--out", "demo", "--size", "40")
    assert "ubrmse" in told
    assert (installed.folder / "demo" / "soil_moisture.png").is_file()
    assert (installed.folder / "demo" / "soil_moisture.zarr" / "zarr.json").is_file()


def test_the_default_model_predicts(installed):
    program = """
import sys, numpy as np, gssm
from gssm.demo import _bbox
from gssm.simulate import simulate_scene
truth = simulate_scene("scene", size=40, dates=1)
cube = gssm.open_cube(gssm.search(_bbox(truth), "2000/2099", catalog="scene"), bbox=_bbox(truth))
model = gssm.load_model("default")
sm = gssm.predict(cube, "default").compute()
values = sm["soil_moisture"].values
print(sorted(model.weights), float(np.isfinite(values).mean()), float(np.nanmean(values)))
loaded = [name for name in ("torch", "xgboost", "sklearn") if name in sys.modules]
print(loaded)
"""
    first, loaded = installed.run("python", "-c", program).strip().splitlines()
    share, mean = (float(word) for word in first.rpartition("] ")[2].split())
    assert "'random_forest', 'tabnet', 'xgboost'" in first
    assert share > 0.7
    assert 0.02 < mean < 0.6
    assert loaded == "[]"


def test_what_needs_the_web_extra_says_so(installed):
    program = "from gssm.cli import app; import sys; sys.argv = ['gssm', 'serve']; app()"
    done = subprocess.run(
        [str(installed.python), "-c", program], capture_output=True, text=True, cwd=installed.folder
    )
    assert done.returncode != 0
    assert 'pip install "gssm[web]"' in " ".join((done.stdout + done.stderr).split())


def test_type_checkers_see_the_types(installed):
    installed.pip("mypy")
    script = installed.folder / "script.py"
    script.write_text(
        "import gssm\n"
        'sm = gssm.predict(gssm.open_cube(gssm.search((3.0, 50.8, 3.1, 50.9), "2018-05")))\n'
        "reveal_type(sm)\n"
    )
    told = installed.run("python", "-m", "mypy", "--strict", "script.py")
    assert 'Revealed type is "xarray.core.dataset.Dataset"' in told
    script.write_text("import gssm\n\ngssm.predict('a path')\n")
    wrong = subprocess.run(
        [str(installed.python), "-m", "mypy", "--strict", "script.py"],
        capture_output=True,
        text=True,
        cwd=installed.folder,
    )
    assert "[arg-type]" in wrong.stdout
