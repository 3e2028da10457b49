"""The version is written in pyproject.toml and read from there; what repeats it agrees."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest
import yaml
from release.distributions import PROJECT, ROOT

import gssm

VERSION = PROJECT["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
HEADING = re.compile(r"^## \[([^]]+)](?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def test_the_package_says_it():
    stale = "the environment has another gssm; install this one again: pip install -e ."
    assert version("gssm") == VERSION, stale
    assert gssm.__version__ == VERSION


def test_the_command_says_it():
    program = "import sys; from gssm.cli import app; sys.argv = ['gssm', '--version']; app()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == f"gssm {VERSION}", done.stderr


def test_products_and_items_say_it():
    from gssm.archive import encoding

    attrs = encoding.product_attrs()
    assert attrs["product_version"] == VERSION
    assert f"gssm {VERSION}" in str(attrs["software_versions"])


def test_the_citation_says_it():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_the_changelog_says_it():
    # Before the first release there is no numbered heading; what comes next lies above them.
    headings = HEADING.findall(CHANGELOG)
    numbered = [(name, date) for name, date in headings if name != "Unreleased"]
    assert len(headings) == CHANGELOG.count("\n## ")
    assert all(date for _, date in numbered)
    if numbered:
        assert numbered[0][0] == VERSION
    else:
        assert headings[0][0] == "Unreleased"


def test_no_module_repeats_it():
    literal = re.compile(rf"[\"']{re.escape(VERSION)}[\"']")
    # The schema of the API shows what a version looks like.
    shown = re.compile(r"examples=\[.*?\]")
    for path in (ROOT / "gssm").rglob("*.py"):
        assert not literal.search(shown.sub("", path.read_text())), path


@pytest.mark.parametrize("wanted", ["0.1.0", "1.2.3rc1"])
def test_the_headings_of_a_changelog_are_read(wanted):
    text = f"# Changelog\n\n## [Unreleased]\n\n- x\n\n## [{wanted}] - 2026-01-02\n"
    assert HEADING.findall(text) == [("Unreleased", ""), (wanted, "2026-01-02")]
