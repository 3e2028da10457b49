"""Make provisional dates final, once no better partner can come any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import zarr

from gssm.archive import ledger
from gssm.archive.acquisitions import DONE, transact
from gssm.archive.ledger import Row
from gssm.archive.repository import Archive
from gssm.archive.tiles import Square


def settle(archive: Archive, square: Square, rows: Iterable[Row]) -> int:
    """Mark dates of a square as final, in one transaction; their pixels stay as they are.

    Parameters
    ----------
    archive, square
        Where.
    rows
        As the planner saw them; one that has been replaced since is left as it is.

    Returns
    -------
    int
        Number of dates that became final.
    """
    seen = {(row.key, row.digest) for row in rows if row.provisional}
    changed = 0

    def change(root: zarr.Group, _: str) -> bool:
        nonlocal changed
        array = root.get(f"{square.group}/{DONE}")
        if not seen or not isinstance(array, zarr.Array):
            return False
        before = ledger.from_bytes(array[...])  # type: ignore[arg-type]
        after = [
            replace(row, provisional=row.provisional and (row.key, row.digest) not in seen)
            for row in before
        ]
        changed = sum(a != b for a, b in zip(before, after, strict=True))
        content = ledger.to_bytes(after)
        array.resize(content.shape)
        array[...] = content
        return changed > 0

    transact(archive, f"{square.name} settled", change)
    return changed
