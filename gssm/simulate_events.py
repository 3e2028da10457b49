"""Events on the simulated farm: fire, irrigation, flood, wilting, and weather of one's own.

An event changes the ground of `gssm.simulate` from a day on; radar, optical images and truth
then follow from one and the same ground. Each is a simple rule that its function states: made
to show how an analysis is done, not to show how well gssm would do on real ground. Times are
in days since `gssm.simulate.START` inside, and ISO dates outside (UTC); areas are polygons in
degrees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gssm.errors import RequestError
from gssm.simulate import Pass, write_scene
from gssm.simulate_ground import (
    EPSG,
    PIXEL,
    POROSITY,
    RAIN_RISE,
    WATER_NDVI,
    Farm,
    Ground,
    GroundOn,
    Mask,
    make_farm,
)
from gssm.simulate_items import ORBITS, START, days_since_start, passes

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "burn",
    "field_outlines",
    "flood",
    "irrigate",
    "season",
    "simulate_events",
    "simulate_rain",
    "wilt",
]

# The ground of a farm on a day -> the ground with what happened.
Event = Callable[[Farm, float, Ground], Ground]

WETTEST = 0.42  # m3 m-3, the wettest soil of the farm
CYCLE = 12  # days in which an orbit comes again
HAND = 9.0  # metres above the river at which the farm's wetness falls to 1/e
STEP = 0.1  # days in which a flood is followed


def burn(
    scar: Any,
    day: str,
    *,
    ndvi: float = 0.14,
    standing: float = 0.3,
    dried: float = 0.8,
    smoothed: float = 0.8,
) -> Event:
    """Burn an area; it stays burnt.

    Parameters
    ----------
    scar
        Polygon in degrees, of shapely or as GeoJSON.
    day
        When, ``"2023-06-10"``.
    ndvi
        What is left of it, for the optical images.
    standing
        Share of the loss of NDVI that the radar does not see: wood without leaves still hides
        the soil from it, which a correction by NDVI cannot know.
    dried, smoothed
        Factors of soil moisture and of the rms height of the surface.
    """
    began = _day(day)

    def event(farm: Farm, t: float, ground: Ground) -> Ground:
        if t < began:
            return ground
        inside = _inside(scar, farm) & ~ground.water
        left = np.minimum(ground.ndvi, ndvi)
        canopy = left + standing * (ground.canopy - left)
        return replace(
            ground,
            soil_moisture=np.where(inside, dried * ground.soil_moisture, ground.soil_moisture),
            ndvi=np.where(inside, left, ground.ndvi),
            canopy=np.where(inside, canopy, ground.canopy),
            s=np.where(inside, smoothed * ground.s, ground.s),
        )

    return event


def irrigate(
    fields: Any, days: Sequence[str], *, wets: float = RAIN_RISE, tau: float = 5.0
) -> Event:
    """Water fields on some days.

    Soil moisture rises as after a rain of the farm, by ``wets`` (m3 m-3) on dry soil and by less
    on wet, and falls by the same law with ``tau`` (days). The plants do not answer.

    Parameters
    ----------
    fields
        Polygons in degrees.
    days
        At noon of which it is done.
    """
    noons = [_day(day) + 0.5 for day in days]

    def event(farm: Farm, t: float, ground: Ground) -> Ground:
        rise = sum(wets * np.exp(-(t - noon) / tau) for noon in noons if noon < t)
        moisture = ground.soil_moisture
        wetter = np.minimum(moisture + rise * (1 - moisture / POROSITY), WETTEST)
        return replace(ground, soil_moisture=np.where(_inside(fields, farm), wetter, moisture))

    return event


def flood(levels: Mapping[str, float], *, tau: float = 8.0) -> Event:
    """Let the river rise and fall again.

    Ground lower above the river than the water's level is open water: no plant stands out of
    it. Left by the water it is as wet as soil gets here and drains with ``tau`` (days) to what
    it would be; its plants are as before.

    Parameters
    ----------
    levels
        Metres above the river at some times, ``{"2023-06-08": 0, "2023-06-10": 2}``; linear
        between them, nothing before and after.
    """
    times = np.array([_day(day) for day in levels])
    heights = np.array(list(levels.values()), np.float64)
    if len(times) < 2 or (np.diff(times) <= 0).any():
        raise RequestError("a flood needs two times or more, in order; give levels by date.")

    def event(farm: Farm, t: float, ground: Ground) -> Ground:
        if t < times[0]:
            return ground
        hand = -HAND * np.log(farm.wetness)
        last = np.full(hand.shape, -np.inf)  # the last day on which it was under water
        for day in (*np.arange(times[0], min(t, times[-1]), STEP), t):
            level = float(np.interp(day, times, heights, right=0.0))
            last[hand < level] = day
        water = ground.water | (last == t)
        drained = WETTEST - (WETTEST - ground.soil_moisture) * (1 - np.exp(-(t - last) / tau))
        return replace(
            ground,
            soil_moisture=np.where(np.isfinite(last), drained, ground.soil_moisture),
            ndvi=np.where(water, WATER_NDVI, ground.ndvi),
            canopy=np.where(water, WATER_NDVI, ground.canopy),
            water=water,
        )

    return event


def wilt(first: str, last: str, *, loss: float = 0.4, floor: float = 0.18) -> Event:
    """Lower the NDVI of plants by a share of what is above ``floor``, between two dates."""
    begins, ends = _day(first), _day(last) + 1

    def event(farm: Farm, t: float, ground: Ground) -> Ground:
        if not begins <= t < ends:
            return ground
        fields = ~ground.water & (ground.ndvi > floor)
        ndvi = np.where(fields, ground.ndvi - loss * (ground.ndvi - floor), ground.ndvi)
        canopy = np.where(fields, ground.canopy - loss * (ground.canopy - floor), ground.canopy)
        return replace(ground, ndvi=ndvi, canopy=canopy)

    return event


def simulate_rain(
    first: str, last: str, *, seed: int = 0, every: float = 4.0, wets: float = 0.06
) -> dict[str, float]:
    """Draw rain: date -> how much it wets dry soil (m3 m-3).

    Each day has rain with the chance ``1 / every``; amounts are exponential with the mean
    ``wets``. An equal seed gives equal weather on each date, whatever the period.
    """
    start, end = _time(first), _time(last)
    drawn = {}
    for number in range((end - start).days + 1):
        day = start + timedelta(days=number)
        rng = np.random.default_rng([seed, day.toordinal()])
        falls, amount = rng.random() < 1 / every, float(rng.exponential(wets))
        if falls:
            drawn[f"{day:%Y-%m-%d}"] = amount
    return drawn


def season(first: str, last: str, years: Sequence[int]) -> list[Pass]:
    """Return the passes of one orbit between two days (``"05-01"``) of some years, each 12 days.

    One orbit looks at a place under one angle, so that years can be compared.
    """
    orbit, found = ORBITS[0], []
    for year in sorted(years):
        begins, ends = _day(f"{year}-{first}"), _day(f"{year}-{last}") + 1
        numbers = range(int(np.ceil(begins / CYCLE)), int(np.ceil(ends / CYCLE)))
        found += [(START + timedelta(days=CYCLE * number), orbit) for number in numbers]
    return found


def simulate_events(
    folder: str | Path,
    events: Sequence[Event] = (),
    *,
    size: int = 100,
    schedule: int | Sequence[Pass] = 4,
    rain: Mapping[str, float] | None = None,
    seed: int = 0,
    corner: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Write a simulated catalogue in which something happens, and return what is true in it.

    Parameters
    ----------
    folder
        Absent or empty; holds then what `gssm.simulate.simulate_scene` writes.
    events
        `burn`, `irrigate`, `flood`, `wilt`, each on what those before it left.
    size, seed
        As of `gssm.simulate.simulate_scene`; without events the farm is the same.
    schedule
        Number of radar passes from 3 June 2023 on, 5 and 7 days apart in turn; or passes, such as
        of `season`.
    rain
        Date -> how much rain wets dry soil (m3 m-3), such as of `simulate_rain`; by default the
        regular one of the farm.
    corner
        Upper left, metres of UTM zone 31, multiples of 60; by default as in `simulate_scene`.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (m3 m-3; NaN on water), ``ndvi`` and ``water``, all (time, y, x).

    Raises
    ------
    RequestError
        There is no such scene, or an area holds no pixel of it.
    StoreExistsError
        The folder holds something; nothing is written.
    """
    planned = passes(schedule) if isinstance(schedule, int) else list(schedule)
    if size < 1 or not planned or seed < 0:
        raise RequestError(
            f"size={size}, seed={seed} and {len(planned)} passes make no scene; give a size and "
            "passes of 1 or more and a seed of 0 or more."
        )
    farm, on = story(events, size=size, rain=rain, seed=seed, corner=corner)
    return write_scene(folder, farm, on, planned, size=size, seed=seed)


def story(
    events: Sequence[Event],
    *,
    size: int,
    rain: Mapping[str, float] | None = None,
    seed: int = 0,
    corner: tuple[float, float] | None = None,
) -> tuple[Farm, GroundOn]:
    """Return a farm, and what its ground is on a day with what happened; see `simulate_events`."""
    farm = make_farm(size, seed, corner)
    if rain is not None:
        farm = replace(farm, rain=tuple((_day(day), wets) for day, wets in rain.items()))

    def on(t: float) -> Ground:
        ndvi = farm.ndvi(_in_first_year(t))
        ground = replace(farm.on(t), ndvi=ndvi, canopy=ndvi)
        for event in events:
            ground = event(farm, t, ground)
        return ground

    return farm, on


def field_outlines(
    *,
    size: int = 100,
    seed: int = 0,
    min_pixels: int = 60,
    corner: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return the fields of a farm that hold so many pixels, as GeoJSON in degrees.

    Each feature has ``field``, a number, and ``hectares``. The scene of the same size, seed and
    corner has these fields; parts of them that are river are left out.
    """
    import rasterio.features
    import shapely

    farm = make_farm(size, seed, corner)
    parcel = farm.parcel[:size, :size].astype(np.int32)
    land = ~farm.water[:size, :size]
    found = []
    for shape, number in rasterio.features.shapes(parcel, land, transform=_transform(farm.corner)):
        outline = shapely.geometry.shape(shape)
        if outline.area >= min_pixels * PIXEL**2:
            found.append((int(number), outline))
    features = [
        {
            "type": "Feature",
            "properties": {"field": number, "hectares": round(outline.area / 1e4, 2)},
            "geometry": shapely.geometry.mapping(projected(outline, to_degrees=True)),
        }
        for number, outline in sorted(found, key=lambda one: (one[0], -one[1].area))
    ]
    return {"type": "FeatureCollection", "features": features}


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{text!r} is no ISO date; write '2023-06-10'.") from error


def _day(text: str) -> float:
    return days_since_start(_time(text))


def _in_first_year(t: float) -> float:
    """Return the day of the year of `START` that is as far into it; plants know no other year."""
    year = (START + timedelta(days=t)).year
    return t + _day(f"{START.year}-01-01") - _day(f"{year}-01-01") if year != START.year else t


def _transform(corner: tuple[float, float]) -> Any:
    from rasterio import Affine

    return Affine(PIXEL, 0, corner[0], 0, -PIXEL, corner[1])


def projected(shape: Any, *, to_degrees: bool) -> Any:
    """Return a shape of degrees in metres of the farm's UTM zone, or the other way round."""
    import shapely
    from pyproj import Transformer

    here, there = f"EPSG:{EPSG}", "EPSG:4326"
    pair = (here, there) if to_degrees else (there, here)
    change = Transformer.from_crs(*pair, always_xy=True).transform
    return shapely.transform(shape, lambda x, y: change(x, y), interleaved=False)


def _inside(area: Any, farm: Farm) -> Mask:
    """Pixels of a farm whose centres lie in an area in degrees."""
    import shapely

    return _pixels(shapely.to_wkb(shapely.union_all(_shapes(area))), len(farm.water), farm.corner)


def _shapes(area: Any) -> list[Any]:
    """Return what an area is made of: of shapely, GeoJSON, or several of these."""
    import shapely

    if isinstance(area, (list, tuple)):
        return [shape for one in area for shape in _shapes(one)]
    geometry = getattr(area, "__geo_interface__", area)
    parts = geometry.get("features", geometry.get("geometry"))
    return [shapely.geometry.shape(geometry)] if parts is None else _shapes(parts)


@lru_cache(maxsize=32)
def _pixels(area: bytes, side: int, corner: tuple[float, float]) -> Mask:
    import shapely
    from rasterio.features import rasterize

    shape = projected(shapely.from_wkb(area), to_degrees=False)
    burnt: NDArray[np.uint8] = rasterize(
        [shape], (side, side), transform=_transform(corner), dtype="uint8"
    )
    if not burnt.any():
        raise RequestError(
            f"the area within ({', '.join(f'{v:g}' for v in shapely.from_wkb(area).bounds)}) holds "
            "no pixel of the farm; give degrees of longitude and latitude."
        )
    return np.asarray(burnt.astype(bool))
