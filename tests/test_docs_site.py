"""The site of docs: links lead somewhere, tables come from the code, nothing from another host."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import gssm
from docs_blocks import ROOT, blocks, pages

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")
# What a page loads by itself, as it is opened; not what a reader may follow.
LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "form": ("action",),
}
REMOTE = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
REMOTE_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?:https?:)?//""", re.IGNORECASE)


def prose(page):
    """Text of a page without its blocks and code."""
    text = page.read_text("utf-8")
    for block in blocks(page):
        text = text.replace(block.text, "\n")
    return re.sub(r"`[^`\n]+`", "", text)


def anchor(title):
    """Anchor of a heading, as GitHub and MyST make it."""
    kept = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, part = target.partition("#")
        there = page if not path else (page.parent / path)
        assert there.exists() or path.startswith("_made/"), target
        if part:
            titles = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE)
            assert part in map(anchor, titles), target


def test_every_page_has_its_place_in_the_index():
    (index,) = (page for page in pages() if page.name == "index.md")
    trees = [block.text for block in blocks(index) if block.kind == "{toctree}"]
    listed = [line for text in trees for line in text.splitlines() if re.fullmatch(r"[\w-]+", line)]
    assert len(listed) == len(set(listed))
    assert {*listed, "index"} == {page.stem for page in DOCS.glob("*.md")}


def test_the_reference_has_every_public_name():
    listed = re.findall(r"^   gssm\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(gssm.__all__)


def test_what_contributors_are_told_is_there():
    """Files exist, and the names in capitals and classes of a row are in a module of that row."""
    text = (DOCS / "contributing.md").read_text("utf-8")
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| `")]
    assert len(rows) > 25
    for _, first, *rest in rows:
        paths = re.findall(r"`([\w/.]+)`", first)
        assert all((ROOT / path).exists() for path in paths), paths
        modules = [path for path in paths if re.fullmatch(r"gssm/[\w/]+\.py", path)]
        homes = [importlib.import_module(path[:-3].replace("/", ".")) for path in modules]
        homes += [importlib.import_module("gssm.schema")]
        names = re.findall(r"`(_?[A-Z]\w+)`", " ".join(rest))
        for name in names if modules else ():
            assert any(hasattr(home, name) for home in homes), (paths, name)
    for path in re.findall(r"`((?:gssm|tests|benchmarks|docs)/[\w/]+\.py)`", text):
        assert (ROOT / path).exists(), path


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))

    def load(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def test_the_tables_have_every_variable_command_and_notebook(extension):
    pytest.importorskip("sphinx")
    from gssm.schema import HISTORY_BASES, VARIABLES
    from gssm.shell import COMMANDS

    made = extension("made")
    shown = made.variables() + made.history_variables()
    assert set(re.findall(r"`(\w+)`", shown)) == {*VARIABLES}
    assert len(made.history_variables().splitlines()) == 2 + len(HISTORY_BASES)
    commands = made.commands()
    for command in COMMANDS:
        assert f"`gssm {command}" in commands
    assert "`--catalog`" in commands
    assert "`gssm archive build`" in commands
    titles = made.notebooks(ROOT / "notebooks")
    for file in (ROOT / "notebooks").glob("*.py"):
        assert f"notebooks/{file.name}" in titles
    assert "| **ensemble** |" in made.skill()


class _Loads(HTMLParser):
    """Addresses that a page loads by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in LOADED.get(tag, ()) and value:
                self.found.append(value)
            if name == "style" and value and REMOTE_STYLE.search(value):
                self.found.append("http://in-a-style")


def remote(folder):
    """What the built pages and styles load from another host."""
    found = []
    for page in folder.rglob("*.html"):
        parser = _Loads()
        text = page.read_text("utf-8")
        parser.feed(text)
        found += [(page.name, value) for value in parser.found if REMOTE.match(value)]
        found += [(page.name, "a style") for _ in REMOTE_STYLE.findall(text)]
    for style in folder.rglob("*.css"):
        found += [(style.name, "a style") for _ in REMOTE_STYLE.findall(style.read_text("utf-8"))]
    return found


def test_what_is_loaded_from_elsewhere_would_be_found(tmp_path):
    lines = (
        '<script src="//a.example/x.js"></script>',
        '<link rel="stylesheet" href="https://a.example/x.css">',
        '<div style="background: url(https://a.example/x.png)"></div>',
        '<img src="here.png"><a href="https://a.example">a link is none</a>',
    )
    (tmp_path / "a.html").write_text("\n".join(lines))
    (tmp_path / "a.css").write_text("@import 'https://a.example/font.css';")
    assert len(remote(tmp_path)) == 5  # the style is found twice


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("pydata_sphinx_theme")
    made = ("_build", "_made", "api", "__pycache__")
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns(*made))
    for name in ("gssm", "notebooks", "CHANGELOG.md", "CITATION.cff"):
        (tmp_path / name).symlink_to(ROOT / name)
    words = ("-W", "--keep-going", "-q", "-b", "html", "docs", "site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "site"
    assert len(list((site / "api").glob("gssm.*.html"))) == len(gssm.__all__)
    assert len(list((site / "_images").glob("*.png"))) >= 8
    assert "<math" in (site / "how.html").read_text("utf-8")
    assert not remote(site)
