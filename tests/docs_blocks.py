"""The code blocks of README.md and the pages of docs, and what in them stands for a user's own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^( *)(`{3,})(.*)$")
# What is no code: data, text, and Sphinx' own directives.
OTHER = ("", "yaml", "text", "{toctree}", "{include}", "{literalinclude}", "{eval-rst}")
PYTHON, SHELL = ("python",), ("sh", "bash")


@dataclass(frozen=True)
class Block:
    """One fenced block: the page and the line that it begins in."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def name(self) -> str:
        """As an editor finds it."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README.md and every page of the site that is written by hand."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page."""
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    for number, line in lines:
        opened = FENCE.match(line)
        if not opened:
            continue
        indent, fence, info = opened.groups()
        inside = []
        for _, body in lines:
            if body.strip() == fence:
                break
            inside.append(body.removeprefix(indent))
        else:
            raise AssertionError(f"{page.name}:{number}: the block is not closed")
        kind = (info.split() or [""])[0]
        yield Block(page.name, number, kind, "\n".join(inside) + "\n")


def commands(text: str) -> list[list[str]]:
    """Words of each command of a shell block; comments are left out, long lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]
