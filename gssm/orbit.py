"""Incidence angle of Sentinel-1 from its reference orbit alone: no annotation, no raster.

Sentinel-1 is kept within a few hundred metres of a reference orbit that repeats after 175
revolutions in 12 days, so the number of the revolution and the direction of flight say where
it was when it saw a place. The orbit is near-circular, frozen and sun-synchronous; its few
constants are those that ESA publishes in its Reference Orbit Scenario File (S1A MPL_ORBSCT,
version 24) where it does, else fitted to the state vectors in the annotation of two scenes,
which they meet within 50 m.

Measured error: at most 0.04 degree against the geolocation grids of two annotated scenes (42 and
47 degrees north, descending, heights taken into account) and eight rasters of the angle (51
degrees north, ascending, Sentinel-1A and B). A height that is left out adds 0.04 degree per
kilometre: 0.09 at the highest point of those scenes, and up to 0.25 at 6000 m.
"""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
from odc.geo.geobox import GeoBox

from gssm.errors import ItemError

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]

# --- the reference orbit ------------------------------------------------------------------

# Sentinel-1A drifted for its first months; the file has it on the reference orbit since then.
SINCE = np.datetime64("2014-08-01")
REVOLUTIONS, DAYS = 175, 12
# Longitude of the ascending node of relative orbit 1 in degrees: ANX_Longitude of the file.
FIRST_NODE = 0.146
# Degrees. The mean inclination is 98.185; the oblateness of the earth (J2) moves the satellite
# across its plane by -3/8 J2 (R/a)^2 sin(2i) sin(u), as if it were 0.005 more.
INCLINATION = 98.190
# Metres, and the eccentricity of the frozen orbit, whose perigee stays at its northernmost point.
# The radius at the node is the published 7 076.9 km.
MEAN_RADIUS = 7_075_400.0
ECCENTRICITY = 0.00115
# Amplitude of the radius in metres, twice per revolution, by J2: J2 R^2 sin^2(i) / (4 a).
_RADIUS_J2 = 1.0826e-3 * 6_378_137.0**2 * math.sin(math.radians(INCLINATION)) ** 2
RADIUS_AMPLITUDE = _RADIUS_J2 / (4 * MEAN_RADIUS)

# WGS 84.
EQUATOR_RADIUS = 6_378_137.0
ECCENTRICITY_SQUARED = 6.694379990141e-3

# Degrees of latitude on either side of the equator where an ascending image may still carry the
# number of the revolution that ends there: a data take runs on over the node.
AROUND_NODE = 5.0
# The step along the orbit falls by a factor of 50 each time.
ITERATIONS = 6
# Sine of 10 degrees: so far beyond its northernmost or southernmost point a satellite may be
# when it ends an image that it began on the way there.
OVER_THE_TOP = 0.17

# Absolute orbit from which on, and the orbit number that relative orbit 1 has: for A, B and C as
# in ESA's description of the products; C was moved in June 2026, after orbit 8018, and its
# second number and that of D are those presented at FRINGE 2026.
_FIRST_ORBITS: dict[str, tuple[tuple[int, int], ...]] = {
    "sentinel-1a": ((1743, 73),),  # on the reference orbit since 1 August 2014
    "sentinel-1b": ((1, 27),),
    "sentinel-1c": ((1, 172), (8019, 99)),
    "sentinel-1d": ((1, 42),),
}

_SIGN = {"ascending": 1, "descending": -1}

# Chebyshev nodes in each direction, and metres of the grid per further node: 2e-6 degree for a
# grid of 1000 km.
NODES, METRES_PER_NODE = 12, 50_000
# Degrees. Sentinel-1 sees nothing outside of this in any mode; beyond, the angle is NaN.
SEEN = (15.0, 60.0)


def relative_orbit(platform: str, absolute_orbit: int) -> int:
    """Give the revolution's number in the repeat cycle, 1 to 175, from its absolute number.

    ``(absolute - first) mod 175 + 1``, where ``first`` is of each satellite (Sentinel-1 product
    description of ESA; for Sentinel-1C after its move in June 2026, and for Sentinel-1D, the
    numbers that isce2 took from ESA's presentation at FRINGE 2026).

    Raises
    ------
    ItemError
        No rule is known for the platform, or the number is none.
    """
    rules = _FIRST_ORBITS.get(platform.lower())
    if rules is None:
        raise ItemError(
            f"platform {platform!r} has no known rule from absolute to relative orbit; "
            f"gssm knows {', '.join(_FIRST_ORBITS)}: state sat:relative_orbit in the item."
        )
    if absolute_orbit != int(absolute_orbit) or absolute_orbit < 1:
        raise ItemError(
            f"absolute orbit {absolute_orbit!r} of {platform} is none; state sat:relative_orbit, "
            "or a whole number from 1 on."
        )
    firsts = [first for since, first in rules if since <= absolute_orbit]
    if not firsts:
        raise ItemError(
            f"absolute orbit {absolute_orbit} of {platform} was before it reached its reference "
            "orbit, so its geometry is unknown; use later images."
        )
    first = firsts[-1]
    return (int(absolute_orbit) - first) % REVOLUTIONS + 1


def is_known(relative_orbit: int | None, orbit_state: str) -> bool:
    """Tell whether an orbit number and a direction of flight give the geometry."""
    in_cycle = relative_orbit is not None and 1 <= relative_orbit <= REVOLUTIONS
    return in_cycle and orbit_state.lower() in _SIGN


def incidence_angle(
    latitude: Any, longitude: Any, relative_orbit: int, orbit_state: str, *, height: Any = 0.0
) -> FloatArray:
    """Angle between the line of sight and the normal of the ellipsoid, in degrees.

    Parameters
    ----------
    latitude, longitude
        Degrees on WGS 84, of any shape.
    relative_orbit
        Number of the revolution, 1 to 175.
    orbit_state
        ``"ascending"`` or ``"descending"``.
    height
        Metres above the ellipsoid.

    Returns
    -------
    numpy.ndarray
        Of the shape of the coordinates; negative to the left of the track, where Sentinel-1
        does not look, and NaN where only the other half of the revolution passes.
        Within 0.04 degree of the annotation where the height is known (see the
        module for how that was measured).

    Raises
    ------
    ItemError
        The orbit number or the direction is none.
    """
    if not is_known(relative_orbit, orbit_state):
        raise ItemError(
            f"relative orbit {relative_orbit!r}, {orbit_state!r} is not of Sentinel-1; give a "
            f"number from 1 to {REVOLUTIONS} and 'ascending' or 'descending'."
        )
    angle, u = _angle(latitude, longitude, height, relative_orbit, orbit_state)
    # What lies on the far side of the earth finds the other half of the revolution.
    on_its_way = _SIGN[orbit_state.lower()] * np.cos(u) > -OVER_THE_TOP
    return np.where(on_its_way, angle, np.nan)


def _angle(
    latitude: Any, longitude: Any, height: Any, relative_orbit: int, orbit_state: str
) -> tuple[FloatArray, FloatArray]:
    """Angle in degrees and where along the orbit it is seen, in radians from the node."""
    latitude, longitude, height = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (latitude, longitude, height))
    )
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    normal = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    radius = EQUATOR_RADIUS / np.sqrt(1 - ECCENTRICITY_SQUARED * np.sin(phi) ** 2)
    flattened = np.array([1, 1, 1 - ECCENTRICITY_SQUARED]).reshape(3, *[1] * phi.ndim)
    ground = normal * (radius * flattened + height)

    node = np.deg2rad(FIRST_NODE - (relative_orbit - 1) * 360 * DAYS / REVOLUTIONS)
    u = _zero_doppler(ground, _first_guess(latitude, longitude, node, orbit_state), node)
    satellite, velocity = _position(u, node), _velocity(u, node)
    sight = satellite - ground
    # Components of the line of sight along the normal and to the left of the flight; the third,
    # along the flight, is zero but for the angle between normal and radius, which is second order.
    left = np.cross(satellite, velocity, axis=0)
    left = left - _dot(left, normal) * normal
    left /= np.sqrt(_dot(left, left))
    return np.asarray(np.rad2deg(np.arctan2(_dot(sight, left), _dot(sight, normal)))), u


def angle_coefficients(grid: GeoBox, relative_orbit: int, orbit_state: str) -> FloatArray:
    """Incidence angle over a projected grid as a Chebyshev series, ``(order y, order x)``.

    The angle is smooth: a dozen points in each direction say what it is everywhere between,
    and each pixel costs a few multiplications.
    """
    from pyproj import Transformer

    box = grid.boundingbox
    span = max(box.span_x, box.span_y)
    nodes = max(NODES, math.ceil(span / METRES_PER_NODE))
    turns = np.pi * (np.arange(nodes) + 0.5) / nodes
    place = np.cos(turns)
    x = (box.left + box.right) / 2 + place * box.span_x / 2
    y = (box.bottom + box.top) / 2 + place * box.span_y / 2
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(*np.meshgrid(x, y))
    angle, _ = _angle(latitude, longitude, 0.0, relative_orbit, orbit_state)
    basis = np.cos(np.arange(nodes)[:, None] * turns) * 2 / nodes
    basis[0] /= 2
    return np.asarray(basis @ angle @ basis.T)


def angles_on_grid(coefficients: FloatArray, grid: GeoBox, chunks: tuple[int, int]) -> da.Array:
    """Evaluate series of `angle_coefficients`, ``(time, order y, order x)``, lazily.

    Returns
    -------
    dask.array.Array
        ``(time, y, x)``, float32, degrees; a chunk per time. A series of one number is that
        number. The same for any chunks, to the bit.
    """
    rows, columns = grid.shape
    series = da.from_array(coefficients, chunks=(1, *coefficients.shape[1:]))
    y = da.from_array(1 - (2 * np.arange(rows) + 1) / rows, chunks=chunks[0])
    x = da.from_array((2 * np.arange(columns) + 1) / columns - 1, chunks=chunks[1])
    values: da.Array = da.blockwise(
        _evaluate,
        "tyx",
        *(series, "tij", y, "y", x, "x"),
        concatenate=True,
        align_arrays=False,
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
    )
    return values


def _evaluate(series: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """Sum the series of one time step: element by element, so that chunks change nothing."""
    coefficients = series[0]
    shape = (1, y.size, x.size)
    if not np.any(coefficients.ravel()[1:]):
        return np.full(shape, coefficients[0, 0], np.float32)
    along_y, along_x = _chebyshev(y, coefficients.shape[0]), _chebyshev(x, coefficients.shape[1])
    angle = np.zeros(shape[1:])
    for order, column in zip(along_x, coefficients.T, strict=True):
        profile = sum(c * t for c, t in zip(column, along_y, strict=True))
        angle += np.asarray(profile)[:, None] * order
    angle[(angle < SEEN[0]) | (angle > SEEN[1])] = np.nan
    return angle[None].astype(np.float32)


def _chebyshev(at: FloatArray, count: int) -> list[FloatArray]:
    """Chebyshev polynomials of the first kind by their recurrence."""
    values = [np.ones_like(at), at]
    while len(values) < count:
        values.append(2 * at * values[-1] - values[-2])
    return values[:count]


def _first_guess(
    latitude: FloatArray, longitude: FloatArray, node: float, orbit_state: str
) -> FloatArray:
    """Angle along the orbit from the node, where the satellite has about this latitude."""
    sine = np.sin(np.deg2rad(latitude)) / math.sin(math.radians(INCLINATION))
    u = np.arcsin(np.clip(sine, -1, 1))
    if _SIGN[orbit_state.lower()] < 0:
        return np.pi - u
    # A revolution begins at the equator and ends south of it, so the way up is in two parts.
    start, end = u, u + 2 * np.pi
    near = [np.cos(_longitude(v, node) - np.deg2rad(longitude)) for v in (start, end)]
    at_end = np.where(np.abs(latitude) < AROUND_NODE, near[1] > near[0], latitude < 0)
    return np.where(at_end, end, start)


def _zero_doppler(ground: FloatArray, u: FloatArray, node: float) -> FloatArray:
    """Where the line of sight is at right angles to the flight over the turning earth."""
    for _ in range(ITERATIONS):
        velocity = _velocity(u, node)
        ahead = _dot(ground - _position(u, node), velocity)
        # The curvature of the orbit shortens the way by the ratio of range to radius, a tenth.
        u = u + 1.11 * ahead / _dot(velocity, velocity)
    return u


def _position(u: FloatArray, node: float) -> FloatArray:
    """Earth-fixed position in metres, ``(3, ...)``, at the angle u from the ascending node."""
    inclination = math.radians(INCLINATION)
    radius = MEAN_RADIUS * (1 - ECCENTRICITY * np.sin(u)) + RADIUS_AMPLITUDE * np.cos(2 * u)
    along, across = np.cos(u), np.sin(u) * math.cos(inclination)
    turned = node - _turn(u)
    return np.stack(
        [
            radius * (along * np.cos(turned) - across * np.sin(turned)),
            radius * (along * np.sin(turned) + across * np.cos(turned)),
            radius * np.sin(u) * math.sin(inclination),
        ]
    )


def _velocity(u: FloatArray, node: float) -> FloatArray:
    """Change of the earth-fixed position per radian of u, in metres."""
    step = 1e-4
    return (_position(u + step, node) - _position(u - step, node)) / (2 * step)


def _turn(u: FloatArray) -> FloatArray:
    """Radians by which the earth has turned under the orbit since the node.

    The plane of a sun-synchronous orbit follows the sun, so it is one turn per day; the time
    since the node by the equation of the centre, with the perigee at 90 degrees.
    """
    revolutions = (u + 2 * ECCENTRICITY * (np.cos(u) - 1)) / (2 * np.pi)
    return np.asarray(2 * np.pi * revolutions * DAYS / REVOLUTIONS)


def _longitude(u: FloatArray, node: float) -> FloatArray:
    """Longitude under the satellite in radians."""
    across = np.sin(u) * math.cos(math.radians(INCLINATION))
    return np.asarray(node - _turn(u) + np.arctan2(across, np.cos(u)))


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray((a * b).sum(axis=0))
