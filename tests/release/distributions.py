"""The wheel and the source distribution: how the tests build them and read what they hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# A folder with both, built before: `make dist` tests what it leaves in dist/.
GIVEN = "GSSM_DIST"


def build(kind: str, folder: Path, source: Path = ROOT) -> Path:
    """Build the ``wheel`` or ``sdist`` of a source tree into a folder, without the network."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}"]
    done = subprocess.run(
        [*command, "--outdir", str(folder), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return only(kind, folder)


def given_or_built(kind: str, folder: Path) -> Path:
    """Take the distribution that `GIVEN` names, or build it."""
    given = os.environ.get(GIVEN)
    return only(kind, ROOT / given) if given else build(kind, folder)


def only(kind: str, folder: Path) -> Path:
    """Return the one distribution of a kind in a folder."""
    (found,) = folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return found


def files_of(distribution: Path) -> dict[str, bytes]:
    """Read every file of a wheel or of a source distribution, this without its first folder."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as archive:
            return {n: archive.read(n) for n in archive.namelist() if not n.endswith("/")}
    with tarfile.open(distribution) as archive:
        members = [member for member in archive if member.isfile()]
        return {m.name.partition("/")[2]: archive.extractfile(m).read() for m in members}


def tracked() -> list[Path]:
    """Files of the tree: what git knows or would add; without git, everything but caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        cwd=ROOT,
    )
    if listed.returncode == 0 and (ROOT / ".git").exists():
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    hidden = re.compile(r"(^|/)(\.[^/]+|__pycache__|dist)(/|$)")
    paths = [path for path in ROOT.rglob("*") if path.is_file()]
    return [path for path in paths if not hidden.search(path.relative_to(ROOT).as_posix())]
