"""Is it a STAC item at all: the types of those parts of it that gssm reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from gssm.errors import ItemError


def checked(item: Any) -> dict[str, Any]:
    """Return a copy of an item of which the parts have the types that STAC gives them.

    Raises
    ------
    ItemError
        It is no mapping with an id of text, a collection of text, properties, and assets with
        addresses of text. What is absent is for others to miss.
    """
    if not isinstance(item, Mapping):
        raise ItemError(f"{item!r:.80} is no STAC item; give what gssm.search returned")
    name = item.get("id")
    if not isinstance(name, str) or not name:
        raise ItemError(
            f"an item of the collection {item.get('collection')!r:.80} has the id "
            f"{name!r:.80}, which is no text"
        )
    if not isinstance(item.get("collection"), str | None):
        _refuse(name, "collection", item["collection"], "text")
    for part in ("properties", "assets"):
        if not isinstance(item.get(part), Mapping | None):
            _refuse(name, part, item[part], "mapping")
    assets = item.get("assets") or {}
    for key, asset in assets.items():
        if not isinstance(asset, Mapping | None):
            _refuse(name, f"asset {key!r}", asset, "mapping")
        href = (asset or {}).get("href")
        if not isinstance(href, str | None):
            _refuse(name, f"href of the asset {key!r}", href, "text")
    return {**item, "properties": item.get("properties") or {}, "assets": assets}


def find_asset(item: Mapping[str, Any], keys: tuple[str, ...]) -> Any | None:
    """Return the first asset of a checked item, with an address, under one of the keys."""
    assets = (item["assets"].get(key) or {} for key in keys)
    return next((asset for asset in assets if asset.get("href")), None)


def refuse_addressless(
    item: Mapping[str, Any], wanted: Mapping[str, tuple[str, ...]], found: Mapping[str, Any]
) -> None:
    """Refuse an item that has an asset for a variable, and no address of it.

    Raises
    ------
    ItemError
        The message names the asset.
    """
    absent = (key for variable, keys in wanted.items() if variable not in found for key in keys)
    key = next((key for key in absent if key in item["assets"]), None)
    if key is not None:
        raise ItemError(f"item {item['id']!r} has the asset {key!r} without an address (href)")


def _refuse(name: str, what: str, value: Any, due: str) -> NoReturn:
    raise ItemError(f"item {name!r} has as {what} {value!r:.80}, which is no {due}")
