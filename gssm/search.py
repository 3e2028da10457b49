"""Find the images of a place and period: STAC API or folder -> items."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gssm import catalogs
from gssm.catalogs import COLLECTIONS, OPTICAL_ROLES, Catalog, resolve_catalog
from gssm.errors import (
    CatalogUnreachableError,
    EmptySearchError,
    GssmError,
    GssmWarning,
    UnknownCatalogError,
)
from gssm.request import Bbox, DateRange, check_bbox, check_datetime, check_percent, check_window

if TYPE_CHECKING:
    import pystac

RETRIES = 3
TIMEOUT_SECONDS = 15


def search(
    bbox: Sequence[float],
    datetime: Any,
    *,
    catalog: str | Path = "planetary-computer",
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
        ends included). It dates the radar; optical partners are searched beyond it
        by the window, elevation without dates.
    catalog
        ``"planetary-computer"``, ``"earth-search"``, the URL of a STAC API, or the
        path of a folder of ItemCollections.
    level
        ``"l2"``: surface reflectance.
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
    record = _of_level(_folder(catalog) or resolve_catalog(str(catalog)), level)
    find = _find_in_folder if _folder(catalog) else _find_in_api
    partner_dates = (dates[0] - delta, dates[1] + delta)
    ranges: dict[str, DateRange | None] = {
        "sentinel1": dates,
        "sentinel2": partner_dates,
        "landsat": partner_dates,
        "elevation": None,
    }
    found = find(record, box, ranges)
    unique = list({item.id + "/" + (item.collection_id or ""): item for item in found}.values())
    kept = [item for item in unique if not _too_cloudy(item, max_cloud_cover)]
    if not any(_role(item) == "sentinel1" for item in kept):
        raise EmptySearchError(
            f"no Sentinel-1 item in {catalog} over bbox {box} in {dates[0]:%Y-%m-%d}/"
            f"{dates[1]:%Y-%m-%d}; widen the dates, move the box (west, south, "
            "east, north), or try another catalogue."
        )
    extra = {"gssm:bbox": list(box), "gssm:max_cloud_cover": max_cloud_cover}
    return pystac.ItemCollection(kept, clone_items=False, extra_fields=extra)


def _folder(catalog: str | Path) -> Catalog | None:
    path = Path(catalog).expanduser()
    if isinstance(catalog, Path) or (str(catalog) not in catalogs.CATALOGS and path.exists()):
        if not path.exists():
            raise UnknownCatalogError(f"the catalogue {path} does not exist; check the path.")
        return catalogs.any_catalog(str(path))
    return None


def _of_level(record: Catalog, level: str) -> Catalog:
    collections = {
        role: tuple(n for n in names if COLLECTIONS[n].level in (level, "any"))
        for role, names in record.collections.items()
    }
    if not collections["sentinel2"]:
        raise UnknownCatalogError(
            f"level {level!r} is not offered by {record.url}: gssm knows no such Sentinel-2 "
            "collection there; use level='l2'."
        )
    return Catalog(record.url, collections)


def _role(item: pystac.Item) -> str:
    record = COLLECTIONS.get(item.collection_id or "")
    return record.role if record else ""


def _too_cloudy(item: pystac.Item, max_cloud_cover: float) -> bool:
    cover = item.properties.get("eo:cloud_cover")
    if _role(item) not in OPTICAL_ROLES or not isinstance(cover, (int, float)):
        return False  # what is no number is named when the item is described
    return cover > max_cloud_cover


def _find_in_api(
    record: Catalog, bbox: Bbox, ranges: dict[str, DateRange | None]
) -> list[pystac.Item]:
    from pystac_client import Client
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO
    from requests.exceptions import RequestException
    from urllib3 import Retry

    # POST is retried too: a STAC search changes nothing on the server.
    retry = Retry(
        total=RETRIES,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
    )
    io = StacApiIO(max_retries=retry, timeout=TIMEOUT_SECONDS)
    try:
        client = Client.open(record.url, stac_io=io)
        offered = {collection.id for collection in client.get_collections()}
        _refuse_unknown(record, offered)
        items: list[pystac.Item] = []
        for role, names in record.collections.items():
            wanted = [name for name in names if name in offered]
            if not wanted:
                continue
            moments = ranges[role]
            dates: Any = moments and [t.tz_localize("UTC") for t in moments]
            items += client.search(collections=wanted, bbox=bbox, datetime=dates, limit=200).items()
    except (RequestException, APIError, OSError) as error:
        raise CatalogUnreachableError(
            f"the STAC API {record.url} did not answer, with up to {RETRIES} retries "
            f"({_first_line(error)}); check the URL and the network, or try again later."
        ) from error
    except GssmError:
        raise
    except Exception as error:  # pystac-client has many ways to stumble over a web page
        raise CatalogUnreachableError(
            f"{record.url} did not answer as a STAC API ({_first_line(error)}); check the URL: "
            "it should be that of the API's landing page."
        ) from error
    for item in items:
        item.make_asset_hrefs_absolute()
    return items


def _refuse_unknown(record: Catalog, offered: set[str]) -> None:
    known = [name for names in record.collections.values() for name in names]
    if not offered & set(known):
        raise UnknownCatalogError(
            f"{record.url} offers no collection that gssm knows (it offers: "
            f"{', '.join(sorted(offered)[:10]) or 'none'}); gssm reads {', '.join(known)}."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _find_in_folder(
    record: Catalog, bbox: Bbox, ranges: dict[str, DateRange | None]
) -> list[pystac.Item]:
    folder = Path(record.url)
    files = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    items = [item for file in files for item in _item_collection(file)]
    _refuse_unknown(record, {item.collection_id or "none" for item in items})
    known = [item for item in items if _role(item)]
    return [item for item in known if _matches(item, bbox, ranges[_role(item)])]


def _item_collection(file: Path) -> Iterable[pystac.Item]:
    import pystac

    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UnknownCatalogError(
            f"{file} is not readable JSON ({_first_line(error)}); mend or remove it."
        ) from error
    if not isinstance(record, dict) or record.get("type") != "FeatureCollection":
        return
    for feature in record.get("features") or ():
        try:
            item = pystac.Item.from_dict(feature)
            if not item.id:
                raise ValueError("it has no id")
            if item.bbox is not None and len([float(v) for v in item.bbox]) not in (4, 6):
                raise ValueError("its bbox has neither 4 nor 6 numbers")
        except Exception as error:  # pystac refuses a broken item in many ways
            name = feature.get("id", "?") if isinstance(feature, dict) else "?"
            warnings.warn(
                f"item {name!r} of {file} left out: it is not a STAC item "
                f"({type(error).__name__}: {_first_line(error)}).",
                GssmWarning,
                stacklevel=4,
            )
            continue
        item.set_self_href(str(file.resolve()))
        item.make_asset_hrefs_absolute()
        yield item


def _matches(item: pystac.Item, bbox: Bbox, dates: DateRange | None) -> bool:
    if item.bbox is not None:
        west, south, east, north = bbox
        w, s, e, n = item.bbox[0], item.bbox[1], item.bbox[-2], item.bbox[-1]
        if len(item.bbox) == 6:
            s, e, n = item.bbox[1], item.bbox[3], item.bbox[4]
        # An item across the 180th meridian has west > east.
        apart = (w > east or e < west) if w <= e else (w > east and e < west)
        if apart or s > north or n < south:
            return False
    stated = item.datetime or item.common_metadata.start_datetime
    if dates is None or stated is None:
        return True
    moment = pd.Timestamp(stated)
    moment = moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment
    return bool(dates[0] <= moment <= dates[1])
