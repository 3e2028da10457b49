"""The shell's command for side-by-side reports: ``gssm compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gssm import errors
from gssm.shell import app, err, out, sentences

if TYPE_CHECKING:
    import pandas as pd

    from gssm.compare.sources import Product

OWN = "gssm"
NO_MODEL = "none"


@app.command()
@sentences
def compare(
    stations: Annotated[
        Path, typer.Argument(help="Samples (a table), an ISMN download or USCRN files.")
    ],
    products: Annotated[
        list[str] | None,
        typer.Argument(help="Columns of the table, or NAME=PATH of a product or an archive."),
    ] = None,
    source: Annotated[
        str, typer.Option(help="What STATIONS is: samples, ismn, uscrn or table.")
    ] = "samples",
    model: Annotated[
        str,
        typer.Option(
            help="Model that scores the samples first: default, a bundle's path, or none."
        ),
    ] = "",
    window: Annotated[
        str, typer.Option(help="Largest time between two values, or 'daily' for daily means.")
    ] = "12h",
    nearest: Annotated[
        float,
        typer.Option(help="Metres to the nearest cell with a value; 0 for the station's own."),
    ] = 0,
    porosity: Annotated[
        float, typer.Option(help="Of the soil, for products in percent of saturation.")
    ] = 0,
    flagged: Annotated[
        bool, typer.Option(help="Keep values that a product's own flags advise against.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Also write tables and figures to a new folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace that folder.")] = False,
) -> None:
    """Compare products with measurements, on the same rows: the paper's Tables 4 and 5.

    Example: `gssm compare stations_l2.parquet pred_reference`. Rows of networks that taught
    the model are left out. With `--source ismn` products are files:
    `gssm compare ISMN.zip map=flanders.zarr smap=SPL3SMP --source ismn`
    """
    from gssm.archive.places import refuse_existing
    from gssm.compare.report import compare as report
    from gssm.compare.saving import MARKER
    from gssm.training.measured import read_measured

    if folder is not None:
        refuse_existing(folder, overwrite, (MARKER,))
    table = read_measured(stations, source, ("samples", "ismn", "uscrn", "table"))
    named: dict[str, Product] = {}
    if (model or ("default" if source == "samples" else NO_MODEL)) != NO_MODEL:
        from gssm.models.bundle import load_model

        named[OWN] = load_model(model or "default")
    for word in products or ():
        name, product = _product(word, table, porosity or None)
        if name in named:
            raise errors.RequestError(
                f"two products are called {name!r}; give one another name: NAME={word}."
            )
        named[name] = product
    with err.status("comparing"):
        found = report(
            named,
            table,
            window=window,
            method="nearest" if nearest else "cell",
            max_distance=nearest or 1000.0,
            flagged=flagged,
        )
    out.print(str(found), highlight=False, soft_wrap=True)
    if folder is not None:
        for file in found.save(folder, overwrite=overwrite):
            out.print(f"wrote {file}", highlight=False, soft_wrap=True)


def _product(word: str, table: pd.DataFrame, porosity: float | None) -> tuple[str, Product]:
    """Name and product of an argument such as ``pred_reference`` or ``smap=SPL3SMP``."""
    name, equals, place = word.partition("=")
    place = place if equals else word
    if place in table:
        return (name if equals else word), place
    if "://" in place:
        return (name if equals else place.rstrip("/").rpartition("/")[2]), place
    from gssm.archive.opening import archive_exists
    from gssm.compare.layouts import LAYOUTS
    from gssm.compare.opening import is_by_unit, open_product

    kind, colon, rest = place.partition(":")
    layout = kind if colon and kind in LAYOUTS else None
    path = Path(rest if layout else place)
    if not path.exists():
        raise errors.RequestError(
            f"{place!r} is neither a column of the table nor a path; give one of its columns, or "
            f"NAME=PATH of a product's files, or NAME=PRODUCT:PATH with one of "
            f"{', '.join(LAYOUTS)}."
        )
    shown = name if equals else path.stem
    if layout is None and (is_by_unit(path) or archive_exists(path)):
        return shown, path
    return shown, open_product(path, layout, porosity=porosity)
