"""Write the catalogue of an archive: static STAC, and the same Items as stac-geoparquet."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gssm.archive.places import refuse_existing, writing
from gssm.archive.stac import COLLECTION, collection, items
from gssm.archive.whole import local_path, whole

if TYPE_CHECKING:
    import pystac

    from gssm.archive.ledger import Row
    from gssm.archive.tiles import Square

# The root of a published catalogue, and by it a folder is known as one.
ROOT = "collection.json"
PARQUET = "items.parquet"
SQUARE = "catalog.json"


def publish(
    archive: str | Path,
    rows: Mapping[Square, Sequence[Row]],
    folder: str | Path,
    *,
    chunk: int = 1000,
    cogs: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Path]:
    """Write or bring up to date the STAC catalogue of an archive.

    A self-contained catalogue: ``collection.json``, below it ``<square>/catalog.json`` and
    an Item for each date, and all Items in ``items.parquet``. Each file appears whole; one
    that would not change is not written, so that publishing twice changes nothing. Items
    of dates that the archive has no more are removed, last of all.

    Parameters
    ----------
    archive
        Address of the archive: URL, or local path, which the catalogue names relative to
        each file.
    rows
        Ledger of each square that the catalogue is to have (`gssm.archive.acquisitions`).
    folder
        New, empty, or published before.
    chunk
        Pixels a side of a chunk of the archive.
    cogs
        Address of the COG of each variable, by `gssm.archive.stac.item_id`.

    Returns
    -------
    list of Path
        Files that were written, because they are new or have changed.

    Raises
    ------
    StoreExistsError
        The folder holds something else.
    StoreWriteError
        The disk is full, read-only or gone; files written before stay, each whole.
    """
    root = local_path(folder)
    refuse_existing(root, True, (ROOT,))
    place = str(archive) if "://" in str(archive) else str(local_path(archive))
    catalogue = _catalogue(place, rows, root, chunk, cogs)
    texts = {Path(path): _text(record) for path, record in _records(catalogue).items()}
    # Whoever reads the root finds what it names: Items first.
    order = sorted(texts, key=lambda path: (path.name == ROOT, path.name == SQUARE, path))
    changed = [path for path in order if not _holds(path, texts[path])]
    for path in changed:
        with whole(path, True) as partial:
            partial.write_bytes(texts[path])
    changed += _write_parquet(catalogue, root / PARQUET)
    _remove_stale(root, set(texts))
    return changed


def _catalogue(
    archive: str,
    rows: Mapping[Square, Sequence[Row]],
    root: Path,
    chunk: int,
    cogs: Mapping[str, Mapping[str, str]] | None,
) -> pystac.Collection:
    """Return the Collection with a Catalog for each square, and the Items in them."""
    import pystac
    from pystac.layout import CustomLayoutStrategy

    top = collection(archive, rows)
    top.add_asset(
        "items",
        pystac.Asset(
            href=str(root / PARQUET),
            title="All Items (stac-geoparquet)",
            media_type="application/vnd.apache.parquet",
            roles=["collection-mirror"],
        ),
    )
    for square in sorted(rows, key=lambda square: square.name):
        found = items(archive, square, rows[square], chunk=chunk, cogs=cogs)
        if found:
            child = pystac.Catalog(square.name, f"Dates of the square {square.name}")
            top.add_child(child)
            child.add_items(found)
            for item in found:
                item.set_collection(top)
    layout = CustomLayoutStrategy(
        collection_func=lambda _, parent, is_root: f"{parent}/{ROOT}",
        catalog_func=lambda catalog, parent, is_root: f"{parent}/{catalog.id}/{SQUARE}",
        item_func=lambda item, parent: f"{parent}/{item.id}.json",
    )
    top.normalize_hrefs(str(root), strategy=layout)
    top.catalog_type = pystac.CatalogType.SELF_CONTAINED
    top.make_all_asset_hrefs_relative()
    top.make_asset_hrefs_relative()
    return top


def _records(top: pystac.Collection) -> dict[str, dict[str, Any]]:
    objects: list[Any] = [top, *top.get_children(), *top.get_items(recursive=True)]
    return {found.get_self_href(): found.to_dict(include_self_link=False) for found in objects}


def _text(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _holds(path: Path, content: bytes) -> bool:
    with writing(path):
        return path.is_file() and path.read_bytes() == content


def _write_parquet(top: pystac.Collection, path: Path) -> list[Path]:
    """Write all Items into one table, whose addresses are relative to it."""
    import rustac

    records = []
    for item in sorted(top.get_items(recursive=True), key=lambda item: item.id):
        record = item.to_dict(include_self_link=False, transform_hrefs=False)
        record["links"] = []
        for asset, stated in zip(item.assets.values(), record["assets"].values(), strict=True):
            address = asset.get_absolute_href() or asset.href
            is_local = "://" not in address
            stated["href"] = os.path.relpath(address, path.parent) if is_local else address
        records.append(record)
    if not records:
        return []
    with writing(path), TemporaryDirectory() as folder:
        scratch = Path(folder) / PARQUET
        rustac.write_sync(str(scratch), records, format="parquet")
        content = scratch.read_bytes()
    if _holds(path, content):
        return []
    with whole(path, True) as partial:
        partial.write_bytes(content)
    return [path]


def _remove_stale(root: Path, known: set[Path]) -> None:
    """Remove the Items and Catalogs of what the archive has no more."""
    for path in sorted(root.glob("*/*.json")):
        if path not in known and _is_ours(path):
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def _is_ours(path: Path) -> bool:
    """Tell whether a file says that it is part of this collection."""
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        return False
    if not isinstance(record, dict):
        return False
    of_square = path.name == SQUARE and record.get("id") == path.parent.name
    return of_square or record.get("collection") == COLLECTION
