from __future__ import annotations

import logging
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm.errors import GssmError, RequestError, SamplesError
from gssm.training import insitu
from gssm.training.insitu import COLUMNS, read_ismn

START = pd.Timestamp("2020-01-01")
Record = tuple[float | str, str]
GOOD: list[Record] = [(0.1, "G"), (0.2, "G"), (0.3, "G")]


def stamp(hour: int) -> str:
    return f"{START + pd.Timedelta(hours=hour):%Y/%m/%d %H:%M}"


def records(values: Iterable[Record], first: int = 0) -> str:
    lines = (f"{stamp(first + i)} {v} {flag} M\n" for i, (v, flag) in enumerate(values))
    return "".join(lines)


def sensor(
    root: Path,
    body: str = records(GOOD),
    *,
    network: str = "NET",
    station: str = "Farm",
    bottom: str = "0.0500",
    instrument: str = "Probe",
    dates: str = "20200101_20201231",
    header: str | None = None,
) -> Path:
    """Write a made-up sensor file in the layout "Header+values"."""
    folder = root / network / station
    folder.mkdir(parents=True, exist_ok=True)
    token = network.replace("_", "-")
    name = f"{token}_{token}_{station}_sm_0.000000_{bottom}00_{instrument}_{dates}.stm"
    place = header or f"{network} {network} {station} 45.5 7.25 240.0 0.0000 {bottom} {instrument}"
    (folder / name).write_text(f"{place}\n{body}")
    return folder / name


def zipped(folder: Path, path: Path, top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, top + file.relative_to(folder).as_posix())
    return path


def listing(folder: Path) -> list[tuple[str, int, int]]:
    files = sorted(folder.rglob("*"))
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


@pytest.fixture
def ismn_archive(test_data: Path) -> Path:
    return test_data / "insitu" / "ismn_archive"


def plain_parse(folder: Path) -> pd.DataFrame:
    """Every good value of the .stm files, without pandas' parser and without ismn."""
    rows = []
    for file in folder.glob("*/*/*_sm_*.stm"):
        header, *lines = file.read_text().splitlines()
        _, network, _, latitude, longitude, elevation, _, depth = header.split()[:8]
        height = np.nan if float(elevation) < -99 else float(elevation)
        assert float(depth) <= 0.05
        for line in lines:
            day, clock, value, flag, *_ = line.split()
            if flag == "G":
                fixed = (network, file.parent.name, float(longitude), float(latitude), height)
                time = pd.Timestamp(f"{day.replace('/', '-')}T{clock}")
                rows.append((*fixed, float(depth), time, np.float32(value), flag))
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["network", "station", "time"])
    return table.reset_index(drop=True)


def test_real_archive_equals_a_plain_parse(ismn_archive: Path) -> None:
    table = read_ismn(ismn_archive)
    assert table.groupby("network")["station"].nunique().to_dict() == {
        "DWD": 4, "REMEDHUS": 3, "RSMN": 1, "SMOSMANIA": 1, "XMS-CAT": 1,
    }  # fmt: skip
    assert table["time"].dtype == np.dtype("datetime64[ns]")
    assert table["soil_moisture"].dtype == np.float32
    assert table.attrs["dropped"]["station folders without soil moisture"] == 3
    assert list(table.columns) == list(COLUMNS)
    pd.testing.assert_frame_equal(table, plain_parse(ismn_archive), check_like=False)


def test_real_archive_tells_what_to_cite(ismn_archive: Path) -> None:
    cited = read_ismn(ismn_archive).attrs["citations"]
    assert set(cited) == {"ISMN", "DWD", "REMEDHUS", "RSMN", "SMOSMANIA", "XMS-CAT"}
    assert "agrometeorological team" in cited["DWD"]
    assert cited["SMOSMANIA"].count("Calvet") >= 2  # the reference goes on for several lines
    assert "Variables:" not in cited["SMOSMANIA"]


def test_zip_and_folder_give_the_same_table(ismn_archive: Path, tmp_path: Path) -> None:
    table = read_ismn(ismn_archive)
    for top in ("", "download/2025/"):
        read = read_ismn(zipped(ismn_archive, tmp_path / "ismn.zip", top))
        pd.testing.assert_frame_equal(read, table)
        assert read.attrs["dropped"] == table.attrs["dropped"]
        assert read.attrs["citations"] == table.attrs["citations"]
    assert read_ismn(ismn_archive / "DWD")["network"].unique().tolist() == ["DWD"]


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_reading_is_silent_and_writes_nothing(
    form: str,
    ismn_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = tmp_path / "data"
    shutil.copytree(ismn_archive, place / "archive", copy_function=shutil.copyfile)
    path = place / "archive"
    if form == "zip":
        path = zipped(path, place / "archive.zip")
    for name in ("temporary", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "work")
    before = listing(tmp_path)
    with caplog.at_level(logging.DEBUG):
        assert len(read_ismn(path)) > 10_000
    assert listing(place) == [row for row in before if row[0].startswith(f"{place}/")]
    assert not list((tmp_path / "temporary").iterdir())
    assert not list((tmp_path / "work").iterdir())
    captured = capfd.readouterr()
    assert (captured.out, captured.err, caplog.records) == ("", "", [])


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_file_is_parsed_once_and_others_never(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        sensor(tmp_path / "a", station=f"S{number}")
        deep = sensor(tmp_path / "a", "no records", station=f"S{number}", bottom="0.1000")
        deep.with_name(deep.name.replace("_sm_", "_ts_")).write_text("no records")
    path = tmp_path / "a" if form == "folder" else zipped(tmp_path / "a", tmp_path / "a.zip")
    parsed: list[Any] = []
    unpacked: list[str] = []
    read_csv, unpack = pd.read_csv, zipfile.ZipFile.open

    def count(**options: Any) -> Any:
        parsed.append(options["filepath_or_buffer"])
        return read_csv(**options)

    def count_unpacked(self: zipfile.ZipFile, name: str, *args: Any, **options: Any) -> Any:
        unpacked.append(name)
        return unpack(self, name, *args, **options)

    read_ismn(path)  # the import of ismn reads its list of citations
    monkeypatch.setattr(pd, "read_csv", count)
    monkeypatch.setattr(zipfile.ZipFile, "open", count_unpacked)
    table = read_ismn(path)
    assert len(parsed) == 3
    assert len(unpacked) == len(set(unpacked)) == (3 if form == "zip" else 0)
    assert table.attrs["dropped"] == {"sensors deeper than 0.05 m": 3}


def test_columns_come_from_the_header(tmp_path: Path) -> None:
    header = "FR_Aqui FR_Aqui Las_Landes -45.5 -7.25 -99.9 0.0000 0.0500 Probe with a long name"
    sensor(tmp_path, network="FR_Aqui", station="LasLandes", header=header)
    first = read_ismn(tmp_path).iloc[0]
    # The network as its folder says, for file names write FR-Aqui; -99.9 m is no height.
    assert (first["network"], first["station"]) == ("FR_Aqui", "LasLandes")
    assert (first["longitude"], first["latitude"], first["depth"]) == (-7.25, -45.5, 0.05)
    assert np.isnan(first["elevation"])
    assert (first["time"], first["flag"]) == (START, "G")


def test_a_folder_that_is_no_network_does_not_name_it(tmp_path: Path) -> None:
    file = sensor(tmp_path / "a")
    (tmp_path / "sorted" / "by hand").mkdir(parents=True)
    shutil.copyfile(file, tmp_path / "sorted" / "by hand" / file.name)
    assert read_ismn(tmp_path / "sorted")["network"].unique().tolist() == ["NET"]


def test_ceop_layout_is_read_too(tmp_path: Path) -> None:
    place = "NET NET Farm 45.5 7.25 240.0 0.00 0.05"
    lines = [f"{stamp(i)} {stamp(i)} {place} {v} {flag} M" for i, (v, flag) in enumerate(GOOD)]
    expected = read_ismn(sensor(tmp_path / "a").parents[2])
    sensor(tmp_path / "b").write_text("\n".join(lines))
    pd.testing.assert_frame_equal(read_ismn(tmp_path / "b"), expected)


def test_records_without_the_providers_flag_are_read(tmp_path: Path) -> None:
    expected = read_ismn(sensor(tmp_path / "a").parents[2])
    body = records(GOOD).replace(" M\n", "\n")
    pd.testing.assert_frame_equal(read_ismn(sensor(tmp_path / "b", body).parents[2]), expected)
    sensor(tmp_path / "b", body.rstrip("G\n"))
    with pytest.raises(SamplesError, match="record 3 lacks a time, value or flag"):
        read_ismn(tmp_path / "b")


def test_two_inches_are_five_centimetres(tmp_path: Path) -> None:
    sensor(tmp_path, network="SCAN", bottom="0.0508")
    sensor(tmp_path, network="SCAN", station="Deep", bottom="0.1016")
    table = read_ismn(tmp_path)
    assert table["depth"].unique().tolist() == [0.0508]
    assert table["station"].unique().tolist() == ["Farm"]
    assert set(read_ismn(tmp_path, max_depth=0.1)["station"]) == {"Farm", "Deep"}


def test_the_sensor_with_most_good_values_is_taken(tmp_path: Path) -> None:
    sensor(tmp_path, records([(0.1, "G"), (0.1, "G"), (0.1, "D01"), (0.1, "D01")]), instrument="A")
    sensor(tmp_path, records([(0.2, "G")] * 3), instrument="B")
    table = read_ismn(tmp_path)
    assert table["soil_moisture"].tolist() == [np.float32(0.2)] * 3  # no mean of 0.1 and 0.2
    assert table.attrs["dropped"] == {"values not flagged G": 2, "values of a second sensor": 2}
    # In the first two hours both have two good values: the name decides.
    early = read_ismn(tmp_path, end="2020-01-01T01:00")
    assert early["soil_moisture"].tolist() == [np.float32(0.1)] * 2
    assert early.attrs["dropped"]["values outside the period"] == 3


def test_period_and_networks_limit_the_rows(tmp_path: Path) -> None:
    sensor(tmp_path, records([(0.1, "G")] * 72))
    sensor(tmp_path, network="OTHER")
    table = read_ismn(tmp_path, networks="NET", start="2020-01-02", end="2020-01-02")
    assert table["time"].min() == pd.Timestamp("2020-01-02 00:00")
    assert table["time"].max() == pd.Timestamp("2020-01-02 23:00")  # the last day counts whole
    assert table.attrs["dropped"] == {"values outside the period": 48}
    assert set(read_ismn(tmp_path, networks=["NET", "OTHER"])["network"]) == {"NET", "OTHER"}


def test_downloads_that_overlap_are_joined(tmp_path: Path) -> None:
    sensor(tmp_path, records([(0.1, "G"), (0.2, "G")]), dates="20200101_20200201")
    sensor(tmp_path, records([(0.2, "G"), (0.3, "G")], first=1), dates="20200102_20200301")
    table = read_ismn(tmp_path)
    assert table["soil_moisture"].tolist() == [np.float32(v) for v in (0.1, 0.2, 0.3)]
    assert table["time"].is_monotonic_increasing
    assert table.attrs["dropped"] == {"values repeated": 1}


def test_a_sensor_without_records_is_counted(tmp_path: Path) -> None:
    sensor(tmp_path, "")
    sensor(tmp_path, station="Other")
    (tmp_path / "NET" / "Empty").mkdir()
    (tmp_path / "NET" / "Empty" / "NET_NET_Empty_static_variables.csv").write_text("")
    table = read_ismn(tmp_path)
    assert table["station"].unique().tolist() == ["Other"]
    assert table.attrs["dropped"] == {
        "station folders without soil moisture": 1,
        "sensors without a good value": 1,
    }


def test_citations_come_from_the_readme_or_from_ismn(tmp_path: Path) -> None:
    for network in ("NET", "USCRN", "UNHEARD"):
        sensor(tmp_path, network=network)
    told = "\tNET\r\n\t\tAbstract: some\n\ttext\n\t\tReference: One\r\n\nTwo\r\n\t\tVariables: no\n"
    (tmp_path / "Readme.txt").write_text(f"Network Information\n\n{told}")
    cited = read_ismn(tmp_path).attrs["citations"]
    assert cited["NET"] == "One\nTwo"
    assert "Climate Reference Network" in cited["USCRN"]
    assert set(cited) == {"ISMN", "NET", "USCRN"}


values = st.sampled_from([(0.1, "G"), (0.25, "G"), (0.3, "D01,D03"), (-9999, "M"), ("NaN", "G")])


@given(st.lists(st.tuples(st.integers(0, 40), values), min_size=1, max_size=30))
def test_every_record_is_a_row_or_counted(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, Record]]
) -> None:
    # One good value for each hour, which may come twice; other records in any order.
    told: dict[int, float | str] = {}
    kept = [
        (hour, value, flag)
        for hour, (value, flag) in drawn
        if flag != "G" or value == "NaN" or told.setdefault(hour, value) == value
    ]
    root = tmp_path_factory.mktemp("drawn")
    sensor(root, "".join(f"{stamp(hour)} {value} {flag} M\n" for hour, value, flag in kept))
    if not told:
        with pytest.raises(SamplesError, match="no value flagged G"):
            read_ismn(root)
        return
    table = read_ismn(root)
    assert (table["flag"] == "G").all()
    assert table["time"].tolist() == [START + pd.Timedelta(hours=hour) for hour in sorted(told)]
    assert table["soil_moisture"].tolist() == [np.float32(told[hour]) for hour in sorted(told)]
    counted = {k: n for k, n in table.attrs["dropped"].items() if k.startswith("values")}
    assert len(table) + sum(counted.values()) == len(kept)


def test_a_file_cut_anywhere_is_refused_or_true_to_its_end(tmp_path: Path) -> None:
    file = sensor(tmp_path, records([(0.123, "G"), (0.234, "D01,D03"), (0.345, "G")]))
    whole, text = read_ismn(tmp_path), file.read_bytes()
    refused = 0
    for end in range(len(text)):
        file.write_bytes(text[:end])
        try:
            table = read_ismn(tmp_path)
        except SamplesError:
            refused += 1
            continue
        pd.testing.assert_frame_equal(table, whole.head(len(table)))
    assert refused > len(text) // 2


BODIES = {
    "percent": ("".join(f"{stamp(i)} {v} G M\n" for i, v in enumerate((12.5, 30.1))), "percent"),
    "too wet": (records([*GOOD, (1.2, "G")]), "soil moisture 1.2 at .* outside 0 to 1"),
    "negative": (records([*GOOD, (-0.1, "G")]), "soil moisture -0.1 at .* outside 0 to 1"),
    "one time twice": (records(GOOD) + f"{stamp(1)} 0.25 G M\n", "0.2 and 0.25 for the same time"),
    "no good flag": (records([(0.1, "D01"), (0.2, "C02")]), "no value flagged G .* 2 values not"),
    "all missing": (records([(-9999, "M")]), "no value flagged G .* 1 values missing"),
    "cut in a record": (records(GOOD) + f"{stamp(3)} 0.", "record 4 lacks a time, value or flag"),
    "cut in a time": (records(GOOD) + "2020/0", "record 4 lacks a time, value or flag"),
    "no number": (records([*GOOD, ("wet", "G")]), "Probe.* is cut short or damaged"),
    "no time": (records(GOOD) + "yesterday noon 0.1 G M\n", "Probe.* is cut short or damaged"),
    "no flags": (f"{stamp(0)} 0.1\n{stamp(1)} 0.2\n", "no header and record of ISMN"),
    "binary": ("\0\1\2 \3 \4 \5 \6" * 9, "Probe.* is cut short or damaged"),
}


@pytest.mark.parametrize("case", BODIES)
def test_bad_records_are_refused_by_name(tmp_path: Path, case: str) -> None:
    body, says = BODIES[case]
    sensor(tmp_path, body)
    sensor(tmp_path, network="WHOLE")
    if "value flagged" in says:
        shutil.rmtree(tmp_path / "WHOLE")
    with pytest.raises(SamplesError, match=says) as caught:
        read_ismn(tmp_path)
    assert "\n" not in str(caught.value)
    assert "Farm" in str(caught.value) or "value flagged" in says


HEADERS = {
    "empty": ("", "no header and record of ISMN"),
    "too short": ("NET NET Farm 45.5 7.25", "no header and record of ISMN"),
    "no coordinates": ("NET NET Farm north east 240 0.0 0.05 Probe", "could not convert"),
    "outside the world": ("NET NET Farm 7.25 -245.5 240 0.0 0.05 Probe", "outside the world"),
    "another depth": ("NET NET Farm 45.5 7.25 240 0.20 0.20 Probe", "says 0.2 m, its name 0.05 m"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_bad_header_is_refused_by_name(tmp_path: Path, case: str) -> None:
    header, says = HEADERS[case]
    sensor(tmp_path, header=header or " ")
    with pytest.raises(SamplesError, match=f"NET_NET_Farm_sm_.*{says}"):
        read_ismn(tmp_path)


def test_empty_file_is_refused_by_name(tmp_path: Path) -> None:
    sensor(tmp_path).write_bytes(b"")
    with pytest.raises(SamplesError, match=r"NET_NET_Farm_sm_.* is cut short"):
        read_ismn(tmp_path)


def test_a_path_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=r"no ISMN download at .*absent"):
        read_ismn(tmp_path / "absent")
    with pytest.raises(SamplesError, match="has no ISMN soil moisture"):
        read_ismn(tmp_path)
    file = sensor(tmp_path / "a")
    file.rename(file.with_name(file.name.replace("_sm_", "_ts_")))
    with pytest.raises(SamplesError, match="a has no ISMN soil moisture"):
        read_ismn(tmp_path / "a")
    with pytest.raises(SamplesError, match=r"a\.zip has no ISMN soil moisture"):
        read_ismn(zipped(tmp_path / "a", tmp_path / "a.zip"))
    (tmp_path / "no.zip").write_bytes(b"PK\3\4 cut")
    with pytest.raises(SamplesError, match=r"no\.zip is neither a folder nor a whole zip"):
        read_ismn(tmp_path / "no.zip")


OPTIONS: dict[str, tuple[dict[str, Any], type[GssmError], str]] = {
    "network": ({"networks": ["NET", "NONE"]}, RequestError, r"\['NONE'\] are not in .* has NET"),
    "no network": ({"networks": []}, RequestError, "has NET; choose from these"),
    "start": ({"start": "soon"}, RequestError, "'soon' is not a date"),
    "order": ({"start": "2021", "end": "2020"}, RequestError, "before it starts"),
    "period": ({"start": "2021"}, SamplesError, "3 values outside the period"),
    "depth": ({"max_depth": 5}, RequestError, "max_depth 5 is not 0 to 1 m"),
    "no depth": ({"max_depth": "5 cm"}, RequestError, "max_depth '5 cm' is not 0 to 1 m"),
    "shallow": ({"max_depth": 0.01}, SamplesError, "the shallowest reaches 0.05 m"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be_served_are_refused(tmp_path: Path, case: str) -> None:
    options, error, says = OPTIONS[case]
    sensor(tmp_path)
    with pytest.raises(error, match=says):
        read_ismn(tmp_path, **options)


@pytest.mark.parametrize("name", ["../../evil.stm", "/evil.stm", "NET\\..\\..\\evil.stm"])
def test_zip_that_points_outside_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(sensor(tmp_path / "a").parents[2], tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "evil")
    (tmp_path / "deep" / "temporary").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "deep" / "temporary"))
    before = listing(tmp_path)
    with pytest.raises(SamplesError, match="points outside of it"):
        read_ismn(path)
    after = [row for row in listing(tmp_path) if not row[0].endswith("temporary")]
    assert after == [row for row in before if not row[0].endswith("temporary")]


def test_damaged_or_huge_zip_entry_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = records([(0.1, "G")] * 500)
    path = zipped(sensor(tmp_path / "a", body).parents[2], tmp_path / "a.zip")
    packed = bytearray(path.read_bytes())
    at = packed.index(b".stm") + 60
    packed[at : at + 40] = bytes(40)
    (tmp_path / "bad.zip").write_bytes(packed)
    with pytest.raises(SamplesError, match=r"Farm_sm_.*\.stm in bad\.zip cannot be unpacked"):
        read_ismn(tmp_path / "bad.zip")
    monkeypatch.setattr(insitu, "_MAX_FILE_BYTES", 1000)
    with pytest.raises(SamplesError, match="unpacks to more than 1000 bytes"):
        read_ismn(path)


def test_second_files_of_macos_are_passed_over(tmp_path: Path) -> None:
    file = sensor(tmp_path / "a")
    second = tmp_path / "a" / "__MACOSX" / "NET" / "Farm" / f"._{file.name}"
    second.parent.mkdir(parents=True)
    second.write_bytes(b"\0\5\26\7")
    assert len(read_ismn(zipped(tmp_path / "a", tmp_path / "a.zip"))) == 3
