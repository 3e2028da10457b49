"""What an archive is made of and how, kept in it, so that `gssm update` can go on with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import shapely
import zarr
from shapely.geometry.base import BaseGeometry

from gssm.archive.acquisitions import transact
from gssm.archive.jobs import Settings
from gssm.archive.repository import Archive, archiving, read_session
from gssm.archive.rounds import Round
from gssm.catalogs import CATALOGS
from gssm.errors import ArchiveError, RequestError

RECIPE = "recipe"


@dataclass(frozen=True)
class Recipe:
    """Catalogue, settings and area of an archive.

    ``area`` is GeoJSON; ``squares`` are those that are mapped whole, whatever the area. The
    names of models and catalogues that are files are absolute paths.
    """

    catalog: str = "planetary-computer"
    max_cloud_cover: float = 60
    model: str = "default"
    window: str = "3D"
    elevation: str = "alos"
    max_failed: float = 0.1
    area: str = ""
    squares: tuple[str, ...] = ()

    def settings(self, replace_any: bool = False) -> Settings:
        """Return what jobs need of it."""
        return Settings(self.model, self.window, self.elevation, self.max_failed, replace_any)

    @property
    def shape(self) -> BaseGeometry | None:
        """Area, in degrees."""
        return shapely.from_geojson(self.area) if self.area else None

    def rounds(self, datetime: Any, names: Iterable[str]) -> list[Round]:
        """Return what the archive has of those squares as rounds to plan, in order of time."""
        whole = tuple(name for name in names if name in self.squares)
        found = [Round(None, datetime, whole, in_order=True)] if whole else []
        rest = tuple(name for name in names if name not in whole)
        if self.shape is not None and rest:
            found.append(Round(self.shape, datetime, rest, in_order=True))
        return found


def read_recipe(archive: Archive) -> Recipe | None:
    """Return the recipe of an archive, if it has one.

    Raises
    ------
    ArchiveError
        The archive cannot be read, or its recipe is of another kind.
    """
    with archiving(archive.url):
        store = read_session(archive).store
        stated: Any = zarr.open_group(store, mode="r").attrs.get(RECIPE)
    if stated is None:
        return None
    if not isinstance(stated, Mapping):
        raise ArchiveError(
            f"archive {archive.url}: its recipe is no mapping; build it again with --catalog and "
            "so on, which writes a new one."
        )
    known = {f.name: stated[f.name] for f in fields(Recipe) if f.name in stated}
    known["squares"] = tuple(known.get("squares", ()))
    return Recipe(**known)


def write_recipe(archive: Archive, recipe: Recipe) -> bool:
    """Keep a recipe in an archive; one commit where it changes, else none and False."""
    entry = json.loads(json.dumps(asdict(recipe)))

    def change(root: zarr.Group, _: str) -> bool:
        if root.attrs.get(RECIPE) == entry:
            return False
        root.attrs[RECIPE] = entry
        return True

    return transact(archive, "recipe", change)


def extended(old: Recipe | None, new: Recipe) -> Recipe:
    """Return the new recipe with the area and the squares of the old one added."""
    if old is None:
        return new
    shapes = [shape for shape in (old.shape, new.shape) if shape is not None]
    area = shapely.to_geojson(shapely.union_all(shapes).normalize()) if shapes else ""
    squares = tuple(sorted({*old.squares, *new.squares}))
    return replace(new, area=area, squares=squares)


def stated(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """Return a recipe with the options that were given; paths become absolute.

    Raises
    ------
    RequestError
        A path does not exist.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if "catalog" in given:
        given["catalog"] = _absolute("catalogue", given["catalog"], tuple(CATALOGS))
    if "model" in given:
        given["model"] = _absolute("model", given["model"], ("default",))
    return replace(recipe, **given)


def _absolute(what: str, name: str, known: tuple[str, ...]) -> str:
    if name in known or name.startswith(("http:", "https:")):
        return name
    path = os.path.abspath(os.path.expanduser(name))
    if not os.path.exists(path):
        raise RequestError(
            f"there is no {what} {name!r}; use {', '.join(map(repr, known))} or a path that exists."
        )
    return path
