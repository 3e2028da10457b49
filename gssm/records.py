"""A user's own record of a STAC API or static catalogue, in YAML or Python -> checked rows.

A record says what `gssm.catalogs` says of the providers that it knows::

    url: https://stac.example.org/v1        # or a folder, from the record's own place
    collections:
      our-sentinel-2:
        like: sentinel-2-l2a                # start from a collection that gssm knows
        assets: {s2_b4: red, s2_b8: [nir, B08]}
      our-landsat:
        role: landsat
        assets: {landsat_b4: red, landsat_b5: nir}
        scale: 0.0001
        offset: 0
        nodata: -9999
        mask: {assets: clouds, fill: 255, classes: {0: clear, 1: cloud_or_shadow}}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gssm import schema
from gssm.catalogs import (
    ASSETS,
    COLLECTIONS,
    LANDSAT_L1_ASSETS,
    OPTICAL_ROLES,
    QA_PIXEL,
    SCL,
    SENTINEL2_L1_ASSETS,
    Catalog,
    Collection,
    MaskRule,
    Role,
)
from gssm.errors import UnknownCatalogError

# Items found with a record carry their row, so that they stay readable without the record.
STAMP = "gssm:collection"
MOST_BYTES = 1_000_000

MASK_RULES = {"scl": SCL, "qa_pixel": QA_PIXEL}
MASK_CATEGORIES = {
    name: number
    for number, name in enumerate(schema.MASK_MEANINGS.split())
    if number != schema.MASK_UNREADABLE
}
VARIABLES: dict[Role, tuple[str, ...]] = {
    "sentinel1": tuple(ASSETS["sentinel1"]),
    "sentinel2": tuple(SENTINEL2_L1_ASSETS),
    "landsat": tuple(LANDSAT_L1_ASSETS),
    "elevation": tuple(ASSETS["elevation"]),
}
_CHOICES = {
    "role": tuple(ASSETS),
    "level": ("l2", "l1", "any"),
    "convention": ("sigma0", "gamma0"),
    "kind": ("raster", "grd", "landsat_toa"),
    "crs": ("item", "file"),
}


def read_record(path: str | Path) -> Catalog:
    """Read the record of a catalogue from a YAML file.

    Parameters
    ----------
    path
        File with ``url`` and ``collections``; a relative ``url`` is a folder beside it.

    Returns
    -------
    Catalog
        What ``catalog=`` of `gssm.search` takes.

    Raises
    ------
    UnknownCatalogError
        The file is missing, is not YAML or states something that cannot be; one sentence
        names the entry and what it should be.
    """
    import yaml

    file = Path(path).expanduser()
    try:
        if file.stat().st_size > MOST_BYTES:
            _refuse(str(file), f"is larger than {MOST_BYTES} bytes, which no record is")
        content = yaml.load(file.read_text(encoding="utf-8"), _loader())
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownCatalogError(f"the record {file} cannot be read ({error}).") from error
    except (yaml.YAMLError, RecursionError) as error:
        cause = " ".join(str(error).split())
        raise UnknownCatalogError(f"the record {file} is not YAML ({cause}).") from error
    return make_record(content, name=str(file), folder=file.parent)


def make_record(
    content: Mapping[str, Any], *, name: str = "the record", folder: Path | None = None
) -> Catalog:
    """Check a record that was written as a Python dictionary; see `read_record`."""
    _check_keys(name, content, ("url", "collections"), required=("url", "collections"))
    url = content["url"]
    if not isinstance(url, str) or not url.strip():
        _refuse(name, f"has the url {url!r}; give the address of a STAC API or a folder")
    if not url.startswith(("http://", "https://")):
        place = (folder or Path()) / Path(url).expanduser()
        if not place.exists():
            _refuse(name, f"has the url {url!r}, which is no http address and no file or folder")
        url = str(place)
    stated = content["collections"]
    if not isinstance(stated, Mapping) or not stated:
        _refuse(name, "has no collections; give a mapping of collection id to its entries")
    rows = {
        _text(name, key): parse_collection(f"collection {key!r} of {name}", key, entry)
        for key, entry in stated.items()
    }
    by_role = {
        role: tuple(key for key, row in rows.items() if row.role == role) for role in VARIABLES
    }
    return Catalog(url, by_role, rows)


def parse_collection(where: str, name: str, entry: Any) -> Collection:
    """Check one entry of ``collections`` and return its row.

    ``where`` begins the sentence that says what is wrong with it.
    """
    entry = {} if entry is None else entry
    known = tuple(f.name for f in fields(Collection))
    _check_keys(where, entry, (*known, "like"))
    like = entry.get("like", name if name in COLLECTIONS else None)
    if like is not None and (not isinstance(like, Hashable) or like not in COLLECTIONS):
        _refuse(where, f"is like {like!r}; choose from {', '.join(COLLECTIONS)}")
    if like is None and "role" not in entry:
        _refuse(where, f"has no role; choose from {', '.join(_CHOICES['role'])}, or say like:")
    for key, choices in _CHOICES.items():
        if key in entry and entry[key] not in choices:
            _refuse(where, f"has the {key} {entry[key]!r}; choose from {', '.join(choices)}")
    start = COLLECTIONS[like] if like is not None else Collection(entry["role"])
    row = replace(start, **{key: entry[key] for key in _CHOICES if key in entry})
    for key, parse in _PARSERS.items():
        if key in entry:
            row = replace(row, **{key: parse(where, row, entry[key])})
    _check_whole(where, row, set(entry) if like is None else None)
    return row


def to_entry(row: Collection) -> dict[str, Any]:
    """Return a row as plain JSON types, which `parse_collection` takes back."""
    entry = {f.name: getattr(row, f.name) for f in fields(Collection)}
    entry["assets"] = {variable: list(keys) for variable, keys in row.assets.items()}
    entry["mask_from"] = list(row.mask_from)
    for key in ("thermal", "angle"):
        if entry[key] is not None:
            entry[key] = dict(zip(("scale", "offset"), entry[key], strict=True))
    if row.mask is not None:
        names = {number: name for name, number in MASK_CATEGORIES.items()}
        entry["mask"] = {
            "assets": list(row.mask.assets),
            "fill": row.mask.fill,
            "classes": {str(value): names[c] for value, c in row.mask.categories.items()},
            "bits": {str(bit): names[c] for bit, c in row.mask.bits},
        }
    return entry


def stamp(properties: dict[str, Any], catalog: Catalog, collection: str) -> None:
    """Write the row of a catalogue's own collection into the properties of an item.

    What the item says of itself there is not believed: it came from a server.
    """
    properties.pop(STAMP, None)
    row = catalog.rows.get(collection)
    if row is not None:
        properties[STAMP] = to_entry(row)


def _check_whole(where: str, row: Collection, stated: set[str] | None) -> None:
    """Refuse a row of which an image could not be made; ``stated`` None trusts its numbers."""
    optical = row.role in OPTICAL_ROLES
    for key in ("scale", "offset"):
        if stated is not None and optical and row.kind == "raster" and key not in stated:
            _refuse(where, f"has no {key}; say how its numbers become reflectance")
    if optical and row.mask is None and not row.mask_from:
        _refuse(where, f"has no mask; choose from {', '.join(MASK_RULES)}, or give classes or bits")
    if row.offset == "baseline" and row.role != "sentinel2":
        _refuse(where, "has the offset 'baseline', which only Sentinel-2 has; give a number")
    if row.kind == "grd" and row.convention != "sigma0":
        _refuse(where, "has the kind 'grd', which becomes sigma0, and another convention")
    if row.kind == "grd" and row.role != "sentinel1":
        _refuse(where, f"has the kind 'grd' and the role {row.role!r}; it is of sentinel1")
    if row.kind == "landsat_toa" and (row.role, row.level) != ("landsat", "l1"):
        _refuse(where, "has the kind 'landsat_toa', which needs role: landsat and level: l1")
    if row.role == "sentinel1" and row.assets and not {"vv", "vh"} <= set(row.assets):
        _refuse(where, "has no assets for both vv and vh")
    of_radar = row.role == "sentinel1" and row.kind == "raster"
    if stated is not None and of_radar and "convention" not in stated:
        _refuse(where, f"has no convention; choose from {', '.join(_CHOICES['convention'])}")
    unknown = set(row.assets) - set(VARIABLES[row.role])
    if unknown:
        _refuse(
            where,
            f"has assets for {', '.join(sorted(unknown))}; a {row.role} collection has "
            f"{', '.join(VARIABLES[row.role])}",
        )
    if stated is not None and row.role == "landsat" and row.kind == "raster" and not row.thermal:
        thermal = {f"landsat_{band}" for band in schema.LANDSAT_THERMAL}
        if hot := sorted(thermal & set(row.assets or ASSETS["landsat"])):
            _refuse(
                where,
                f"has {hot[0]} and no thermal; give its scale and offset to kelvin, or assets "
                "without it",
            )


def _assets(where: str, row: Collection, value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        _refuse(where, f"has the assets {value!r}; give a mapping of variable to asset name")
    return {
        _text(where, variable): _names(where, f"the asset of {variable}", keys)
        for variable, keys in value.items()
    }


def _names(where: str, what: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if (
        not isinstance(names, Sequence)
        or not names
        or not all(isinstance(n, str) and n for n in names)
    ):
        _refuse(where, f"has as {what} {value!r}; give a name or a list of names")
    return tuple(names)


def _number(where: str, what: str, value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or (what == "scale" and value == 0)
    ):
        hint = (
            " (YAML reads 1e-4 as text: write 0.0001 or 1.0e-4)" if isinstance(value, str) else ""
        )
        _refuse(where, f"has the {what} {value!r}; give a number{hint}")
    return float(value)


def _offset(where: str, row: Collection, value: Any) -> Any:
    return value if value == "baseline" else _number(where, "offset", value)


def _affine(where: str, what: str, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    inside = f"{what} of {where}"
    _check_keys(inside, value, ("scale", "offset"), required=("scale", "offset"))
    return _number(inside, "scale", value["scale"]), _number(inside, "offset", value["offset"])


def _mask(where: str, row: Collection, value: Any) -> MaskRule | None:
    if value is None:
        return None
    inside = f"mask of {where}"
    entry = {"rule": value} if isinstance(value, str) else value
    _check_keys(inside, entry, ("rule", "assets", "fill", "classes", "bits"))
    rule = entry.get("rule")
    if rule is not None:
        if rule not in MASK_RULES:
            _refuse(inside, f"has the rule {rule!r}; choose from {', '.join(MASK_RULES)}")
        base = MASK_RULES[rule]
        assets = _names(inside, "assets", entry["assets"]) if "assets" in entry else base.assets
        return replace(base, assets=assets)
    classes = _categories(inside, "classes", entry.get("classes"), 255)
    bits = _categories(inside, "bits", entry.get("bits"), 31)
    if bool(classes) == bool(bits):
        _refuse(inside, "needs a rule, or either classes or bits")
    if "assets" not in entry or "fill" not in entry:
        _refuse(inside, "needs assets and fill, the value where it has no data")
    fill = _number(inside, "fill", entry["fill"])
    if fill != int(fill):
        _refuse(inside, f"has the fill {fill:g}; give a whole number")
    names = _names(inside, "assets", entry["assets"])
    mask = MaskRule(names, int(fill), classes, tuple(bits.items()))
    # Pixels outside of the image are filled with it.
    if mask.classify(np.array([mask.fill])) != schema.MASK_MISSING:
        _refuse(inside, f"has the fill {fill:g}, which must mean missing and means something else")
    return mask


def _categories(where: str, what: str, value: Any, most: int) -> dict[int, int]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        _refuse(where, f"has the {what} {value!r}; give a mapping of number to category")
    found = {}
    for key, category in value.items():
        number = int(key) if isinstance(key, (int, str)) and str(key).isdigit() else -1
        if not 0 <= number <= most:
            _refuse(where, f"has {key!r} among its {what}; give numbers from 0 to {most}")
        if not isinstance(category, str) or category not in MASK_CATEGORIES:
            _refuse(
                where,
                f"has {key} mean {category!r}; choose from {', '.join(MASK_CATEGORIES)}",
            )
        found[number] = MASK_CATEGORIES[category]
    return found


_PARSERS: dict[str, Callable[[str, Collection, Any], Any]] = {
    "assets": _assets,
    "scale": lambda where, row, value: _number(where, "scale", value),
    "offset": _offset,
    "nodata": lambda where, row, value: None if value is None else _number(where, "nodata", value),
    "thermal": lambda where, row, value: _affine(where, "thermal", value),
    "angle": lambda where, row, value: _affine(where, "angle", value),
    "mask": _mask,
    "mask_from": lambda where, row, value: (
        _names(where, "mask_from", value) if value not in ([], ()) else ()
    ),
    "partial": lambda where, row, value: value is True,
    "refused": lambda where, row, value: "" if value is None else str(value),
}


def _check_keys(where: str, entry: Any, known: Sequence[str], required: Sequence[str] = ()) -> None:
    if not isinstance(entry, Mapping):
        _refuse(where, f"is {entry!r}, not a mapping; it has {', '.join(known)}")
    for key in entry:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}"
            raise UnknownCatalogError(f"{where} has an entry {key!r} that gssm does not know{hint}")
    for key in required:
        if key not in entry:
            _refuse(where, f"has no {key}")


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        _refuse(where, f"has the name {value!r}; give text, in quotes where YAML reads a number")
    return str(value)


def _refuse(where: str, cause: str) -> NoReturn:
    raise UnknownCatalogError(f"{where} {cause}.")


def _loader() -> Any:
    """YAML without code, and without a key that silently replaces one of the same name."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {twice!r} stands there twice", node.start_mark
                )
            return super().construct_mapping(node, deep)

    return Loader
