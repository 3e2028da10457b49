"""Read and write the files of a model bundle: a folder or a zip, never a pickle.

The manifest names every file with its size and sha256; all are checked before any of them is
parsed. The files of a folder are mapped and not copied, so that all processes of a machine
share one copy in its memory; a zip is unpacked into the memory of each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gssm.errors import BundleError, StoreExistsError, StoreWriteError
from gssm.models.tensors import Buffer

FORMAT_VERSION = 2
MANIFEST = "manifest.json"

PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
# The opcode PROTO and its argument, with which every pickle since protocol 2 begins.
PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
# A zip is read into memory; the paper's forest needs less than this, a zip bomb more.
MAX_ZIP_BYTES = 8 * 1024**3
# What the standard library raises for damaged, encrypted or exotic entries.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
# Name and number of bytes (-1 for all) -> the first bytes of the file.
Reader = Callable[[str, int], Buffer]
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Contents:
    """A bundle in memory or mapped into it, every file checked against its hash."""

    manifest: dict[str, Any]
    files: dict[str, Buffer]
    sha256: str


def encode_manifest(manifest: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, so that equal manifests are equal bytes."""
    text = json.dumps(manifest, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def describe(data: Buffer) -> dict[str, Any]:
    """Return what the manifest says of a file."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read(path: Path) -> Contents:
    """Read a bundle.

    Parameters
    ----------
    path
        Folder or ``.zip``.

    Raises
    ------
    BundleError
        Anything is missing, changed, of another format version, or a pickle.
    """
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return _read_entries(path, names, lambda name, size: _read_start(path / name, size))
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _read_entries(path, _zip_names(path, archive), _zip_reader(path, archive))
    if path.exists():
        raise BundleError(f"{path} is neither a folder nor a zip; give one made by model.save.")
    raise BundleError(
        f"there is no model at {path}; check the path on this machine, or use a name: 'default'."
    )


def _read_start(path: Path, size: int) -> Buffer:
    with path.open("rb") as file:
        if size >= 0 or os.fstat(file.fileno()).st_size == 0:  # nothing cannot be mapped
            return file.read(size)
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _zip_names(path: Path, archive: zipfile.ZipFile) -> list[str]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename:
            raise BundleError(
                f"{path} has an entry {entry.filename!r} that points outside of it; "
                "do not use this file, and get the model from its source again."
            )
    total = sum(entry.file_size for entry in entries)
    if total > MAX_ZIP_BYTES:
        raise BundleError(
            f"{path} unpacks to {total} bytes, more than the {MAX_ZIP_BYTES} that a zipped model "
            "may have; unpack it yourself if you trust it, and give the folder."
        )
    return sorted(entry.filename for entry in entries)


def _zip_reader(path: Path, archive: zipfile.ZipFile) -> Reader:
    def read_start(name: str, size: int) -> bytes:
        try:
            with archive.open(name) as file:
                return file.read(size)
        except _ZIP_ERRORS as error:
            raise BundleError(
                f"{name} in {path} cannot be unpacked ({error}); get the model again."
            ) from error

    return read_start


def _read_entries(path: Path, names: list[str], read_start: Reader) -> Contents:
    if MANIFEST not in names:
        raise BundleError(
            f"{path} has no {MANIFEST}; give the folder that gssm's model.save made, complete."
        )
    raw = bytes(read_start(MANIFEST, -1))
    manifest = _parse_manifest(path, raw)
    listed = manifest["files"]
    for name in names:
        pickled = name.lower().endswith(PICKLE_SUFFIXES)
        extra = name not in listed and name != MANIFEST
        if pickled or (extra and read_start(name, 2) in PICKLE_STARTS):
            raise BundleError(
                f"{path} holds {name}, which is a pickle and could run code when read; gssm never "
                "reads one: remove it if you trust the rest, or save the model with gssm."
            )
    files = {name: _checked(path, name, listed[name], names, read_start) for name in listed}
    return Contents(manifest, files, hashlib.sha256(raw).hexdigest())


def _parse_manifest(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
    except ValueError as error:
        raise BundleError(
            f"{MANIFEST} of {path} is not JSON ({error}); take an intact copy of the bundle."
        ) from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path} has bundle format {version!r} and this gssm reads {FORMAT_VERSION}; "
            "use the gssm version that the model was saved with."
        )
    listed = manifest.get("files")
    plain = isinstance(listed, dict) and all(
        _PLAIN_NAME.fullmatch(name) and isinstance(entry, dict) for name, entry in listed.items()
    )
    if not plain:
        raise BundleError(
            f"{MANIFEST} of {path} does not list plain file names with their hashes; "
            "take an intact copy of the bundle."
        )
    return dict(manifest)


def _checked(
    path: Path,
    name: str,
    entry: Mapping[str, Any],
    names: list[str],
    read_start: Reader,
) -> Buffer:
    if name not in names:
        raise BundleError(f"{path} lacks {name}; take a complete copy of the bundle.")
    data = read_start(name, -1)
    if describe(data) != {"bytes": entry.get("bytes"), "sha256": entry.get("sha256")}:
        raise BundleError(
            f"{name} in {path} is not the file that its manifest describes (wrong sha256 or size); "
            "take an intact copy of the bundle."
        )
    return data


def write(path: Path, entries: Mapping[str, bytes], overwrite: bool = False) -> None:
    """Write a bundle as a folder, or as a zip if the path ends so; all of it or nothing.

    Parameters
    ----------
    path
        Made anew; parents are made too.
    entries
        File name to bytes, the manifest included.
    overwrite
        Replace an earlier bundle there. Anything else there is never replaced.

    Raises
    ------
    StoreExistsError
        Something is there already.
    StoreWriteError
        The disk is full or cannot be written.
    """
    refuse_target(path, overwrite)
    token = uuid.uuid4().hex
    temporary = path.with_name(f".{path.name}.{token}.tmp")
    replaced = path.with_name(f".{path.name}.{token}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = _write_zip if path.suffix.lower() == ".zip" else _write_folder
        writer(temporary, entries)
        if overwrite and path.exists():
            path.rename(replaced)
        temporary.rename(path)
    except OSError as error:
        if path.exists() and not overwrite:  # another process was faster
            refuse_target(path, overwrite)
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        raise StoreWriteError(
            f"the model cannot be written to {path} ({error.strerror or error}); "
            "free some space or choose another path."
        ) from error
    finally:
        _remove(temporary)
        _remove(replaced)


def refuse_target(path: Path, overwrite: bool = False) -> None:
    """Refuse a place where `write` could not put a bundle, before anything is trained.

    Raises
    ------
    StoreExistsError
        Something is there already that may not be replaced.
    StoreWriteError
        No folder can be made there.
    """
    if not os.path.lexists(path):
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
            raise StoreWriteError(
                f"the model cannot be written to {path} ({nearest} is no folder that can be "
                "written to); choose another path."
            )
        return
    if not overwrite:
        raise StoreExistsError(f"{path} exists; choose another path or pass overwrite=True.")
    if not _is_bundle(path):
        raise StoreExistsError(
            f"{path} is no model, or holds more than one, which overwrite=True does not replace; "
            "choose another path."
        )


def _is_bundle(path: Path) -> bool:
    """Tell a place that holds a bundle and nothing else, or nothing, from any other."""
    if not path.is_dir():
        return path.suffix.lower() == ".zip"
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return True
    try:
        listed = json.loads((path / MANIFEST).read_bytes())["files"]
        return names <= {MANIFEST, *listed}
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _write_folder(folder: Path, entries: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, data in entries.items():
        (folder / name).write_bytes(data)


def _write_zip(path: Path, entries: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(entries.items()):
            # ZipInfo's own date is fixed: equal models are equal bytes.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # what failed before is what the user should hear of
            path.unlink()
