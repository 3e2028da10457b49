"""What the wheel and the source distribution hold, and that nothing else is in them."""

import email
import re
import tarfile

import pytest
from release.distributions import PROJECT, ROOT, build, files_of, tracked

INFO = rf"gssm-{re.escape(PROJECT['version'])}\.dist-info"
VENDOR = r"gssm/web/static/vendor"
# Every file of the wheel is of one of these kinds, and each kind is there.
KINDS = {
    "modules": r"gssm/(\w+/)*\w+\.py",
    "marker of types": r"gssm/py\.typed",
    "default model": r"gssm/models/default/(manifest\.json|\w+\.safetensors)",
    "its card": r"gssm/models/default/card(\.md|\.json|_\w+\.png)",
    "the page": r"gssm/web/static/(index\.html|style\.css|favicon\.svg|js/\w+\.js)",
    "what the page brings": rf"{VENDOR}/(manifest\.json|[\w-]+/[\w.-]+\.(js|css|json))",
    "its licences": rf"{VENDOR}/[\w-]+/LICENSE(\.txt)?",
    "metadata": rf"{INFO}/(METADATA|WHEEL|RECORD|entry_points\.txt)",
    "licences": rf"{INFO}/licenses/(LICENSE|NOTICE|{VENDOR}/[\w-]+/LICENSE(\.txt)?)",
}
# What the source distribution may hold beside the package and its own metadata.
SOURCES = r"(gssm|tests|docs|benchmarks|notebooks)/.+"
SOURCE_FILES = {
    *("pyproject.toml", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff"),
    *("Makefile", "constraints.txt", "constraints-minimal.txt", "PKG-INFO", ".gitignore"),
}
MEGABYTE = 1_000_000
# Measured: wheel 2.8 MB (the model 1.3 MB, libraries of the page 0.7 MB), sources 3.8 MB. Beyond
# these bounds something came in that should not.
LARGEST_WHEEL, LARGEST_SDIST = 3.5 * MEGABYTE, 6 * MEGABYTE


@pytest.fixture(scope="module")
def packed(wheel):
    return files_of(wheel)


@pytest.fixture(scope="module")
def metadata(packed):
    (text,) = [data for name, data in packed.items() if name.endswith("/METADATA")]
    return email.message_from_bytes(text)


def test_every_file_of_the_wheel_is_of_a_known_kind(packed):
    unknown = [n for n in packed if not any(re.fullmatch(kind, n) for kind in KINDS.values())]
    assert not unknown


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_in_the_wheel(packed, kind):
    assert any(re.fullmatch(KINDS[kind], name) for name in packed)


def test_the_wheel_has_the_package_as_it_lies_in_the_tree(packed):
    here = {p.relative_to(ROOT).as_posix(): p for p in tracked() if ROOT / "gssm" in p.parents}
    there = {name for name in packed if name.startswith("gssm/")}
    assert there == set(here)
    assert [name for name in there if packed[name] != here[name].read_bytes()] == []


def test_licences_of_others_come_with_their_files(packed):
    texts = {n: data for n, data in packed.items() if re.fullmatch(KINDS["its licences"], n)}
    packages = {n.split("/")[4] for n in packed if n.startswith(VENDOR) and n.count("/") > 4}
    assert {name.split("/")[4] for name in texts} == packages >= {"maplibre-gl", "uplot"}
    (notice,) = [data.decode() for n, data in packed.items() if n.endswith("/NOTICE")]
    for name in texts:
        assert packed[f"gssm-{PROJECT['version']}.dist-info/licenses/{name}"] == texts[name]
        assert name in notice


def test_metadata(metadata):
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0 AND BSD-3-Clause AND ISC AND MIT"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert {"web", "dev"} <= set(metadata.get_all("Provides-Extra"))
    assert metadata.get_payload().startswith("# gssm")


def test_the_wheel_has_the_command_and_suits_every_machine(packed):
    names = {
        name.rpartition("/")[2]: data.decode()
        for name, data in packed.items()
        if INFO[:4] in name and "dist-info/" in name and "licenses" not in name
    }
    assert "gssm = gssm.cli:app" in names["entry_points.txt"]
    assert "Tag: py3-none-any" in names["WHEEL"]


def test_the_wheel_is_small(wheel):
    print(f"wheel {wheel.stat().st_size / MEGABYTE:.2f} MB")
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_the_source_distribution_has_sources_and_nothing_else(sdist):
    packed = files_of(sdist)
    print(f"source distribution {sdist.stat().st_size / MEGABYTE:.2f} MB")
    assert sdist.stat().st_size < LARGEST_SDIST
    assert not [n for n in packed if n not in SOURCE_FILES and not re.fullmatch(SOURCES, n)]
    here = {path.relative_to(ROOT).as_posix() for path in tracked()}
    assert set(packed) - here <= {"PKG-INFO"}
    assert {name for name in here if name.startswith(("gssm/", "tests/"))} <= set(packed)
    assert set(packed) >= SOURCE_FILES


def test_the_wheel_of_the_source_distribution_is_the_same(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert files_of(build("wheel", tmp_path / "built", source)) == files_of(wheel)
