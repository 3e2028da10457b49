"""Find the images of a place and period: STAC API or folder -> items."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gssm import catalogs
from gssm.addresses import ANYWHERE, Origin, objection, origin_of_api, origin_of_folder, reach
from gssm.catalogs import OPTICAL_ROLES, Catalog, resolve_catalog
from gssm.errors import (
    CatalogUnreachableError,
    EmptySearchError,
    GssmError,
    GssmWarning,
    UnknownCatalogError,
)
from gssm.network import NetworkError, redacted
from gssm.records import STAMP, read_record, stamp
from gssm.request import (
    Bbox,
    DateRange,
    check_bbox,
    check_datetime,
    check_percent,
    check_window,
    sides_of_180,
    span,
)

if TYPE_CHECKING:
    import pystac

RETRIES = 3
PAGE_ITEMS = 500  # of a page, where the server gives as many
LEVELS = ("l2", "l1")

Sieve = Callable[[str | None, Mapping[str, Any]], bool]  # of collection and properties


def search(
    bbox: Sequence[float],
    datetime: Any,
    *,
    catalog: str | Path | Catalog | Sequence[str | Path | Catalog] = "planetary-computer",
    level: str = "l2",
    max_cloud_cover: float = 60,
    window: str = "3D",
) -> pystac.ItemCollection:
    """Find Sentinel-1, its optical partners and elevation over a place and period.

    Parameters
    ----------
    bbox
        West, south, east, north in degrees; at most 5 degrees wide.
    datetime
        ``"2018-05-01/2018-09-30"``, a day, a month, or a pair of dates (UTC, both
        ends included; a ``Timestamp`` or ``datetime`` is an instant, not a day). It dates
        the radar; optical partners are searched beyond it by the window, elevation
        without dates.
    catalog
        ``"planetary-computer"``, ``"earth-search"``, ``"cdse"``, ``"usgs"`` (Landsat alone),
        the URL of a STAC API, the path of a folder of ItemCollections, a record of one's own
        (`gssm.read_record`, or the path of its YAML); or several of these in a list.
    level
        ``"l2"``: surface reflectance; ``"l1"``: top-of-atmosphere.
    max_cloud_cover
        Percent; optical scenes cloudier than this (``eo:cloud_cover``) are left out.
        It is a first sieve: clouds are masked per pixel later.
    window
        Largest time between radar and optical partner.

    Returns
    -------
    pystac.ItemCollection
        Items of all sensors, with absolute hrefs. ``extra_fields["gssm:bbox"]`` keeps
        the box for the next step.

    Raises
    ------
    RequestError
        The box or the dates cannot be served.
    UnknownCatalogError
        No such catalogue, collection or level.
    CatalogUnreachableError
        The server did not answer after bounded retries.
    EmptySearchError
        No Sentinel-1 acquisition.
    """
    import pystac

    box, dates, delta = check_bbox(bbox), check_datetime(datetime), check_window(window)
    check_percent("max_cloud_cover", max_cloud_cover)
    records = _of_level([_record(one) for one in _several(catalog)], level)
    partner_dates = (dates[0] - delta, dates[1] + delta)
    ranges: dict[str, DateRange | None] = {
        "sentinel1": dates,
        "sentinel2": partner_dates,
        "landsat": partner_dates,
        "elevation": None,
    }

    found = []
    for record in records:
        find = _find_in_api if record.url.startswith(("http:", "https:")) else _find_in_folder
        found += find(record, box, ranges, _sieve(record, max_cloud_cover))
    kept = list({item.id + "/" + (item.collection_id or ""): item for item in found}.values())
    roles = {
        _role(record, item.collection_id, item.properties) for record in records for item in kept
    }
    if "sentinel1" not in roles:
        where = ", ".join(redacted(record.url) for record in records)
        degrees = ", ".join(f"{round(value, 6)}" for value in box)
        raise EmptySearchError(
            f"no Sentinel-1 item in {where} over bbox ({degrees}) in {span(dates)}; "
            f"widen the dates, move the box (west, south, "
            "east, north), or try another catalogue."
        )
    extra = {"gssm:bbox": list(box), "gssm:max_cloud_cover": max_cloud_cover}
    return pystac.ItemCollection(kept, clone_items=False, extra_fields=extra)


def _several(catalog: Any) -> list[Any]:
    if isinstance(catalog, (str, Path, Catalog)):
        found = [catalog]
    elif isinstance(catalog, Iterable) and not isinstance(catalog, (Mapping, bytes)):
        found = list(catalog)
    else:
        found = []
    if not found or not all(isinstance(one, (str, Path, Catalog)) for one in found):
        raise UnknownCatalogError(
            f"catalog {repr(catalog)[:80]} names no catalogue; give the name of one, the URL of a "
            "STAC API, the path of a folder, what gssm.read_record returned, or a list of these."
        )
    return found


def _record(catalog: str | Path | Catalog) -> Catalog:
    if isinstance(catalog, Catalog):
        return catalog
    path = Path(os.path.expanduser(catalog))
    is_there = os.path.exists(path)
    if isinstance(catalog, Path) or (str(catalog) not in catalogs.CATALOGS and is_there):
        if not is_there:
            raise UnknownCatalogError(f"the catalogue {path} does not exist; check the path.")
        if path.suffix.lower() in (".yaml", ".yml"):
            return read_record(path)
        return catalogs.any_catalog(str(path))
    return resolve_catalog(str(catalog))


def _of_level(records: Sequence[Catalog], level: str) -> list[Catalog]:
    def of(level: str) -> list[Catalog]:
        return [catalogs.of_level(record, level) for record in records]

    kept, offers = of(level), [one for one in LEVELS if _has_sentinel2(of(one))]
    if not _has_sentinel2(kept):
        such, fix = ("such ", f"use level={' or '.join(map(repr, offers))}, or add a catalogue")
        if not offers:
            such, fix = "", "add a catalogue that has one, such as 'planetary-computer'"
        raise UnknownCatalogError(
            f"level {level!r} is not offered by {', '.join(redacted(r.url) for r in records)}: "
            f"gssm knows no {such}Sentinel-2 collection there; {fix}."
        )
    return kept


def _has_sentinel2(records: Sequence[Catalog]) -> bool:
    return any(record.collections.get("sentinel2") for record in records)


def _role(record: Catalog, collection: str | None, properties: Mapping[str, Any]) -> str:
    row = catalogs.find_collection(record, collection or "")
    carried = properties.get(STAMP)  # by items that were found with a record and saved
    return row.role if row else str(carried.get("role") if isinstance(carried, dict) else "")


def _sieve(record: Catalog, max_cloud_cover: float) -> Sieve:
    def keep(collection: str | None, properties: Mapping[str, Any]) -> bool:
        cover = properties.get("eo:cloud_cover")
        is_optical = _role(record, collection, properties) in OPTICAL_ROLES
        if not is_optical or not isinstance(cover, (int, float)):
            return True  # what is no number is named when the item is described
        return cover <= max_cloud_cover

    return keep


def _find_in_api(
    record: Catalog, bbox: Bbox, ranges: dict[str, DateRange | None], keep: Sieve
) -> list[pystac.Item]:
    from pystac_client import Client

    from gssm.paging import Pages, PagingError

    url, broken = redacted(record.url), list[str]()
    reason = objection(record.url, ANYWHERE)
    if reason:
        raise UnknownCatalogError(
            f"{url} cannot be the address of a STAC API: {reason}; check the URL (a login does not "
            "stand in it)."
        )
    origin = origin_of_api(record.url)
    try:
        client = Client.open(record.url, stac_io=Pages(origin.networks, RETRIES + 1))
        offered = {collection.id for collection in client.get_collections()}
        _refuse_unknown(record, offered)
        items: list[pystac.Item] = []
        for role, names in record.collections.items():
            wanted = [name for name in names if name in offered]
            if not wanted:
                continue
            moments = ranges[role]
            dates: Any = moments and [t.tz_localize("UTC") for t in moments]
            for side in sides_of_180(bbox):
                asked = client.search(
                    collections=wanted, bbox=side, datetime=dates, limit=PAGE_ITEMS
                )
                # Page by page, and no item is made of the thousands that are too cloudy.
                made = (_made(found, keep, broken) for found in asked.items_as_dicts())
                items += (item for item in made if item is not None)
    except NetworkError as error:
        raise CatalogUnreachableError(
            f"the STAC API {url} did not answer, with up to {RETRIES} retries ({error}); "
            f"{error.fix}, and check the URL."
        ) from error
    except PagingError as error:
        raise CatalogUnreachableError(
            f"the STAC API {url} cannot be read to its end: {error}; ask for a smaller box "
            "or fewer dates, or use another catalogue."
        ) from error
    except GssmError:
        raise
    except Exception as error:  # pystac-client has many ways to stumble over a web page
        raise CatalogUnreachableError(
            f"{url} did not answer as a STAC API ({_first_line(error)}); check the URL: "
            "it should be that of the API's landing page."
        ) from error
    for item in items:
        stamp(item.properties, record, item.collection_id or "")
    _warn_left_out(broken, f"{{}}; these are no STAC items, which those who run {url} can mend")
    reach(origin.networks)
    return _leading_out_left(items, origin)


def _made(found: Any, keep: Sieve, broken: list[str]) -> pystac.Item | None:
    """Make an item of what a server sent; None where it is too cloudy or, and told, broken."""
    try:
        if not keep(found.get("collection"), found.get("properties") or {}):
            return None
        item = _checked(found, preserve_dict=False)
        item.make_asset_hrefs_absolute()
        return item
    except Exception as error:  # pystac refuses a broken item in many ways
        broken.append(f"{_name(found)} ({type(error).__name__}: {_first_line(error)})")
        return None


def _checked(found: Any, **options: Any) -> pystac.Item:
    """Make an item with an id and a box of numbers, or fail."""
    import pystac

    item = pystac.Item.from_dict(found, **options)
    if not item.id or not isinstance(item.id, str):
        raise ValueError("it has no id of text")
    if not isinstance(item.collection_id, str | None):
        raise ValueError("its collection is no name")
    if item.bbox is not None and len([float(v) for v in item.bbox]) not in (4, 6):
        raise ValueError("its bbox has neither 4 nor 6 numbers")
    return item


def _name(found: Any) -> str:
    return repr(found.get("id", "?") if isinstance(found, dict) else "?")[:80]


def _leading_out_left(items: list[pystac.Item], origin: Origin) -> list[pystac.Item]:
    """Leave out the items whose assets lead where their catalogue must not."""
    kept, refused = [], []
    for item in items:
        found = ((k, a.href, objection(a.href, origin)) for k, a in item.assets.items())
        bad = next(((key, href, reason) for key, href, reason in found if reason), None)
        if bad is None:
            kept.append(item)
        else:
            href = redacted(bad[1])[:80]
            refused.append(f"item {item.id!r}, whose asset {bad[0]!r} is {href!r}: {bad[2]}")
    _warn_left_out(refused, "{}; if you trust them, give them to gssm.open_cube yourself")
    return kept


def _warn_left_out(reasons: Sequence[str], sentence: str) -> None:
    if reasons:
        more = f" (and {len(reasons) - 3} more)" if len(reasons) > 3 else ""
        told = sentence.replace("{}", "; ".join(reasons[:3]) + more)
        warnings.warn(f"{len(reasons)} item(s) left out: {told}.", GssmWarning, stacklevel=5)


def _refuse_unknown(record: Catalog, offered: set[str]) -> None:
    known = [name for names in record.collections.values() for name in names]
    if not offered & set(known):
        raise UnknownCatalogError(
            f"{redacted(record.url)} offers no collection that gssm knows (it offers: "
            f"{', '.join(sorted(offered)[:10]) or 'none'}); gssm reads {', '.join(known)}."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _find_in_folder(
    record: Catalog, bbox: Bbox, ranges: dict[str, DateRange | None], keep: Sieve
) -> list[pystac.Item]:
    folder = Path(record.url)
    files = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    items = [item for file in files for item in _item_collection(file)]
    _refuse_unknown(record, {item.collection_id or "none" for item in items})
    matching = []
    for item in items:
        role = _role(record, item.collection_id, item.properties)
        if role not in ranges or not _matches(item, bbox, ranges[role]):
            continue
        if keep(item.collection_id, item.properties):
            matching.append(item)
            if record.rows:
                stamp(item.properties, record, item.collection_id or "")
    return _leading_out_left(matching, origin_of_folder(folder))


def _item_collection(file: Path) -> Iterable[pystac.Item]:
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UnknownCatalogError(
            f"{file} is not readable JSON ({_first_line(error)}); mend or remove it."
        ) from error
    if not isinstance(record, dict) or record.get("type") != "FeatureCollection":
        return
    features = record.get("features")
    for feature in features if isinstance(features, list) else ():
        try:
            item = _checked(feature)
            item.set_self_href(str(file.resolve()))
            item.make_asset_hrefs_absolute()
        except Exception as error:  # pystac refuses a broken item in many ways
            warnings.warn(
                f"item {_name(feature)} of {file} left out: it is not a STAC item "
                f"({type(error).__name__}: {_first_line(error)}).",
                GssmWarning,
                stacklevel=4,
            )
            continue
        yield item


def _matches(item: pystac.Item, bbox: Bbox, dates: DateRange | None) -> bool:
    if item.bbox is not None:
        w, s, e, n = item.bbox[0], item.bbox[1], item.bbox[-2], item.bbox[-1]
        if len(item.bbox) == 6:
            s, e, n = item.bbox[1], item.bbox[3], item.bbox[4]
        # An item across the 180th meridian has west > east, as the box has.
        pairs = product(sides_of_180((w, s, e, n)), sides_of_180(bbox))
        if not any(_touch(one, other) for one, other in pairs):
            return False
    stated = item.datetime or item.common_metadata.start_datetime
    if dates is None or stated is None:
        return True
    moment = pd.Timestamp(stated)
    moment = moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment
    return bool(dates[0] <= moment <= dates[1])


def _touch(a: Bbox, b: Bbox) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
