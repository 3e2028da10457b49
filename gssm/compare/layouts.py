"""Published layouts of other products: what is where in their files, and who says so.

To support another product of a known form, add its row. ``docs/compare.md`` has the same
table for users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gssm.compare.canonical import SATURATION, VOLUMETRIC

Form = Literal["netcdf", "smap-l3", "smap-l4", "geotiff", "hru"]

# Units that files state -> factor to m3 m-3. Saturation needs a porosity besides.
FACTORS: dict[str, float] = dict.fromkeys(VOLUMETRIC, 1.0)
SATURATION_FACTORS: dict[str, float] = dict.fromkeys(SATURATION, 0.01)


@dataclass(frozen=True)
class Layout:
    """One product.

    Parameters
    ----------
    name
        What `gssm.open_product` calls it.
    title
        What it is, with its resolution.
    form
        The reader of its files.
    files
        Pattern of the names of its files, as published.
    variables
        Names of soil moisture, of which a file has one.
    units
        Those of the variable where the file states none, ``""`` if it always does.
    valid
        Smallest and largest stored number that is a value, where `scale` is not 1: beyond
        are codes, which say why there is none.
    depth
        Top and bottom of the soil layer, in metres.
    source
        Where the layout is published.
    marks
        Names of variables or groups by which contents are recognised, all of them.
    scale
        What stored numbers are multiplied with to be in `units`.
    fill
        Stored number for no value.
    daily
        A value stands for a UTC day, so that its time is noon.
    uncertainty
        Name of the uncertainty in the same units, if any.
    flag
        Name of the flags, if any.
    refused_bits
        A value with one of these bits is not recommended, says the product's guide.
    flag_fill
        Flag of no value.
    observed
        Name of the moment of each cell's observation, if any.
    """

    name: str
    title: str
    form: Form
    files: str
    variables: tuple[str, ...]
    units: str
    depth: tuple[float, float]
    source: str
    marks: tuple[str, ...] = ()
    scale: float = 1.0
    valid: tuple[float, float] = (0, 1)
    fill: float | None = None
    daily: bool = False
    uncertainty: str | None = None
    flag: str | None = None
    refused_bits: int = 0
    flag_fill: int | None = None
    observed: str | None = None

    def matches(self, path: Path) -> bool:
        """Whether a file or folder is named as this product's."""
        return re.fullmatch(self.files, path.name, re.IGNORECASE) is not None


_EASE2 = "EASE-Grid 2.0 after https://nsidc.org/data/user-resources/help-center/guide-ease-grids"

_ROWS: tuple[Layout, ...] = (
    Layout(
        name="esa-cci",
        title="ESA CCI soil moisture v03 to v09, ACTIVE, PASSIVE or COMBINED, daily, 0.25 degree",
        form="netcdf",
        files=r"(ESACCI|C3S)-SOILMOISTURE-L3S-SSM[VS]-\w+-(DAILY-)?\d{14}-.*\.nc",
        variables=("sm",),
        units="",  # m3 m-3, and percent of saturation in ACTIVE
        depth=(0, 0.05),
        source="Product User Guide of v09.2, https://zenodo.org/records/19565425; variables, "
        "flags and fill values of each version in https://github.com/TUW-GEO/esa_cci_sm",
        marks=("sm", "flag", "mode", "sensor"),
        fill=-9999.0,
        daily=True,
        uncertainty="sm_uncertainty",
        flag="flag",
        # Snow or frost, dense vegetation, no convergence, unphysical, low weight, all
        # unreliable; 64 is an advisory of barren ground.
        refused_bits=0b111111,
        flag_fill=127,
        observed="t0",
    ),
    Layout(
        name="era5-land",
        title="ERA5-Land, volumetric soil water layer 1, hourly, 0.1 degree",
        form="netcdf",
        files=r".*era5[-_]?land.*\.nc",
        variables=("swvl1",),
        units="",
        depth=(0, 0.07),
        source="https://confluence.ecmwf.int/display/CKB/ERA5-Land%3A+data+documentation; the "
        "NetCDF of old and new Climate Data Store in https://github.com/TUW-GEO/ecmwf_models",
        marks=("swvl1",),
    ),
    Layout(
        name="smap-l3",
        title="SMAP L3 radiometer, SPL3SMP (36 km) and SPL3SMP_E (9 km), morning and evening",
        form="smap-l3",
        files=r"SMAP_L3_SM_P(_E)?_\d{8}_R\d{5}_\d{3}\.h5",
        variables=("soil_moisture",),
        units="cm**3/cm**3",
        depth=(0, 0.05),
        source="https://nsidc.org/data/smap/spl3smp/data-fields; attributes of a file at "
        "http://test.opendap.org:8080/opendap/NSIDC/SMAP_L3_SM_P_20150406_R14010_001.h5.das; "
        f"{_EASE2}",
        marks=("Soil_Moisture_Retrieval_Data_AM",),
        fill=-9999.0,
        flag="retrieval_qual_flag",
        refused_bits=0b1,  # bit 0: 0 is recommended
        flag_fill=65534,
        observed="tb_time_seconds",
    ),
    Layout(
        name="smap-l4",
        title="SMAP L4, SPL4SMGP (3-hourly mean) and SPL4SMAU (analysis), 9 km",
        form="smap-l4",
        files=r"SMAP_L4_SM_(gph|aup)_\d{8}T\d{6}_V\w+_\d{3}\.h5",
        variables=("Geophysical_Data/sm_surface", "Analysis_Data/sm_surface_analysis"),
        units="m3 m-3",
        depth=(0, 0.05),
        source="https://nsidc.org/data/spl4smgp; attributes of a file at https://eosdap.hdfgroup"
        ".org/opendap/data/NASAFILES/hdf5/SMAP_L4_SM_aup_20191201T000000_Vv7032_001.h5.info; "
        f"{_EASE2}",
        marks=("cell_lat", "cell_lon"),
        fill=-9999.0,
    ),
    Layout(
        name="s2mp",
        title="S2MP (Theia), Sentinel-1 and Sentinel-2 soil moisture of crop plots",
        form="geotiff",
        files=r".*s2mp.*\.tiff?",
        variables=("band 1",),
        units="percent of volume",
        valid=(1, 255),
        depth=(0, 0.05),
        source="https://doi.org/10.57745/OBEXYH (value / 5 is percent of volume, 0 is no data, "
        "EPSG:4326)",
        scale=1 / 5,
        fill=0,
    ),
    Layout(
        name="copernicus-ssm",
        title="Copernicus Global Land SSM 1 km v1, Sentinel-1, Europe, percent of saturation",
        form="netcdf",
        files=r"c_gls_SSM1km_\d{12}_CEURO_S1CSAR_V[\d.]+.*\.nc",
        variables=("ssm",),
        units="",
        valid=(0, 200),  # 241 and above say why there is none
        depth=(0, 0.05),
        source="Product User Manual CGLOPS1_PUM_SSM1km-V1, issue I1.30, "
        "https://land.copernicus.eu/en/products/soil-moisture",
        marks=("ssm",),
        scale=0.5,
        fill=255,
        daily=True,
        uncertainty="ssm_noise",
    ),
    Layout(
        name="smap-hb",
        title="SMAP-HydroBlocks, 30 m, United States 2015 to 2019, on its grid",
        form="netcdf",
        files=r"SMAP-?HB_.*\.(nc|zarr)",
        variables=("SMAPHB_SM",),
        units="m3/m3",
        depth=(0, 0.05),
        source="https://doi.org/10.5281/zenodo.5206725; https://github.com/NoemiVergopolan/"
        "SMAP-HydroBlocks_postprocessing (SMAPHB_functions.py)",
        marks=("SMAPHB_SM",),
        fill=-9999.0,
    ),
    Layout(
        name="smap-hb-hru",
        title="SMAP-HydroBlocks, 30 m, 6-hourly, as archived: by hydrological response unit",
        form="hru",
        files=r"SMAP-?HB_hru.*",
        variables=("SMAPHB_SM",),
        units="m3/m3",
        depth=(0, 0.05),
        source="https://doi.org/10.5281/zenodo.5206725; https://github.com/NoemiVergopolan/"
        "SMAP-HydroBlocks_postprocessing (SMAPHB_functions.py)",
        fill=-9999.0,
    ),
)
LAYOUTS: dict[str, Layout] = {row.name: row for row in _ROWS}
