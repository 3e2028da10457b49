"""Hyper-parameters as a file of JSON, to be kept, read and used again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from gssm.errors import RequestError, StoreExistsError, StoreWriteError
from gssm.training.presets import Preset, check_preset

FORMAT = "gssm-preset"
FORMAT_VERSION = 1

Record = TypeVar("Record")


def save_preset(path: str | Path, preset: Preset, *, overwrite: bool = False) -> None:
    """Save hyper-parameters, such as those of `gssm.tune`, as JSON.

    Raises
    ------
    RequestError
        A value is of the wrong type or outside its range.
    StoreExistsError
        Something is there already, and `overwrite` is False.
    StoreWriteError
        The path cannot be written; nothing is left half-written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise StoreExistsError(f"{path} exists; choose another path or pass overwrite=True.")
    content = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(check_preset(preset))}
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    temporary = path.with_name(f".{path.name}.writing")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StoreWriteError(
            f"the preset cannot be written to {path} ({error.strerror or error}); "
            "choose another path."
        ) from error
    finally:
        if temporary.is_file():
            temporary.unlink()


def load_preset(path: str | Path) -> Preset:
    """Read hyper-parameters that `save_preset` wrote.

    Raises
    ------
    RequestError
        There is no such file, or it is no preset: something in it is unknown, missing, of
        the wrong kind or out of range.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise RequestError(
            f"the preset {path} cannot be read ({error.strerror or error}); check the path."
        ) from error
    except ValueError as error:  # json's and the codec's are both of this kind
        raise RequestError(
            f"{path} is not JSON ({error}); give a file written by save_preset."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RequestError(f"{path} is no preset of gssm; give a file written by save_preset.")
    if content.get("version") != FORMAT_VERSION:
        raise RequestError(
            f"{path} is a preset of version {content.get('version')!r} and this gssm reads version "
            f"{FORMAT_VERSION}; use the gssm that wrote it."
        )
    values = {key: value for key, value in content.items() if key not in ("format", "version")}
    return check_preset(_record(Preset, values, path.name), path.name)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _record(kind: type[Record], values: Any, where: str) -> Record:
    """Make a dataclass of plain numbers and of other such; each field once, none more."""
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    found = set(values) if isinstance(values, Mapping) else set()
    for what, keys in (("does not know", found - set(names)), ("needs", set(names) - found)):
        if keys:
            raise RequestError(
                f"{where} is no {kind.__name__}: it {'has' if keys <= found else 'lacks'} "
                f"{', '.join(map(repr, sorted(keys)))}, which this gssm {what}; mend the file or "
                "write it again with save_preset."
            )
    made = {n: _value(hints[n], values[n], f"{where}: {n}") for n in names}
    return kind(**made)


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _record(hint, value, where)  # type: ignore[arg-type]
    kinds = get_args(hint) or (hint,)
    if value is None and NoneType in kinds:
        return None
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and (int in kinds or float in kinds):
        return value if int in kinds else float(value)
    if isinstance(value, float) and float in kinds and math.isfinite(value):
        return value
    raise RequestError(
        f"{where} is {value!r}, which is not {' or '.join(k.__name__ for k in kinds)}; mend it."
    )
