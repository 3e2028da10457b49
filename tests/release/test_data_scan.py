"""Nothing of the real test data is in the wheel, in the source distribution or in the tree."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest
import rasterio
from release.data_prints import prints_of
from release.data_scan import Finding, findings
from release.distributions import ROOT, files_of, tracked

STATIONS = "stations/stations_l2.parquet"


@pytest.fixture(scope="module")
def prints(test_data):
    return prints_of(test_data)


@pytest.fixture(scope="module")
def series(test_data):
    """In-situ values of a station that vary."""
    table = pd.read_parquet(test_data / STATIONS, columns=["station", "soil_moisture"])
    longest = table["station"].value_counts().index[0]
    return table.loc[table["station"] == longest, "soil_moisture"].to_numpy(np.float64)[:40]


@pytest.fixture(scope="module")
def pixels(test_data):
    """Rows of a band of a real image."""
    path = next((test_data / "scenes" / "terramind" / "S2L2A").glob("*.tif"))
    with rasterio.open(path) as image:
        return image.read(4)[100:104, 50:150]


def kinds(prints, name, data):
    return {finding.kind for finding in findings(name, data, prints)}


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_the_tree_holds_none_of_it(prints):
    found = [
        finding
        for path in tracked()
        for finding in findings(path.relative_to(ROOT).as_posix(), path.read_bytes(), prints)
    ]
    assert found == []


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_released_holds_none_of_it(prints, kind, request):
    packed = files_of(request.getfixturevalue(kind))
    # What is as in the tree has been searched there.
    new = {n: d for n, d in packed.items() if not _is_in_the_tree(n, d)}
    assert len(new) < len(packed)
    assert [f for name, data in new.items() for f in findings(name, data, prints)] == []


def _is_in_the_tree(name, data):
    path = ROOT / name
    return path.is_file() and path.read_bytes() == data


def test_prints_are_of_all_kinds(prints):
    assert len(prints.files) > 1500
    assert {kind for kind, known in prints.bytes_of.items() if known.hashes.size > 50_000} == {
        *("in-situ values", "features of stations", "pixels")
    }
    assert all(known.hashes.size > 50_000 for known in prints.text_of.values())
    assert len(prints.places) > 200


@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("offset", [0, 3])
def test_values_as_bytes_are_found(prints, series, kind, offset):
    planted = b"\1" * offset + series[5:13].astype(kind).tobytes() + b"\2" * 9
    (finding,) = findings("model.safetensors", b"\0" + planted, prints)
    assert finding == Finding("model.safetensors", "in-situ values", 1 + offset)


def test_values_in_what_is_packed_are_found(prints, series):
    file = io.BytesIO()
    np.savez_compressed(file, anything=np.zeros(100), values=series[:10].astype(np.float32))
    inside = zipped(deep=gzip.compress(file.getvalue()))
    (finding,) = findings("archive.zip", inside, prints)
    assert finding.kind == "in-situ values"
    assert finding.file.startswith("archive.zip!deep!content!values")
    table = io.BytesIO()
    pd.DataFrame({"a": np.arange(20.0), "b": series[:20]}).to_parquet(table)
    assert kinds(prints, "table.parquet", table.getvalue()) == {"in-situ values"}


@pytest.mark.parametrize("form", ["{:.3f}", "{:.6f}"])
@pytest.mark.parametrize("line", ["{}\n", "2018-05-01,0.25,{},4.5\n", '{{"t": 1.5, "v": {}}}, '])
def test_values_as_text_are_found(prints, series, form, line):
    text = "".join(line.format(form.format(value)) for value in series[:12])
    assert "values as text" in kinds(prints, "series.csv", text.encode())


def test_features_of_a_station_are_found(prints, test_data):
    table = pd.read_parquet(test_data / STATIONS)
    row = table.filter(regex="^(VV|VH|angle|Sentinel2_B|Landsat_B)").iloc[1000].to_numpy(np.float32)
    assert "features of stations" in kinds(prints, "rows.npy", b"\0" + row.tobytes())
    column = table["VV"].to_numpy(np.float32)[2000:2040]
    assert "features of stations" in kinds(prints, "vv.npy", b"\0" + column.tobytes())


def test_pixels_are_found(prints, pixels, tmp_path):
    assert "pixels" in kinds(prints, "chip.npy", b"\0" + pixels[:1, 7:60].tobytes())
    path = tmp_path / "chip.tif"
    shape = {"height": pixels.shape[0], "width": pixels.shape[1], "count": 1}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=pixels.dtype,
        compress="deflate",
        crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
        **shape,
    ) as image:
        image.write(pixels, 1)
    (finding,) = findings("chip.tif", path.read_bytes(), prints)
    assert finding.file == "chip.tif!band 1"


def test_a_copied_file_is_found(prints, test_data):
    data = (test_data / "README.md").read_bytes()
    assert "copy of README.md" in kinds(prints, "docs/data.md", data)
    assert "copy of README.md" in kinds(prints, "x.zip", zipped(a=data))


def test_the_place_of_a_station_is_found(prints, test_data):
    table = pd.read_parquet(test_data / STATIONS, columns=["latitude", "longitude"])
    latitude, longitude = table.iloc[0]
    text = f'{{"station": [{longitude}, {latitude}], "soil_moisture": 0.2}}'
    assert kinds(prints, "stations.json", text.encode()) == {"place of a station"}


def test_other_data_are_not_taken_for_real(prints):
    rng = np.random.default_rng(0)
    smooth = np.linspace(0.05, 0.45, 400)
    for values in (rng.random(10_000), smooth, np.round(smooth, 3), np.zeros(1000)):
        for kind in ("<f4", ">f8"):
            assert findings("x.npy", b"\0" + values.astype(kind).tobytes(), prints) == []
        text = "\n".join(f"{value:.3f}" for value in values)
        assert findings("x.csv", text.encode(), prints) == []
    assert findings("x.bin", struct.pack("<500H", *range(500)), prints) == []
