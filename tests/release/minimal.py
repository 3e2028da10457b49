"""The oldest versions that pyproject.toml allows; run as a script it writes them to a file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "constraints-minimal.txt"
HEAD = """\
# The oldest versions that pyproject.toml allows, one for each `>=` of it: `make test-minimal`
# installs with them. What these need in turn is free. Made by tests/release/minimal.py.
"""
EXTRAS = ("web",)  # of users; the tools of developers have no oldest version
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<floor>[\d.]+)(,<[\d.]+)?")


def floors(project: dict) -> dict[str, str]:
    """Return the oldest version of every dependency of users, by name."""
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for name in EXTRAS for one in extras[name])]
    matched = {one: REQUIREMENT.fullmatch(one) for one in wanted}
    if loose := [one for one, match in matched.items() if match is None]:
        raise ValueError(f"{', '.join(loose)} have no oldest version; write it as name>=version.")
    return {match["name"]: match["floor"] for match in matched.values()}


def text(project: dict) -> str:
    """Return the constraints, as pip reads them."""
    lines = [f"{name}=={floor}\n" for name, floor in sorted(floors(project).items())]
    return HEAD + "".join(lines)


if __name__ == "__main__":
    FILE.write_text(text(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]))
