"""XML beside a GRD image: real files, both forms of the noise, and what is refused."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grd_scene import Flight, annotation_xml, calibration_xml, noise_xml, places, tie_points
from gssm import sidecar
from gssm.annotation import (
    parse_annotation,
    parse_calibration,
    parse_noise,
    read_annotation,
    read_calibration,
    read_noise,
)
from gssm.grd import blend_vectors, noise_power

FLIGHT = Flight()


@pytest.fixture(scope="module")
def safe(test_data: Path) -> Path:
    (folder,) = (test_data / "scenes" / "s1_annotation").glob("S1B_IW_GRDH_1SDV_20211223*.SAFE")
    return folder / "annotation"


# --- real files ---------------------------------------------------------------------------------


def test_real_annotation(safe: Path) -> None:
    found = read_annotation(str(next(safe.glob("s1b-iw-grd-vv-*.xml"))))
    header = found.header
    assert (header.mission, header.product, header.mode) == ("S1B", "GRD", "IW")
    assert header.polarisation == "VV"
    assert header.start == np.datetime64("2021-12-23T05:11:22.594441")
    assert header.stop == np.datetime64("2021-12-23T05:11:47.593146")
    assert found.orbit_state == "descending"
    assert found.shape == (16705, 26102)
    assert found.spacing == (10, 10)
    assert not found.denoised
    assert found.grid.latitude.shape == (10, 21)
    assert found.grid.latitude[0, 0] == 42.37675280764677
    assert found.grid.longitude[0, 0] == 15.32209672548896
    assert found.grid.incidence_angle[0, 0] == 30.30944924571985
    assert found.grid.slant_range[0, 0] == pytest.approx(799_341.44, abs=0.01)
    assert found.ground_range.coefficients.shape == (28, 9)
    assert (np.diff(found.ground_range.lines) > 600).all()


def test_real_angles_of_both_polarisations(test_data: Path) -> None:
    folder = test_data / "scenes" / "s1_annotation"
    paths = sorted(folder.glob("S1B_IW_GRDH_1SDV_20210401*/annotation/s1b-iw-grd-*.xml"))
    vh, vv = (read_annotation(str(path)) for path in paths)
    assert (vh.header.polarisation, vv.header.polarisation) == ("VH", "VV")
    for found in (vh, vv):
        angle = found.grid.incidence_angle
        assert (round(angle.min(), 2), round(angle.max(), 2)) == (30.44, 46.21)
    np.testing.assert_array_equal(vh.grid.latitude, vv.grid.latitude)


def test_real_calibration_and_noise(safe: Path) -> None:
    calibration = read_calibration(str(next(safe.glob("calibration/calibration-*.xml"))))
    noise = read_noise(str(next(safe.glob("calibration/noise-*.xml"))))
    annotation = read_annotation(str(next(safe.glob("s1b-iw-grd-vv-*.xml"))))
    assert calibration.header == noise.header == annotation.header
    assert (len(calibration.vectors), len(noise.vectors), len(noise.blocks)) == (27, 27, 3)
    assert not noise.before_2_9
    first = calibration.vectors[0]
    assert (first.line, first.pixels[1], first.values[1]) == (0, 40, 663.5805)
    lines, pixels = np.array([0, 334, 668, 16704]), np.array([0, 20, 40, 8889, 8890, 26101])
    amplitude = blend_vectors(calibration.vectors, lines, pixels)
    assert amplitude[0, 1] == pytest.approx((663.8558 + 663.5805) / 2)
    power = noise_power(noise, lines, pixels)
    # The range vector times the factor of the subswath.
    assert power[0, 0] == pytest.approx(2375.788 * 1.091791)
    # Zeros at the end of the vectors are no noise.
    assert power[0, -1] == pytest.approx(1446.127 * 1.027989)
    # Noise of an IW image, as backscatter: -22 dB at worst (Sentinel-1 specification).
    decibel = 10 * np.log10(power / amplitude**2)
    assert decibel.min() > -32
    assert decibel.max() < -21


# --- simulated files ------------------------------------------------------------------------------


def test_an_annotation_says_what_was_written() -> None:
    found = parse_annotation(annotation_xml(FLIGHT).encode())
    line, pixel = tie_points(FLIGHT)
    longitude, latitude, angle = places(FLIGHT, line, pixel, FLIGHT.height)
    np.testing.assert_array_equal(found.grid.longitude, longitude)
    np.testing.assert_array_equal(found.grid.latitude, latitude)
    np.testing.assert_array_equal(found.grid.incidence_angle, angle)
    assert found.shape == FLIGHT.shape
    np.testing.assert_allclose(found.ground_range.lines, [-100 / 1.5, 200, 600])


def test_old_noise_has_one_list_and_no_blocks() -> None:
    new = parse_noise(noise_xml(FLIGHT).encode())
    old = parse_noise(noise_xml(FLIGHT, before_2_9=True).encode())
    assert (new.before_2_9, old.before_2_9) == (False, True)
    assert (len(new.blocks), len(old.blocks)) == (2, 0)
    for ours, other in zip(new.vectors, old.vectors, strict=True):
        np.testing.assert_array_equal(ours.values, other.values)


def test_vectors_of_different_lengths_are_blended() -> None:
    text = calibration_xml(FLIGHT)
    vector = re.search("<calibrationVector>.*?</calibrationVector>", text)
    assert vector is not None
    short = re.sub(
        "<pixel>.*</sigmaNought>", "<pixel>0 499</pixel><sigmaNought>1 2</sigmaNought>", vector[0]
    )
    found = parse_calibration(text.replace(vector[0], short).encode())
    assert found.vectors[0].pixels.size == 2
    values = blend_vectors(found.vectors, np.array([0, 105]), np.array([0, 499]))
    np.testing.assert_allclose(values[0], [1, 2])
    np.testing.assert_allclose(values[1], (values[0] + [655.8, 630.85]) / 2)


# --- refusals -------------------------------------------------------------------------------------

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda t: t.replace("<product>", BOMB + "<product>"), "declares a DOCTYPE"),
        (lambda t: t.replace("<product>", FILE + "<product>"), "declares a DOCTYPE"),
        (lambda t: t[: len(t) // 2], "is not XML"),
        (lambda t: "", "is not XML"),
        (lambda t: "<html>sign in</html>", "begins with <html> and not <product>"),
        (lambda t: t.replace("GRD", "SLC"), "is of SLC"),
        (lambda t: t.replace("Ground Range", "Slant Range"), "Slant Range"),
        (lambda t: t.replace("numberOfLines>", "lines>"), "has no numberOfLines"),
        (lambda t: t.replace(">420<", ">4e3<"), "leaves out much of the image"),
        (lambda t: t.replace(">420<", ">nan<"), "numberOfLines without a finite number"),
        (lambda t: t.replace(">420<", ">many<"), "numberOfLines that is no number"),
        (lambda t: t.replace(">420<", ">4 2<"), "2 numbers of numberOfLines"),
        (lambda t: t.replace(">420<", ">-4<"), "numberOfLines -4"),
        (lambda t: t.replace("2021-04-01T05:26:23.794457", "yesterday"), "which is no time"),
        (lambda t: t.replace("<line>84</line>", "<line>85</line>", 1), "make no grid"),
        (lambda t: t.replace("<height>180.0", "<height>inf", 1), "height without a finite"),
        (lambda t: t.replace("coordinateConversion>", "other>"), "no coordinateConversion"),
        (
            lambda t: re.sub("<geolocationGridPoint>.*</geolocationGridPoint>", "", t),
            "0 geolocation",
        ),
        (lambda t: re.sub("<latitude>50", "<latitude>95", t), "not on Earth"),
        (lambda t: re.sub("<incidenceAngle>3", "<incidenceAngle>93", t), "no radar has"),
    ],
)
def test_a_bad_annotation_is_refused(
    change: Callable[[str], str], cause: str, tmp_path: Path
) -> None:
    path = tmp_path / "vv.xml"
    path.write_text(change(annotation_xml(FLIGHT)))
    with pytest.raises(OSError, match=cause) as caught:
        read_annotation(str(path))
    assert str(caught.value).startswith("vv.xml ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_a_doctype_cannot_hide_in_another_encoding(encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?>{BOMB}<product>\u00e9</product>"
    with pytest.raises(ValueError, match=r"DOCTYPE|UTF-8"):
        parse_annotation(text.encode(encoding))


@pytest.mark.parametrize(
    ("parse", "text", "change", "cause"),
    [
        (
            parse_calibration,
            calibration_xml(FLIGHT),
            ("<sigmaNought>6", "<sigmaNought>-6"),
            "zero or less",
        ),
        (
            parse_calibration,
            calibration_xml(FLIGHT),
            ("<pixel>0 40", "<pixel>0"),
            "values of sigma",
        ),
        (
            parse_calibration,
            calibration_xml(FLIGHT),
            ("<pixel>0 40", "<pixel>40 0"),
            "not in order",
        ),
        (parse_calibration, calibration_xml(FLIGHT), ("nVector>", "nV>"), "no calibration vec"),
        (parse_noise, noise_xml(FLIGHT), ("noiseRangeVector>", "nV>"), "has no noise vectors"),
        (parse_noise, noise_xml(FLIGHT), ("Lut>2.300000000e+03", "Lut>-9"), "below zero"),
        (parse_noise, noise_xml(FLIGHT), ("lastRangeSample>", "last>"), "has no lastRangeSample"),
    ],
)
def test_bad_vectors_are_refused(
    parse: Callable[[bytes], Any], text: str, change: tuple[str, str], cause: str
) -> None:
    with pytest.raises(ValueError, match=cause):
        parse(text.replace(*change).encode())


def test_what_is_not_there_or_too_large_is_an_oserror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"gone\.xml could not be read: No such file"):
        read_annotation(str(tmp_path / "gone.xml"))
    with pytest.raises(OSError, match=r".") as caught:
        read_annotation("/vsicurl/http://example.com/a.xml")
    assert "/vsi" in str(caught.value) or "address" in str(caught.value)
    path = tmp_path / "large.xml"
    path.write_text(annotation_xml(FLIGHT))
    monkeypatch.setattr(sidecar, "LARGEST", 1000)
    with pytest.raises(OSError, match="more than 1000 bytes"):
        read_annotation(str(path))


def test_a_file_is_parsed_once_and_anew_when_it_changes(tmp_path: Path) -> None:
    import os

    path = tmp_path / "vv.xml"
    path.write_text(annotation_xml(FLIGHT))
    first = read_annotation(str(path))
    assert read_annotation(str(path)) is first
    path.write_text(annotation_xml(FLIGHT, denoised=True))
    os.utime(path, (1, 1))
    assert read_annotation(str(path)).denoised


# --- servers -----------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/round.xml":
            self.send_response(302)
            self.send_header("Location", "/round.xml")
            self.end_headers()
            return
        if path == "/inside.xml":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        body = annotation_xml(FLIGHT).encode() if path == "/vv.xml" else b"no"
        self.send_response(200 if path == "/vv.xml" else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # Which hosts may be read from is the matter of `gssm.sign`.
    monkeypatch.setenv("GSSM_NETWORKS", "loopback")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_files_of_a_server_are_read_and_its_refusals_told(server: str) -> None:
    assert read_annotation(f"{server}/vv.xml").shape == FLIGHT.shape
    with pytest.raises(OSError, match="HTTP 403") as caught:
        read_annotation(f"{server}/forbidden.xml?signature=secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(OSError, match="redirects"):
        read_annotation(f"{server}/round.xml")
    with pytest.raises(OSError, match="redirects"):
        read_annotation(f"{server}/inside.xml")
    with pytest.raises(OSError, match="connection failed"):
        read_annotation("http://127.0.0.1:9/vv.xml?signature=secret")
