"""Quality flags: a bit field that says why a pixel is uncertain or has no value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gssm import physics, schema, shadow
from gssm.blocks import elementwise, map_kernel
from gssm.correct import linear_power
from gssm.errors import CubeError


@dataclass(frozen=True)
class Flag:
    """One bit: its position, its CF meaning and whether the pixel keeps its value."""

    bit: int
    meaning: str
    keeps_value: bool

    @property
    def mask(self) -> int:
        """The bit as a number."""
        return 1 << self.bit


FLAGS: tuple[Flag, ...] = (
    Flag(0, "sentinel2_missing", True),
    Flag(1, "landsat_missing", True),
    Flag(2, "elevation_missing", True),
    Flag(3, "cloud_or_shadow", True),
    Flag(4, "snow_or_frozen", False),
    Flag(5, "water", False),
    Flag(6, "vegetation_dominates_radar", True),
    Flag(7, "incidence_angle_out_of_range", True),
    Flag(8, "layover_or_shadow", False),
    Flag(9, "outside_applicability", True),
    Flag(10, "reused_old_partner", True),
    Flag(11, "read_failed", False),
    # Set for a model that reads `gssm.history` and was given none.
    Flag(12, "history_missing", True),
    Flag(13, "local_incidence_out_of_range", True),
)
BY_MEANING: dict[str, Flag] = {flag.meaning: flag for flag in FLAGS}
NO_VALUE: int = sum(flag.mask for flag in FLAGS if not flag.keeps_value)

# Near and far edge of the Interferometric Wide swath on the ellipsoid (degrees);
# an angle outside belongs to another mode or to a wrong annotation.
INCIDENCE_ANGLE_RANGE = (29.0, 46.5)

# The paper pairs a radar acquisition with optical images at most this old (days).
FRESH_PARTNER_DAYS = 3.0

ATTRS: dict[str, Any] = {
    "long_name": "quality flags of the soil moisture retrieval",
    "standard_name": "quality_flag",
    "units": "1",
    "flag_masks": np.array([flag.mask for flag in FLAGS], dtype=np.uint16),
    "flag_meanings": " ".join(flag.meaning for flag in FLAGS),
}


def quality_flag(cube: xr.Dataset, water_cloud: physics.WaterCloud | None = None) -> xr.DataArray:
    """Flag every pixel of a cube, from the cube alone and lazily where it is lazy.

    Returns
    -------
    xarray.DataArray
        uint16 ``(time, y, x)`` with CF ``flag_masks`` and ``flag_meanings``. Bits
        whose inputs the cube lacks are not set, except that an absent sensor is
        missing everywhere. Layover, shadow and the local incidence angle need ``dsm``,
        ``orbit_state`` and the place of the grid (`gssm.shadow`).

    Raises
    ------
    CubeError
        A mask holds what is no class; of a lazy cube when it is computed.
    """
    template = cube["vv"]
    inputs = {name: cube[name] for name in _INPUTS if name in cube}
    if "s2_b4" in cube and "s2_b8" in cube:
        bands = cube["s2_b8"], cube["s2_b4"]
        inputs["ndvi"] = elementwise(physics.normalized_difference, *bands)
    look = None
    if "incidence_angle" in cube:
        terrain, look = shadow.terrain_inputs(cube)
        inputs |= terrain
    for polarization in schema.BACKSCATTER:
        if polarization in cube:
            inputs[polarization] = linear_power(cube, polarization)
    values = map_kernel(
        _flags,
        list(inputs.values()),
        template,
        np.uint16,
        names=list(inputs),
        water_cloud=water_cloud or physics.WaterCloud(),
        look=look,
    )
    return xr.DataArray(
        values, dims=template.dims, coords=template.coords, name="quality_flag", attrs=ATTRS
    )


_INPUTS = (
    *("incidence_angle", "s2_age", "landsat_age", "s2_mask", "landsat_mask", "landsat_b5"),
    *("dsm", "read_failed"),
)


def _flags(
    *blocks: np.ndarray[Any, Any],
    names: list[str],
    water_cloud: physics.WaterCloud,
    look: np.ndarray[Any, Any] | None,
) -> np.ndarray[Any, Any]:
    values = dict(zip(names, blocks, strict=True))
    shape = np.broadcast_shapes(*(b.shape for b in blocks))
    flags = np.zeros(shape, np.uint16)

    def raise_flag(meaning: str, where: Any) -> None:
        flags[np.broadcast_to(where, shape)] |= np.uint16(BY_MEANING[meaning].mask)

    s2, landsat = values.get("s2_mask"), values.get("landsat_mask")
    missing = {
        "sentinel2_missing": np.isnan(values["ndvi"]) if "ndvi" in values else True,
        "landsat_missing": np.isnan(values["landsat_b5"]) if "landsat_b5" in values else True,
        "elevation_missing": np.isnan(values["dsm"]) if "dsm" in values else True,
    }
    for meaning, where in missing.items():
        raise_flag(meaning, where)
    for name, mask in (("s2_mask", s2), ("landsat_mask", landsat)):
        if mask is not None:
            _refuse_averaged(mask, name)
            raise_flag("cloud_or_shadow", mask == schema.MASK_CLOUD)
            raise_flag("snow_or_frozen", mask == schema.MASK_SNOW)
            raise_flag("read_failed", mask == schema.MASK_UNREADABLE)
    raise_flag("water", _water(s2, landsat))
    if "read_failed" in values:
        raise_flag("read_failed", values["read_failed"] != 0)
    if "incidence_angle" in values:
        near, far = INCIDENCE_ANGLE_RANGE
        angle = values["incidence_angle"]
        # A NaN angle is out of range too.
        raise_flag("incidence_angle_out_of_range", ~((angle >= near) & (angle <= far)))
        if "ndvi" in values:
            raise_flag("vegetation_dominates_radar", _vegetation_dominates(values, water_cloud))
    if look is not None and "orbit" in values:
        hides, out_of_range = shadow.hidden(values, look)
        raise_flag("layover_or_shadow", hides)
        raise_flag("local_incidence_out_of_range", out_of_range)
    for age in ("s2_age", "landsat_age"):
        if age in values:
            raise_flag("reused_old_partner", np.abs(values[age]) > FRESH_PARTNER_DAYS)
    return flags


def _refuse_averaged(mask: np.ndarray[Any, Any], name: str) -> None:
    """Refuse a mask that holds anything between its classes.

    A mean of classes is another class: half clear and half snow make water.
    """
    if mask.dtype.kind != "f":
        return
    with np.errstate(invalid="ignore"):  # infinity less infinity
        between = mask[np.abs(mask - np.rint(mask)) > 0]  # NaN, no mask, is not
    if between.size:
        raise CubeError(
            f"{name} holds {between[0]:g}, which is no class: masks cannot be averaged; average "
            "the product, or give open_cube another resolution, such as resolution=20."
        )


def _water(s2: Any, landsat: Any) -> Any:
    """Water where Sentinel-2 sees it, or Landsat where Sentinel-2 saw no ground."""
    if s2 is None:
        return False if landsat is None else landsat == schema.MASK_WATER
    if landsat is None:
        return s2 == schema.MASK_WATER
    s2_saw_ground = s2 <= schema.MASK_SNOW
    return np.where(s2_saw_ground, s2 == schema.MASK_WATER, landsat == schema.MASK_WATER)


def _vegetation_dominates(values: dict[str, Any], water_cloud: physics.WaterCloud) -> Any:
    dominated: Any = False
    for polarization in schema.BACKSCATTER:
        sigma = values.get(polarization)
        if sigma is not None:
            _, sigma_veg = physics.vegetation_terms(
                values["ndvi"], values["incidence_angle"], polarization, water_cloud
            )
            dominated = dominated | (sigma <= sigma_veg)
    return dominated
