"""A file or a folder that appears under its name when it is complete, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gssm.archive.places import (
    discard,
    local_folder,
    refuse_existing,
    replace_folder,
    writing,
)
from gssm.errors import RequestError


def local_path(path: str | Path) -> Path:
    """Absolute path on this machine; `RequestError` for what is on another."""
    found = local_folder(path)
    if found is None:
        raise RequestError(
            f"{path!r} is no path on this machine; write a local file and copy it there, "
            "or write Zarr, which goes to any URL."
        )
    return found


@contextlib.contextmanager
def whole(path: Path, overwrite: bool, markers: Sequence[str] = ()) -> Iterator[Path]:
    """Give a place to write to, and rename it to the path when the block ends well.

    Parameters
    ----------
    path
        Absolute path of a file, or of a folder.
    overwrite
        Replace what is there: a file, an empty folder, or one that holds a marker.
    markers
        Names of files of which a folder that gssm wrote holds one; none for a file.

    Raises
    ------
    StoreExistsError
        Something is there that may not be replaced.
    StoreWriteError
        The disk is full, read-only or gone; nothing is left behind.
    """
    # A file is its own marker: its name, which the caller chose, says what it is.
    known = tuple(markers) or (path.name,)
    refuse_existing(path, overwrite, known)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    new_parents = [parent for parent in path.parents if not parent.exists()]
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            refuse_existing(path, overwrite, known)  # another run may have been faster
            if path.is_dir():
                replace_folder(path, partial)
            else:
                os.replace(partial, path)
        except BaseException:
            partial.unlink() if partial.is_file() else discard(partial)
            raise
        finally:
            for parent in new_parents:  # those that stayed empty
                with contextlib.suppress(OSError):
                    parent.rmdir()
