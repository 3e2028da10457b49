"""Every notebook runs from top to bottom; the longer ones with `-m slow` and `make notebooks`."""

from __future__ import annotations

import ast
import builtins
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

import gssm

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.py"))
QUICK = ("01_quickstart",)


def source_of(notebook: Path) -> str:
    """Code of all cells, in order."""
    cells = jupytext.read(notebook).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def test_there_are_notebooks() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{n:02d}" for n in range(1, 9)]


@pytest.mark.parametrize(
    "notebook",
    [p if p.stem in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    client = NotebookClient(
        jupytext.read(notebook),
        timeout=290,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [one for cell in client.nb.cells for one in cell.get("outputs", ())]
    assert any("image/png" in one.get("data", {}) for one in outputs)
    warned = [one["text"] for one in outputs if one.get("name") == "stderr"]
    assert not [text for text in warned if "Warning" in text]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_compiles_and_its_names_are_there(notebook: Path) -> None:
    """What is imported from gssm, and what is called of it, exists and is public."""
    tree = ast.parse(source_of(notebook), str(notebook))
    compile(tree, str(notebook), "exec")
    imported = [
        (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (node.module or "").partition(".")[0] == "gssm"
    ]
    for module, name in imported:
        found = import_module(module)
        assert hasattr(found, name), f"{module} has no {name}"
        assert not name.startswith("_")
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "gssm"
    }
    # `gssm.simulate` and the like would be modules that somebody imported before.
    assert called <= set(gssm.__all__)
    assert imported or called


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_name_comes_from_nowhere(notebook: Path) -> None:
    """Each name that a cell reads is made by it or by one before it, also for a real place."""
    known = set(dir(builtins))
    for cell in jupytext.read(notebook).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        made = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and _is_made(n)}
        made |= {
            (alias.asname or alias.name).partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                made |= {
                    argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)
                }
                made |= {getattr(node, "name", "")}
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert read <= known | made, read - known - made
        known |= made


def _is_made(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize("notebook", NOTEBOOKS[1:], ids=lambda path: path.stem)
def test_one_line_leads_to_a_real_place(notebook: Path) -> None:
    text = source_of(notebook)
    assert re.findall(r"^SIMULATED = (.*)$", text, re.MULTILINE) == ["True"]
    tree = ast.parse(text)
    switches = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "SIMULATED"
    ]
    simulated, real = (_stored(switches[0].body), _stored(switches[0].orelse))
    # What later cells read of the first branch, the other has too.
    later: set[str] = set()
    for node in tree.body[tree.body.index(switches[0]) + 1 :]:
        if node not in switches:
            later |= _read_outside_of_simulation(node)
    missing = (simulated & later) - real - set().union(*(_stored(n.orelse) for n in switches))
    assert not missing, f"{notebook.name} has no {missing} for a real place"


def _stored(statements: list[ast.stmt]) -> set[str]:
    nodes = [node for one in statements for node in ast.walk(one)]
    inner = {name for node in nodes if isinstance(node, ast.comprehension) for name in _made(node)}
    return {name for one in statements for name in _made(one)} - inner


def _made(node: ast.AST) -> set[str]:
    """Names that are set in a statement, or by the ``for`` of a comprehension."""
    inside = node.target if isinstance(node, ast.comprehension) else node
    return {one.id for one in ast.walk(inside) if isinstance(one, ast.Name) and _is_made(one)}


def _read_outside_of_simulation(statement: ast.stmt) -> set[str]:
    """Names that a statement reads, but for what it does where the truth is known."""
    found: set[str] = set()
    todo: list[Any] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.If, ast.IfExp)) and re.search(
            r"SIMULATED|is not None", ast.unparse(node.test)
        ):
            todo += node.orelse if isinstance(node.orelse, list) else [node.orelse]
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        todo += ast.iter_child_nodes(node)
    return found
