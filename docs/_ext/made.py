"""What pages include and nobody writes by hand: tables of the code, pictures of a scene.

It goes to ``docs/_made``, which git ignores. A file is written only where it changes, so that
Sphinx builds again only what did.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from gallery import draw_gallery
from sphinx.application import Sphinx

FOLDER = "_made"
# Of the variables: how their names begin, in the order of the page.
GROUPS = {
    "Radar": ("vv", "vh", "incidence_angle"),
    "Sentinel-2": tuple(f"s2_b{band}" for band in (*range(1, 9), "8a", *range(9, 13))),
    "Landsat": tuple(f"landsat_b{band}" for band in range(1, 12)),
    "Elevation": ("dsm",),
    "Which image filled a pixel": (
        *("s2_age", "landsat_age", "s2_mask", "landsat_mask", "read_failed"),
    ),
}
# Of the scores of the default model: how they are called in its manifest, and digits.
SCORES = {
    "R²": ("r2", 2),
    "RMSE": ("rmse", 3),
    "bias": ("bias", 3),
    "median station r": ("station_r", 2),
    "median station ubRMSE": ("station_ubrmse", 3),
    "coverage of the 90 % interval": ("coverage", 2),
}
PRODUCT = ("soil_moisture", "soil_moisture_uncertainty")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def variables() -> str:
    """Write the variables of the cube, of what is made of it and of the product."""
    from gssm.schema import VARIABLES

    grouped = {name for names in (*GROUPS.values(), PRODUCT) for name in names}
    past = {name for name in VARIABLES if _is_of_the_past(name)}
    derived = tuple(name for name in VARIABLES if name not in grouped | past)
    groups = {**GROUPS, "Made from these": derived, "The product": PRODUCT}
    text = ""
    for title, names in groups.items():
        rows = [_variable(VARIABLES[name]) for name in names]
        text += f"**{title}**\n\n" + table(("variable", "units", "what", "range"), rows) + "\n"
    return text


def _variable(row) -> tuple[str, ...]:
    low, high = row.valid_range or ("", "")
    return f"`{row.name}`", row.units, row.long_name, f"{low} to {high}" if row.valid_range else ""


def _is_of_the_past(name: str) -> bool:
    from gssm.schema import POSITIONS, REFERENCES

    return name in {*REFERENCES, *POSITIONS}


def history_variables() -> str:
    """Write the bases of the references of the past and their statistics."""
    from gssm.schema import HISTORY_BASES, HISTORY_STATISTICS, POSITION, VARIABLES

    suffixes = [*HISTORY_STATISTICS, POSITION]
    rows = [
        (f"`{base}`", VARIABLES[base].units, ", ".join(f"`{base}_{s}`" for s in suffixes))
        for base in HISTORY_BASES
    ]
    return table(("of", "units", "references, and position between them (1)"), rows)


def specs() -> str:
    """Write the feature specs."""
    from gssm.schema import SPECS

    rows = [
        (f"`{s.name}`", s.level, str(len(s.features)), _features(s.features))
        for s in SPECS.values()
    ]
    return table(("spec", "level", "features", "which"), rows)


def _features(names: Sequence[str]) -> str:
    plain = [f"`{name}`" for name in names if not _is_of_the_past(name)]
    more = len(names) - len(plain)
    return ", ".join(plain) + (f", and {more} of the past (below)" if more else "")


def skill() -> str:
    """Write the scores of the default model at stations held out, from its manifest."""
    manifest = json.loads(files("gssm").joinpath("models/default/manifest.json").read_text("utf-8"))
    (held_out,) = (s for s in manifest["skill"] if s["protocol"] == "station")
    names = {"soil_moisture": "**ensemble**", **{n: n for n in manifest["weights"]}}
    rows = []
    for name, shown in names.items():
        scores = held_out["scores"][name]
        known = ((scores.get(metric), digits) for metric, digits in SCORES.values())
        cells = ("" if value is None else f"{value:.{digits}f}" for value, digits in known)
        weight = manifest["weights"].get(name)
        rows.append((shown, "" if weight is None else f"{weight:.2f}", *cells))
    whole = held_out["scores"]["soil_moisture"]
    text = table(("", "weight", *SCORES), rows)
    return text + f"\n{whole['N']} rows of {whole['stations']} stations; m³ m⁻³.\n"


def commands() -> str:
    """Write the commands of the shell with their options, as the program knows them."""
    from typer.main import get_command

    from gssm.cli import app

    return _group("gssm", get_command(app), 2)


def _group(name: str, group, level: int) -> str:
    import click

    context, text = click.Context(group), ""
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        whole = f"{name} {word}"
        if hasattr(command, "list_commands"):
            text += f"{'#' * level} `{whole}`\n\n{_help(command)}\n\n" + _group(
                whole, command, level + 1
            )
        else:
            text += f"{'#' * level} `{whole}`\n\n{_help(command)}\n\n{_options(command)}\n"
    return text


def _help(command) -> str:
    return inspect.cleandoc(command.help or "").replace("\n\n\n", "\n\n")


def _options(command) -> str:
    rows = []
    for option in command.params:
        if getattr(option, "hidden", False) or option.name == "help":
            continue
        is_option = option.param_type_name == "option"
        names = ", ".join(f"`{n}`" for n in (*option.opts, *option.secondary_opts))
        what = (getattr(option, "help", "") or "").replace("|", "\\|")
        rows.append((names if is_option else f"`{option.name.upper()}`", what, _default(option)))
    return table(("option", "what", "default"), rows) if rows else ""


def _default(option) -> str:
    if option.required:
        return "needed"
    value = option.default
    is_none = value is None or value is False or value == "" or callable(value)
    return "" if is_none or "Sentinel" in type(value).__name__ else f"`{value}`"


def notebooks(folder: Path) -> str:
    """Write the titles of the notebooks, and what each says it shows."""
    rows = []
    for file in sorted(folder.glob("*.py")):
        text = "\n".join(
            line.removeprefix("#").strip() for line in file.read_text("utf-8").splitlines()
        )
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        assert title, f"{file.name} has no title"
        after = text[title.end() :].strip().split("\n\n")[0].replace("\n", " ")
        first = re.split(r"(?<=[.:])\s", after)[0].rstrip(":")
        rows.append((f"`notebooks/{file.name}`", title[1], first.replace("|", "\\|")))
    return table(("notebook", "title", "what"), rows)


def write(file: Path, text: str) -> None:
    """Write a file unless it has this text."""
    if not file.is_file() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")


def make(app: Sphinx) -> None:
    """Make everything, before Sphinx reads the pages."""
    source = Path(app.srcdir)
    folder = source / FOLDER
    folder.mkdir(exist_ok=True)
    made: dict[str, Callable[[], str]] = {
        "variables.md": variables,
        "history.md": history_variables,
        "specs.md": specs,
        "skill.md": skill,
        "commands.md": commands,
        "notebooks.md": lambda: notebooks(source.parent / "notebooks"),
    }
    for name, text in made.items():
        write(folder / name, text())
    draw_gallery(folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make what is included before the pages are read."""
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
