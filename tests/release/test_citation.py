"""CITATION.cff keeps the rules of the Citation File Format 1.2.0 for what it uses of it.

They are those of its schema (github.com/citation-file-format, schema.json of 1.2.0): required
keys, kinds of work, form of a DOI; a key that is not listed here is refused, since the schema
refuses keys that it does not know.
"""

import re

import pytest
import yaml
from release.distributions import PROJECT, ROOT

from gssm.archive import encoding

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
REQUIRED = {"cff-version", "message", "title", "authors"}
KEYS = REQUIRED | {
    *("abstract", "type", "version", "license", "references", "doi", "url", "keywords"),
    *("date-released", "repository-code", "preferred-citation", "contact"),
}
REFERENCE_REQUIRED = {"type", "title", "authors"}
REFERENCE_KEYS = REFERENCE_REQUIRED | {
    "year",
    "publisher",
    "doi",
    "url",
    "journal",
    "notes",
    "status",
}
PERSON, ENTITY = {"family-names", "given-names", "orcid", "affiliation"}, {"name", "website"}
DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+")


def faults(citation):
    """Tell what of a citation the format does not allow."""
    found = [f"no {key}" for key in REQUIRED - set(citation)]
    found += [f"unknown {key}" for key in set(citation) - KEYS]
    found += ["not version 1.2.0"] * (citation.get("cff-version") != "1.2.0")
    found += ["no kind"] * (citation.get("type", "software") not in ("software", "dataset"))
    for work in (citation, *citation.get("references", [])):
        for author in work.get("authors", []) or [{}]:
            known = set(author) <= PERSON or set(author) <= ENTITY
            found += [f"author {author}"] * (not author or not known)
        found += [f"doi {doi}" for doi in [work.get("doi", "10.1000/x")] if not DOI.fullmatch(doi)]
    for work in citation.get("references", []):
        found += [f"reference without {key}" for key in REFERENCE_REQUIRED - set(work)]
        found += [f"reference with {key}" for key in set(work) - REFERENCE_KEYS]
    return found


def test_the_citation_is_valid():
    assert faults(CITATION) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cff-version": "1.3.0"}, "not version 1.2.0"),
        ({"colour": "blue"}, "unknown colour"),
        ({"doi": "https://doi.org/10.5281/zenodo.1"}, "doi https"),
        ({"authors": []}, "author"),
        ({"references": [{"title": "x", "type": "article"}]}, "reference without authors"),
    ],
)
def test_faults_are_told(change, told):
    assert any(told in fault for fault in faults({**CITATION, **change}))


def test_it_cites_the_software_and_the_paper():
    assert CITATION["title"] == PROJECT["name"]
    assert CITATION["type"] == "software"
    assert CITATION["license"] == "Apache-2.0"
    assert CITATION["authors"] == [{"name": author["name"]} for author in PROJECT["authors"]]
    paper, archive = CITATION["references"]
    assert paper["type"] == "article"
    assert archive["doi"] == encoding.DOI
    assert (paper["title"], paper["authors"]) == (archive["title"], archive["authors"])
    assert paper["title"] in encoding.CITATION
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names'][0]}." in encoding.CITATION
    assert str(paper["year"]) in encoding.CITATION
