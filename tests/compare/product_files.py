"""Files written as other products are published; the numbers in them are made up.

Layouts: see the column "source" in ``gssm.compare.layouts``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from netCDF4 import Dataset

EASE_ROWS, EASE_COLUMNS = 406, 964


def esa_cci(folder: Path, day: str, values, *, flag=0, t0=None, kind="COMBINED", version="09.1"):
    """One day of ESA CCI: daily files, 0.25 degree, north to south, -9999 for no value."""
    file = folder / f"ESACCI-SOILMOISTURE-L3S-SSMV-{kind}-{day}000000-fv{version}.nc"
    units, most = ("percent", 100.0) if kind == "ACTIVE" else ("m3 m-3", 1.0)
    rows, columns = np.shape(values)
    with Dataset(file, "w", format="NETCDF4_CLASSIC") as nc:
        nc.title = f"ESA CCI Surface Soil Moisture merged {kind} Product"
        nc.product_version = version
        nc.createDimension("time", None)
        nc.createDimension("lat", rows)
        nc.createDimension("lon", columns)
        lat = nc.createVariable("lat", "f8", ("lat",))
        lat.units, lat.standard_name = "degrees_north", "latitude"
        lat[:] = 51.125 - 0.25 * np.arange(rows)
        lon = nc.createVariable("lon", "f8", ("lon",))
        lon.units, lon.standard_name = "degrees_east", "longitude"
        lon[:] = 2.875 + 0.25 * np.arange(columns)
        time = nc.createVariable("time", "f8", ("time",))
        time.units, time.calendar = "days since 1970-01-01 00:00:00 UTC", "standard"
        date = np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}")
        time[:] = [(date - np.datetime64("1970-01-01")).astype(int)]
        axes = ("time", "lat", "lon")
        sm = nc.createVariable("sm", "f4", axes, fill_value=-9999.0)
        sm.units, sm.valid_range = units, np.array([0.0, most], np.float32)
        sm[0] = np.where(np.isnan(values), -9999.0, values)
        spread = nc.createVariable("sm_uncertainty", "f4", axes, fill_value=-9999.0)
        spread.units = units
        spread[0] = np.where(np.isnan(values), -9999.0, 0.05 * most)
        flags = nc.createVariable("flag", "i2", axes, fill_value=127)
        flags[0] = np.where(np.isnan(values) & (np.asarray(flag) == 0), 127, flag)
        for name in ("mode", "sensor", "dnflag", "freqbandID"):
            nc.createVariable(name, "i4", axes, fill_value=0)[0] = 1
        moments = nc.createVariable("t0", "f8", axes, fill_value=-9999.0)
        moments.units = "days since 1970-01-01 00:00:00 UTC"
        moments[0] = np.where(np.isnan(values), -9999.0, time[0] if t0 is None else t0)
    return file


def era5_land(file: Path, values, times, *, old=False, expver=False):
    """Hours of ERA5-Land as the Climate Data Store gives them, now or (old) until 2024."""
    values = np.asarray(values, np.float64)
    times = np.asarray(times, "datetime64[h]")
    rows, columns = values.shape[-2:]
    axis = "time" if old else "valid_time"
    with Dataset(file, "w", format="NETCDF3_64BIT_OFFSET" if old else "NETCDF4") as nc:
        nc.Conventions = "CF-1.6" if old else "CF-1.7"
        nc.createDimension("longitude", columns)
        nc.createDimension("latitude", rows)
        nc.createDimension(axis, len(times))
        lon = nc.createVariable("longitude", "f4", ("longitude",))
        lon.units = "degrees_east"
        lon[:] = 3.0 + 0.1 * np.arange(columns)
        lat = nc.createVariable("latitude", "f4", ("latitude",))
        lat.units = "degrees_north"
        lat[:] = 51.0 - 0.1 * np.arange(rows)
        time = nc.createVariable(axis, "i4" if old else "i8", (axis,))
        epoch = np.datetime64("1900-01-01" if old else "1970-01-01", "h")
        time.units = f"{'hours' if old else 'seconds'} since {epoch}:00:00.0".replace("T00", " 00")
        time.calendar = "gregorian" if old else "proleptic_gregorian"
        time[:] = (times - epoch).astype(int) * (1 if old else 3600)
        axes = (axis, "latitude", "longitude")
        if expver:
            nc.createDimension("expver", 2)
            nc.createVariable("expver", "i4", ("expver",))[:] = [1, 5]
            axes = (axis, "expver", "latitude", "longitude")
        if old:
            swvl1 = nc.createVariable("swvl1", "i2", axes, fill_value=-32767)
            swvl1.scale_factor, swvl1.add_offset = 1e-5, 0.3
            swvl1.missing_value = np.int16(-32767)
            swvl1.set_auto_maskandscale(False)
            packed = np.round((values - 0.3) / 1e-5)
            swvl1[:] = np.where(np.isnan(values), -32767, packed).astype(np.int16)
        else:
            nc.createVariable("number", "i8", ())[...] = 0
            nc.createDimension("strings", 4)
            swvl1 = nc.createVariable("swvl1", "f4", axes, fill_value=np.float32(np.nan))
            swvl1.GRIB_missingValue = 3.4028234663852886e38
            swvl1[:] = values
        swvl1.units, swvl1.long_name = "m**3 m**-3", "Volumetric soil water layer 1"
    return file


def smap_l3(folder: Path, day: str, cells, *, evening=True, name="SMAP_L3_SM_P"):
    """A day of SPL3SMP: half orbits in two groups of 406 x 964, rows from the north.

    `cells`: (row, column) -> (soil moisture, quality flag, seconds from J2000), of both groups.
    """
    file = folder / f"{name}_{day}_R19240_001.h5"
    groups = [("Soil_Moisture_Retrieval_Data_AM", "")]
    if evening:
        groups.append(("Soil_Moisture_Retrieval_Data_PM", "_pm"))
    with Dataset(file, "w") as nc:
        nc.createGroup("Metadata")
        for number, (group, suffix) in enumerate(groups):
            held = nc.createGroup(group)
            # The files have no named dimensions; the library makes up names such as these.
            axes = (f"phony_dim_{2 * number}", f"phony_dim_{2 * number + 1}")
            held.createDimension(axes[0], EASE_ROWS)
            held.createDimension(axes[1], EASE_COLUMNS)
            shape = (EASE_ROWS, EASE_COLUMNS)
            moisture = np.full(shape, -9999.0, np.float32)
            flags = np.full(shape, 65534, np.uint16)
            seconds = np.full(shape, -9999.0)
            for place, (value, flag, second) in cells.items():
                moisture[place], flags[place], seconds[place] = value, flag, second
            options = {"zlib": True, "complevel": 1}
            sm = held.createVariable(
                f"soil_moisture{suffix}", "f4", axes, fill_value=-9999.0, **options
            )
            sm.units, sm.valid_min, sm.valid_max = "cm**3/cm**3", *np.float32([0.02, 0.5])
            sm[:] = moisture
            quality = held.createVariable(
                f"retrieval_qual_flag{suffix}", "u2", axes, fill_value=65534, **options
            )
            quality[:] = flags
            time = held.createVariable(
                f"tb_time_seconds{suffix}", "f8", axes, fill_value=-9999.0, **options
            )
            time.units = "seconds"
            time[:] = seconds
    return file


def smap_l4(folder: Path, moment: str, cells, *, kind="gph"):
    """A time of SPL4SMGP (gph) or SPL4SMAU (aup): 1624 x 3856, x and y at the root."""
    file = folder / f"SMAP_L4_SM_{kind}_{moment}_Vv7031_001.h5"
    group, name = {
        "gph": ("Geophysical_Data", "sm_surface"),
        "aup": ("Analysis_Data", "sm_surface_analysis"),
    }[kind]
    with Dataset(file, "w") as nc:
        nc.createDimension("y", 1624)
        nc.createDimension("x", 3856)
        for axis, size in (("y", 1624), ("x", 3856)):
            centre = nc.createVariable(axis, "f8", (axis,))
            centre.units, centre.standard_name = "m", f"projection_{axis}_coordinate"
            centre[:] = np.arange(size)
        for place in ("cell_lat", "cell_lon"):
            nc.createVariable(place, "f4", ("y", "x"), zlib=True, complevel=1, fill_value=-9999.0)
        held = nc.createGroup(group)
        array = held.createVariable(
            name,
            "f4",
            ("y", "x"),
            zlib=True,
            complevel=1,
            fill_value=-9999.0,
            chunksizes=(203, 241),
        )
        array.units, array.valid_min, array.valid_max = "m3 m-3", *np.float32([0, 0.9])
        array.grid_mapping = "EASE2_global_projection"
        for (row, column), value in cells.items():
            array[row, column] = value
    return file


def s2mp(file: Path, values, *, dtype="uint8", crs="EPSG:4326", bands=1):
    """A map of S2MP: five times the percent of volume, 0 for none, 10 m or so in degrees."""
    values = np.asarray(values, dtype)
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=bands,
        dtype=dtype,
        crs=crs,
        transform=rasterio.transform.from_origin(3.0, 51.0, 1e-4, 1e-4),
    ) as tif:
        for band in range(bands):
            tif.write(values, band + 1)
    return file


def copernicus_ssm(folder: Path, day: str, numbers, *, scale=0.5, unsigned=True):
    """A day of the Copernicus SSM 1 km: twice the percent of saturation, above 200 codes."""
    file = folder / f"c_gls_SSM1km_{day}0000_CEURO_S1CSAR_V1.2.1.nc"
    numbers = np.asarray(numbers, np.uint8)
    rows, columns = numbers.shape
    with Dataset(file, "w", format="NETCDF4") as nc:
        nc.createDimension("lat", rows)
        nc.createDimension("lon", columns)
        lat = nc.createVariable("lat", "f8", ("lat",))
        lat.units = "degrees_north"
        lat[:] = 51.0 - np.arange(rows) / 112
        lon = nc.createVariable("lon", "f8", ("lon",))
        lon.units = "degrees_east"
        lon[:] = 3.0 + np.arange(columns) / 112
        for name in ("ssm", "ssm_noise"):
            kind, fill = ("u1", 255) if unsigned else ("i1", -1)
            array = nc.createVariable(name, kind, ("lat", "lon"), fill_value=fill)
            array.set_auto_maskandscale(False)
            array.scale_factor, array.add_offset, array.units = scale, 0.0, "%"
            array.flag_values = np.array([241, 242, 251, 252, 253], np.uint8)
            if not unsigned:
                array.setncattr("_Unsigned", "true")
            stored = numbers if name == "ssm" else np.full_like(numbers, 10)
            array[:] = stored if unsigned else stored.view(np.int8)
    return file


def smap_hb_gridded(place: Path, values, times):
    """A subset as SMAPHB_hru2grid.py writes it, NetCDF or Zarr: no units but of the whole."""
    rows, columns = np.shape(values)[-2:]
    side = 1 / 3600
    array = xr.DataArray(
        np.asarray(values, np.float32),
        coords=[times, 37.0 + side * np.arange(rows), -91.7 + side * np.arange(columns)],
        dims=["time", "lat", "lon"],
    )
    attrs = {"unit": "m3/m3", "title": "SMAP-HydroBlocks Surface Soil Moisture Data (m3/m3)"}
    dataset = array.to_dataset(name="SMAPHB_SM").assign_attrs(attrs)
    encoding = {"SMAPHB_SM": {"_FillValue": -9999.0}, "time": {"dtype": "i4"}}
    encoding["time"]["units"] = "hours since 2016-01-01"
    if place.suffix == ".zarr":
        dataset.to_zarr(place, encoding=encoding, zarr_format=2, consolidated=True)
    else:
        dataset.to_netcdf(place, encoding=encoding, format="NETCDF4", engine="netcdf4")
    return place


def smap_hb_units(folder: Path, catchments, units, series, times):
    """The archive by hydrological response unit: two maps of 30 m, a file per catchment."""
    side = 1 / 3600
    for name, values in (("catchments", catchments), ("hrus", units)):
        target = folder / f"mapping_{name}"
        target.mkdir(parents=True)
        values = np.asarray(values, np.int32)
        with rasterio.open(
            target / f"all_{name}.tif",
            "w",
            driver="GTiff",
            height=values.shape[0],
            width=values.shape[1],
            count=1,
            dtype="int32",
            crs="EPSG:4326",
            nodata=-9999,
            transform=rasterio.transform.from_origin(-91.7, 37.0, side, side),
        ) as tif:
            tif.write(values, 1)
        _vrt(target / f"all_{name}.vrt", f"all_{name}.tif", values.shape, side)
    (folder / "SMAPHB_hru_6hr").mkdir()
    for number, values in series.items():
        values = np.asarray(values, np.float32)
        dataset = xr.Dataset(
            {"SMAPHB_SM": (("time", "hru"), values)},
            {"time": times, "hru": np.arange(values.shape[1])},
        )
        encoding = {
            "SMAPHB_SM": {"_FillValue": -9999.0},
            "time": {"units": "hours since 2015-04-01", "dtype": "i4"},
        }
        dataset.to_netcdf(folder / "SMAPHB_hru_6hr" / f"{number}.nc", encoding=encoding)
    return folder


def _vrt(file: Path, source: str, shape, side: float):
    rows, columns = shape
    crs = rasterio.crs.CRS.from_epsg(4326).to_wkt().replace('"', "&quot;")
    file.write_text(
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}"><SRS>{crs}</SRS>'
        f"<GeoTransform>-91.7, {side}, 0, 37.0, 0, {-side}</GeoTransform>"
        '<VRTRasterBand dataType="Int32" band="1"><NoDataValue>-9999</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">{source}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="{columns}" ySize="{rows}"/>'
        f'<DstRect xOff="0" yOff="0" xSize="{columns}" ySize="{rows}"/></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
