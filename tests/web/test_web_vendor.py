import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vendor import MANIFEST, PACKAGES, VENDOR, entry

STATIC = VENDOR.parent
OWN = sorted(p for p in STATIC.rglob("*") if p.is_file() and VENDOR not in p.parents)
ENTRIES = {one["name"]: one for one in json.loads((VENDOR / MANIFEST).read_text())["packages"]}
# Who made the data, as an attribution must say, and names of XML that nobody asks for.
ATTRIBUTED = {
    "https://dataspace.copernicus.eu/",
    "https://www.usgs.gov/landsat-missions",
    "https://www.naturalearthdata.com/",
    "http://www.w3.org/2000/svg",
}
LICENCES = {"BSD-3-Clause", "MIT", "ISC"}
MEGABYTE = 1_000_000


class Tags(HTMLParser):
    """Tags of a page with their attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def tags():
    parser = Tags()
    parser.feed((STATIC / "index.html").read_text())
    return parser.found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_what_is_vendored_is_what_was_pinned(package):
    assert ENTRIES[package.name] == entry(package, VENDOR / package.name)
    assert set(ENTRIES[package.name]["sha256"]) == set(package.files)
    assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package.integrity)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_each_package_comes_with_a_licence_that_allows_it(package):
    assert package.licence in LICENCES
    (name,) = [one for one in package.files if one.startswith("LICENSE")]
    text = (VENDOR / package.name / name).read_text()
    assert "copyright" in text.lower()


def test_nothing_else_lies_among_what_is_vendored():
    known = {VENDOR / p.name / f for p in PACKAGES for f in p.files} | {VENDOR / MANIFEST}
    assert {path for path in VENDOR.rglob("*") if path.is_file()} == known


def test_the_manifest_tells_a_changed_file(tmp_path):
    package = PACKAGES[1]
    for name in package.files:
        (tmp_path / name).write_bytes((VENDOR / package.name / name).read_bytes())
    assert entry(package, tmp_path)["sha256"] == ENTRIES[package.name]["sha256"]
    (tmp_path / "LICENSE").write_text("other")
    changed = entry(package, tmp_path)["sha256"]
    assert changed != ENTRIES[package.name]["sha256"]
    assert changed["LICENSE"] == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_our_own_files_name_no_other_host(path):
    if path.suffix in (".html", ".css", ".js", ".svg"):
        found = set(re.findall(r"https?://[^\s\"'`)<>]+", path.read_text()))
        assert found <= ATTRIBUTED
        assert not re.findall(r"[\"'(]//[a-z]", path.read_text())


def test_the_page_has_neither_scripts_nor_styles_in_line(tags):
    for tag, attributes in tags:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert tag != "style"
        if tag == "script":
            assert attributes["src"].startswith("static/")
        if tag in ("link", "img"):
            assert attributes.get("href", attributes.get("src")).startswith("static/")
    for path in STATIC.joinpath("js").glob("*.js"):
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_every_module_is_fetched_at_once(tags):
    named = {Path(a["href"]).name for t, a in tags if a.get("rel") == "modulepreload"}
    modules = {path.name for path in STATIC.joinpath("js").glob("*.js")}
    assert named == modules - {"early.js", "main.js"}


def test_every_control_has_a_name(tags):
    labelled = {a["for"] for t, a in tags if t == "label" and "for" in a}
    inside = 0
    text = (STATIC / "index.html").read_text()
    wrapped = set(re.findall(r"<label[^>]*>(?:(?!</label>).)*?id=\"([^\"]+)\"", text, re.DOTALL))
    for tag, attributes in tags:
        if tag in ("input", "select", "textarea"):
            inside += 1
            assert attributes["id"] in labelled | wrapped
        if tag == "button" and "icon" in attributes.get("class", ""):
            assert attributes["aria-label"]
    assert inside > 15


def test_all_of_it_is_small():
    def weight(paths):
        return sum(len(gzip.compress(p.read_bytes(), 9)) for p in paths if p.is_file())

    own, every = weight(OWN), weight(STATIC.rglob("*"))
    print(f"own files {own / 1e3:.0f} kB, all {every / 1e3:.0f} kB, compressed")
    assert own < 0.1 * MEGABYTE
    assert every < 1.0 * MEGABYTE
