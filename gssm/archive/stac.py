"""An archive in STAC 1.1: a Collection, and an Item for each square and date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
from odc.geo.geobox import GeoBox

from gssm import quality
from gssm.archive import encoding
from gssm.archive.packing import PACKINGS
from gssm.archive.product import geographic_box

if TYPE_CHECKING:
    import pystac

    from gssm.archive.ledger import Row
    from gssm.archive.tiles import Square

COLLECTION = "gssm-soil-moisture-10m"
ZARR = "application/vnd.zarr; version=3"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
BRANCH = "main"
_EXTENSION = "https://stac-extensions.github.io/{}/schema.json".format
SATELLITE = _EXTENSION("sat/v1.0.0")
ITEM_EXTENSIONS = [*map(_EXTENSION, ("grid/v1.1.0", "processing/v1.2.0", "projection/v2.0.0"))]
BAND_EXTENSIONS = [_EXTENSION("raster/v2.0.0"), _EXTENSION("classification/v2.0.0")]
COLLECTION_EXTENSIONS = [_EXTENSION("scientific/v1.0.0"), *BAND_EXTENSIONS]
COORDINATE_DIGITS = 6  # 0.1 m

PROVIDERS = (
    ("The gssm developers", ("producer", "processor"), encoding.REFERENCES),
    ("European Union, Copernicus", ("licensor",), encoding.SENTINEL_NOTICE),
    ("U.S. Geological Survey", ("licensor",), encoding.LANDSAT_NOTICE),
)


def item_id(square: Square, row: Row) -> str:
    """Id of an Item: the square, and the time, platform and orbit of the acquisition."""
    return f"{square.name}_{row.key}"


def items(
    href: str,
    square: Square,
    rows: Sequence[Row],
    *,
    chunk: int = 1000,
    cogs: Mapping[str, Mapping[str, str]] | None = None,
) -> list[pystac.Item]:
    """Make an Item of each finished acquisition over a square, in order of time.

    Parameters
    ----------
    href
        Of the archive.
    square, rows
        Place and ledger; rows that are not done are left out.
    chunk
        Pixels a side of a chunk of the archive, in which `Row.coverage` counts.
    cogs
        Address of the COG of each variable, by `item_id`, where there are any; one that is
        elsewhere than on this machine is one of the whole square.
    """
    done = sorted((row for row in rows if row.status == "done"), key=lambda row: row.key)
    found = cogs or {}
    return [_item(href, square, row, chunk, found.get(item_id(square, row), {})) for row in done]


def _item(href: str, square: Square, row: Row, chunk: int, cogs: Mapping[str, str]) -> pystac.Item:
    import pystac

    footprint = shape_in_degrees(square.grid, row.coverage, chunk)
    properties = _properties(square, row)
    used = [
        *ITEM_EXTENSIONS,
        *([SATELLITE] if any(name.startswith("sat:") for name in properties) else ()),
        *(BAND_EXTENSIONS if cogs else ()),
    ]
    item = pystac.Item(
        id=item_id(square, row),
        geometry=shapely.geometry.mapping(footprint),
        bbox=_bbox(footprint),
        datetime=dt.datetime.fromtimestamp(row.time, dt.UTC),
        properties=properties,
        stac_extensions=sorted(used),
    )
    item.add_asset("zarr", zarr_asset(href, square.group))
    for name, address in sorted(cogs.items()):
        attrs = encoding.variable_attrs(name)
        item.add_asset(
            name,
            pystac.Asset(
                href=str(address),
                title=attrs.get("long_name", name),
                media_type=COG,
                roles=["data"],
                extra_fields=band_fields(name) | _place(str(address)),
            ),
        )
    return item


def _place(address: str) -> dict[str, Any]:
    """Shape and transform of a COG on this machine, which may be of a part of the square."""
    import rasterio

    if not Path(address).is_file():
        return {}
    with rasterio.open(address) as file:
        return {
            "proj:shape": [file.height, file.width],
            "proj:transform": list(file.transform)[:6],
            "proj:bbox": list(file.bounds),
        }


def _properties(square: Square, row: Row) -> dict[str, Any]:
    grid = square.grid
    found = {
        "title": f"Surface soil moisture, {square.name}",
        "platform": row.platform,
        "constellation": "sentinel-1",
        "instruments": ["c-sar"],
        "gsd": 10,
        "updated": row.written or None,
        "sat:relative_orbit": row.relative_orbit if row.relative_orbit > 0 else None,
        "sat:orbit_state": row.orbit_state or None,
        "proj:code": f"EPSG:{square.epsg}",
        "proj:shape": list(map(int, grid.shape)),
        "proj:transform": [float(value) for value in tuple(grid.affine)[:6]],
        "proj:bbox": [float(value) for value in grid.boundingbox.bbox],
        "grid:code": f"MGRS-{square.name}",
        "processing:level": "L3",
        "processing:software": {"gssm": row.gssm_version} if row.gssm_version else None,
        "processing:lineage": "radar, optical partners and elevation: see gssm:source_items",
        "gssm:source_items": sorted({*row.radar, *row.partners, *row.elevation}),
        "gssm:model_sha256": row.model_sha256,
        "gssm:pixels_valued": row.valued,
        "gssm:pixels_failed": row.failed,
        "gssm:provisional": row.provisional,
    }
    return {name: value for name, value in found.items() if value is not None}


def zarr_asset(href: str, group: str | None = None) -> pystac.Asset:
    """Asset of the archive, or of one square of it: an Icechunk repository of Zarr 3.

    The date is found by its time; its place along the dimension changes when an archive
    is put in order.
    """
    import pystac

    options: dict[str, Any] = {"consolidated": False, "zarr_format": 3}
    return pystac.Asset(
        href=href,
        title="Archive (Icechunk repository of Zarr 3 groups)",
        media_type=ZARR,
        roles=["data"],
        extra_fields={
            "icechunk:branch": BRANCH,
            "xarray:open_kwargs": options | ({"group": group} if group else {}),
        },
    )


def band_fields(name: str) -> dict[str, Any]:
    """How the numbers of a packed file of a variable are read: type, nodata, scale, bits."""
    how = PACKINGS[name]
    fields: dict[str, Any] = {
        "data_type": how.dtype,
        "nodata": how.fill,
        "unit": encoding.variable_attrs(name)["units"],
        "raster:spatial_resolution": 10,
        "raster:sampling": "area",
    }
    if how.scale is not None:
        return fields | {"raster:scale": how.scale, "raster:offset": 0}
    return fields | {
        "classification:bitfields": [
            {
                "name": flag.meaning,
                "offset": flag.bit,
                "length": 1,
                "classes": [
                    {"value": 0, "name": "no"},
                    {"value": 1, "name": "yes"},
                ],
            }
            for flag in quality.FLAGS
        ]
    }


def collection(href: str, rows: Mapping[Square, Sequence[Row]]) -> pystac.Collection:
    """Make the Collection of an archive: its extent, terms and inputs, without Items.

    Parameters
    ----------
    href
        Of the archive.
    rows
        Ledger of each square.
    """
    import pystac

    done = [(square, row) for square in rows for row in rows[square] if row.status == "done"]
    times = sorted(dt.datetime.fromtimestamp(row.time, dt.UTC) for _, row in done)
    interval: list[dt.datetime | None] = [times[0], times[-1]] if times else [None, None]
    squares = sorted({square.name: square for square, _ in done}.items())
    boxes = [list(geographic_box(square.grid)) for _, square in squares]
    found = pystac.Collection(
        id=COLLECTION,
        title=encoding.TITLE,
        description=encoding.SUMMARY,
        keywords=list(encoding.KEYWORDS[1:]),
        license="other",
        providers=[_provider(*provider) for provider in PROVIDERS],
        extent=pystac.Extent(
            pystac.SpatialExtent([_around(boxes), *(boxes if len(boxes) > 1 else [])]),
            pystac.TemporalExtent([interval]),
        ),
        stac_extensions=sorted(COLLECTION_EXTENSIONS),
        summaries=pystac.Summaries(
            {
                "platform": sorted({row.platform for _, row in done}),
                "proj:code": sorted({f"EPSG:{square.epsg}" for _, square in squares}),
                "gsd": [10],
            }
        ),
        extra_fields={"sci:doi": encoding.DOI, "sci:citation": encoding.CITATION},
        assets={"zarr": zarr_asset(href)},
    )
    found.item_assets = {
        "zarr": pystac.ItemAssetDefinition.create("Archive", None, ZARR, ["data"]),
        **{name: _definition(name) for name in PACKINGS},
    }
    found.add_link(pystac.Link("cite-as", encoding.REFERENCES))
    for title, notice in (
        ("Copernicus Sentinel data", encoding.SENTINEL_NOTICE),
        ("Landsat", encoding.LANDSAT_NOTICE),
    ):
        found.add_link(pystac.Link("license", notice, "text/html", title))
    return found


def _provider(name: str, roles: Sequence[str], url: str) -> pystac.Provider:
    import pystac

    return pystac.Provider(name, roles=[pystac.ProviderRole(role) for role in roles], url=url)


def _definition(name: str) -> pystac.ItemAssetDefinition:
    import pystac

    title = encoding.variable_attrs(name)["long_name"]
    return pystac.ItemAssetDefinition.create(title, None, COG, ["data"], band_fields(name))


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Box around boxes in degrees; one across 180 degrees stays so where all are."""
    if not boxes:
        return [-180.0, -90.0, 180.0, 90.0]
    wests, souths, easts, norths = zip(*boxes, strict=True)
    crossing = [west > east for west, east in zip(wests, easts, strict=True)]
    whole_world = any(crossing) and not all(crossing)
    west, east = (-180.0, 180.0) if whole_world else (min(wests), max(easts))
    return [west, min(souths), east, max(norths)]


def shape_in_degrees(
    grid: GeoBox, coverage: Sequence[tuple[int, int]], chunk: int
) -> shapely.Polygon | shapely.MultiPolygon:
    """Ground of some chunks of a square, in degrees; all of it if none is named.

    Cut at the 180th meridian, as RFC 7946 wants it.
    """
    left, _, right, top = grid.boundingbox.bbox
    step = chunk * grid.resolution.x
    boxes = [
        shapely.box(left + j * step, top - (i + 1) * step, left + (j + 1) * step, top - i * step)
        for i, j in coverage
    ]
    ground = shapely.union_all(boxes) if boxes else shapely.box(*grid.boundingbox.bbox)
    # Edges of a zone bend: some points on each keep the shape within a pixel or so.
    dense = shapely.segmentize(shapely.simplify(ground, 0), (right - left) / 4)
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)
    shape = shapely.transform(dense, to_degrees.transform, interleaved=False)
    return _cut_at_180(shape)


def _cut_at_180(shape: Any) -> Any:
    west, _, east, _ = shape.bounds
    if east - west > 180:
        eastern = shapely.transform(shape, lambda x, y: (x + 360 * (x < 0), y), interleaved=False)
        parts = [
            shapely.intersection(eastern, shapely.box(0, -90, 180, 90)),
            shapely.transform(
                shapely.intersection(eastern, shapely.box(180, -90, 360, 90)),
                lambda x, y: (x - 360, y),
                interleaved=False,
            ),
        ]
        shape = shapely.multipolygons([p for part in parts for p in shapely.get_parts(part)])
    rounded = shapely.set_precision(shape, 10.0**-COORDINATE_DIGITS)
    # Its vertices are whole millionths only up to what a float64 can say.
    rounded = shapely.transform(rounded, lambda a: a.round(COORDINATE_DIGITS))
    return shapely.orient_polygons(shapely.normalize(rounded))


def _bbox(shape: Any) -> list[float]:
    """West, south, east, north; of a shape cut at 180 degrees west > east."""
    parts = [part.bounds for part in shapely.get_parts(shape)]
    souths, norths = [b[1] for b in parts], [b[3] for b in parts]
    western = [b for b in parts if b[0] == -180]
    eastern = [b for b in parts if b[2] == 180]
    if western and eastern:
        rest = [b for b in parts if b[0] > 0]
        others = [b for b in parts if b[0] <= 0]
        return [min(b[0] for b in rest), min(souths), max(b[2] for b in others), max(norths)]
    return [min(b[0] for b in parts), min(souths), max(b[2] for b in parts), max(norths)]
