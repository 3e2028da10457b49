"""Where relief hides the ground from the radar: layover, shadow, local incidence angle.

Sentinel-1 looks to the right, across its track. Ground that leans towards the radar more
than the beam comes down falls together with what lies in front of it (layover); ground that
leans away more than the beam is flat gets none of it (shadow). Both are told from the slope
of the pixel itself. Not covered: shadow cast onto other pixels, pixels that share the echo
of a slope in layover without leaning themselves, and relief finer than the elevation model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from gssm.blocks import map_kernel
from gssm.errors import CubeError
from gssm.terrain import rise

Array = np.ndarray[Any, Any]
FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]

# Sentinel-1 (ESA, Sentinel-1 mission guide): inclination, height, 175 orbits in 12 days. The
# orbit is synchronous with the sun, so that the Earth turns once a day under it.
INCLINATION = 98.18
ORBITS_PER_DAY = 175 / 12
HEIGHT, EARTH_RADIUS = 693e3, 6371e3  # metres

# Degrees. Closer to grazing or to the vertical, the radar tells more of relief than of soil.
LOCAL_INCIDENCE_RANGE = (20.0, 45.0)

ORBIT_STATES = ("ascending", "descending")
# Incidence at the near and the far edge of the swath, degrees; the direction of the beam
# turns with the distance to the track, evenly in between to 0.5 degree (0.2 below 60 north).
NEAR, FAR = 29.0, 46.5
# Nodes along each axis to which the direction is fitted, and powers of each coordinate.
NODES, POWERS = 5, 3

# What `terrain_inputs` hands to `hidden`.
INPUTS = ("rise_north", "rise_east", "look_y", "look_x", "orbit")


def look_azimuth(latitude: Any, incidence_angle: Any, orbit_state: str) -> FloatArray:
    """Direction in which the radar beam travels over the ground, clockwise from north.

    The beam leaves at a right angle to the velocity of the satellite over the turning
    Earth (zero Doppler, to the right) and follows a great circle, along which its
    direction changes: by 3 degrees across the swath at 50 degrees of latitude.

    Parameters
    ----------
    latitude
        Of the ground, degrees.
    incidence_angle
        On the ellipsoid, degrees.
    orbit_state
        ``"ascending"`` or ``"descending"``.

    Returns
    -------
    ndarray
        Degrees, 0 to 360; NaN where no such orbit sees the ground (near the poles).
        Within 0.5 degree of the geolocation grids of real scenes.
    """
    theta, target = np.deg2rad(incidence_angle), np.deg2rad(latitude)
    # Angle at the Earth's centre between the satellite and the ground.
    gamma = theta - np.arcsin(EARTH_RADIUS / (EARTH_RADIUS + HEIGHT) * np.sin(theta))
    satellite, reached, azimuth = target, target, target
    with np.errstate(invalid="ignore"):
        for _ in range(20):  # until the great circle ends at the ground
            satellite = satellite + (target - reached)
            start = _heading(satellite, orbit_state) + np.pi / 2
            reached = np.arcsin(
                np.sin(satellite) * np.cos(gamma)
                + np.cos(satellite) * np.sin(gamma) * np.cos(start)
            )
            azimuth = np.arctan2(
                np.sin(start) * np.cos(satellite),
                np.cos(gamma) * np.cos(satellite) * np.cos(start)
                - np.sin(satellite) * np.sin(gamma),
            )
        seen = np.abs(target - reached) < 1e-3
    return np.asarray(np.where(seen, np.rad2deg(azimuth) % 360, np.nan))


def _heading(latitude: Any, orbit_state: str) -> Any:
    """Direction of flight over the ground in radians, from the spherical right triangle."""
    eastward = np.cos(np.deg2rad(INCLINATION)) / np.cos(latitude)
    northward = np.sqrt(1 - eastward**2) * (1 if orbit_state == "ascending" else -1)
    return np.arctan2(eastward - np.cos(latitude) / ORBITS_PER_DAY, northward)


def terrain_inputs(cube: xr.Dataset) -> tuple[dict[str, xr.DataArray], Array]:
    """Return what `hidden` needs beside the incidence angle; nothing where it is unknown.

    Returns
    -------
    inputs
        The rise of the elevation towards grid north and east (metre per metre), the place
        of rows and columns in the grid (-1 to 1) and the orbit (index of `ORBIT_STATES`,
        -1 for unknown). Empty without ``dsm``, ``orbit_state`` or the place of the grid.
    look
        Coefficients of the beam's direction in the grid, from `_fit_look`.
    """
    needed = ("dsm", "orbit_state", "spatial_ref", "y", "x")
    wkt = cube["spatial_ref"].attrs.get("crs_wkt") if "spatial_ref" in cube.coords else None
    if not all(name in cube for name in needed) or not wkt:
        return {}, np.empty(0)
    dsm = cube["dsm"]
    if not {"y", "x"} <= set(dsm.dims) or min(dsm.sizes["y"], dsm.sizes["x"]) < 2:
        return {}, np.empty(0)
    y, x = (_span(cube[d].values) for d in ("y", "x"))
    orbit = xr.apply_ufunc(
        _orbit, cube["orbit_state"], dask="parallelized", output_dtypes=[np.int8]
    )
    inputs = {
        "rise_north": _bare(rise(dsm, "y")),
        "rise_east": _bare(rise(dsm, "x")),
        "look_y": xr.DataArray(_normalised(cube["y"].values, *y), dims="y"),
        "look_x": xr.DataArray(_normalised(cube["x"].values, *x), dims="x"),
        "orbit": _bare(orbit),
    }
    return inputs, _fit_look(wkt, y, x)


def _bare(array: xr.DataArray) -> xr.DataArray:
    """Leave the coordinates off: xarray computes lazy words among them to cut them up."""
    return xr.DataArray(array.data, dims=array.dims)


def _orbit(states: Array) -> Array:
    # Objects compare with a text whatever they are: Zarr's texts of any length cannot be cast
    # to numpy's, and an unknown state may be None or NaN.
    states = np.asarray(states).astype(object)
    return np.select([states == s for s in ORBIT_STATES], range(len(ORBIT_STATES)), -1).astype(
        np.int8
    )


def _span(values: FloatArray) -> tuple[float, float]:
    """Middle of a coordinate, and half of its extent."""
    low, high = float(values.min()), float(values.max())
    return (low + high) / 2, (high - low) / 2


def _normalised(values: FloatArray, middle: float, half: float) -> FloatArray:
    return ((values - middle) / half).astype(np.float32)


def _fit_look(wkt: str, y: tuple[float, float], x: tuple[float, float]) -> Array:
    """Fit the direction of the beam over a grid: a polynomial of the place per angle.

    True north is not the north of the grid: directions go through the projection, node by
    node. From the whole grid, so that no chunk sees another direction than its neighbour.

    Returns
    -------
    ndarray
        float32 ``(orbit, angle, component, power of y, power of x)``: angle is the value at
        `NEAR` and its change per degree of incidence, component is grid north and grid
        east. The last orbit is NaN: unknown.
    """
    from pyproj import Transformer

    nodes = np.linspace(-1, 1, NODES)
    v, u = (axis.ravel() for axis in np.meshgrid(nodes, nodes, indexing="ij"))
    to_degrees = Transformer.from_crs(wkt, "EPSG:4326", always_xy=True)
    easting, northing = x[0] + u * x[1], y[0] + v * y[1]
    longitude, latitude = to_degrees.transform(easting, northing)

    def in_grid(azimuth: FloatArray) -> FloatArray:
        """Step 1e-3 degree of a great circle ahead and see where that is in the grid."""
        step_n = 1e-3 * np.cos(np.deg2rad(azimuth))
        step_e = 1e-3 * np.sin(np.deg2rad(azimuth)) / np.cos(np.deg2rad(latitude))
        ahead, behind = (
            to_degrees.transform(
                longitude + sign * step_e, latitude + sign * step_n, direction="INVERSE"
            )
            for sign in (1, -1)
        )
        north, east = ahead[1] - behind[1], ahead[0] - behind[0]
        length = np.hypot(north, east)
        return np.stack([north / length, east / length])

    terms = np.stack([v**i * u**j for i in range(POWERS) for j in range(POWERS)], axis=1)
    solve = np.linalg.pinv(terms)
    look = np.full((len(ORBIT_STATES) + 1, 2, 2, POWERS, POWERS), np.nan, np.float32)
    for index, state in enumerate(ORBIT_STATES):
        near, far = (in_grid(look_azimuth(latitude, angle, state)) for angle in (NEAR, FAR))
        for angle, values in enumerate((near, (far - near) / (FAR - NEAR))):
            if np.isfinite(values).all():
                look[index, angle] = (values @ solve.T).reshape(2, POWERS, POWERS)
    return look


def hidden(values: Mapping[str, Any], look: Array) -> tuple[Array, Array]:
    """Tell layover or shadow, and where the local incidence angle is out of range.

    Of numpy blocks ``(time, y, x)``, or of length 1: `INPUTS` and ``incidence_angle``.
    False where anything is unknown.
    """
    squared, ahead, slope, tangent = _geometry(values, look)
    with np.errstate(invalid="ignore"):
        hides = (slope > tangent) | (ahead < 0)
        near, far = LOCAL_INCIDENCE_RANGE
        steep, flat = np.cos(np.deg2rad((near, far))) ** 2
        out = (squared > np.float32(steep)) | (squared < np.float32(flat)) | (ahead < 0)
    return hides, out


def _geometry(values: Mapping[str, Any], look: Array) -> tuple[Any, Any, Any, Any]:
    """Return cos^2 of the local incidence angle and the terms it is made of.

    With the horizontal direction b of the beam, the gradient g of the elevation, and
    s = g . b (positive where the ground leans towards the radar), the line of sight
    (-b sin(theta), cos(theta)) and the normal (-g, 1) enclose the local incidence angle:

        cos(lia) = (cos(theta) + s sin(theta)) / sqrt(1 + |g|^2)

    (Small, 2011, doi:10.1109/TGRS.2011.2120616; Lee and Pottier, 2009.) In the plane of
    the beam the ground leans by arctan(s): layover where tan(theta) < s, shadow where
    1 + s tan(theta) < 0. All from tan(theta), one trigonometric function per pixel.
    """
    angle = values["incidence_angle"]
    north, east = values["rise_north"], values["rise_east"]
    at_near, per_degree = (
        [_polynomial(values, look[:, k, component]) for component in range(2)] for k in range(2)
    )
    beyond = angle - np.float32(NEAR)
    slope = north * (at_near[0] + per_degree[0] * beyond)
    slope += east * (at_near[1] + per_degree[1] * beyond)
    tangent = np.tan(np.deg2rad(angle))
    ahead = 1 + slope * tangent
    squared = ahead * ahead / ((1 + tangent * tangent) * (1 + north * north + east * east))
    return squared, ahead, slope, tangent


def _polynomial(values: Mapping[str, Any], coefficients: Array) -> Any:
    """Evaluate one component of the beam's direction by Horner's rule."""
    v, u = values["look_y"], values["look_x"]
    c = coefficients[values["orbit"]]  # the last, for -1, is NaN
    rows = [c[..., 0, j] + v * (c[..., 1, j] + v * c[..., 2, j]) for j in range(POWERS)]
    return rows[0] + u * (rows[1] + u * rows[2])


def local_incidence_angle(cube: xr.Dataset) -> xr.DataArray:
    """Angle between the line of sight of the radar and the normal of the ground.

    Parameters
    ----------
    cube
        With ``incidence_angle``, ``dsm``, ``orbit_state`` and ``spatial_ref``, such as from
        `gssm.open_cube`.

    Returns
    -------
    xarray.DataArray
        Degrees, float32 ``(time, y, x)``; above 90 in shadow, NaN where the elevation or
        the orbit is unknown. Lazy where the cube is lazy.

    Raises
    ------
    CubeError
        The cube lacks one of the variables.
    """
    inputs, look = terrain_inputs(cube)
    if not inputs or "incidence_angle" not in cube:
        raise CubeError(
            "the cube lacks incidence_angle, dsm, orbit_state, or y and x with a spatial_ref, "
            "which the local incidence angle is made of; make the cube with gssm.open_cube."
        )
    inputs = {"incidence_angle": _bare(cube["incidence_angle"]), **inputs}
    template = cube["vv"] if "vv" in cube else cube["incidence_angle"]
    values = map_kernel(
        _degrees, list(inputs.values()), template, np.float32, names=list(inputs), look=look
    )
    attrs = {"long_name": "local incidence angle", "units": "degree"}
    return xr.DataArray(
        values, dims=template.dims, coords=template.coords, name="local_incidence_angle"
    ).assign_attrs(attrs)


def _degrees(*blocks: Array, names: list[str], look: Array) -> Array:
    squared, ahead, _, _ = _geometry(dict(zip(names, blocks, strict=True)), look)
    cosine = np.sign(ahead) * np.sqrt(squared)
    return np.asarray(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))), np.float32)
