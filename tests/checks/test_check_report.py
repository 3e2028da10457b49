"""Checks find what is put into a map, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import gssm
from gssm.checks import space
from gssm.checks.means import area_means, between_orbits
from gssm.checks.rain import antecedent_precipitation
from gssm.checks.resampling import block_draws, interval
from gssm.errors import CubeError, RequestError, StoreExistsError

SIDE, DATES = 48, 60
TIMES = pd.date_range("2022-01-01 17:30", periods=DATES, freq="6D")
ORBITS = np.where(np.arange(DATES) % 2, 59, 161)
RAIN = pd.Series(
    np.random.default_rng(3).gamma(0.3, 8, 6 * DATES + 60),
    pd.date_range("2021-12-01", periods=6 * DATES + 60),
)


def smooth(values, size=6):
    from scipy.ndimage import uniform_filter

    return uniform_filter(values, (0, *[size] * (values.ndim - 1)) if values.ndim == 3 else size)


def a_map(response=0.004, noise=0.002, seed=0):
    """A map that rises with the index of rain, of fields of 12 pixels a side."""
    rng = np.random.default_rng(seed)
    api = antecedent_precipitation(RAIN).reindex(TIMES.normalize()).to_numpy()
    fields = np.repeat(np.repeat(rng.uniform(-0.05, 0.05, (4, 4)), 12, 0), 12, 1)
    values = 0.2 + fields + response * api[:, None, None] / 10
    values = np.clip(values + rng.normal(0, noise, (DATES, SIDE, SIDE)), 0, 1)
    return xr.Dataset(
        {"soil_moisture": (("time", "y", "x"), values.astype("float32"))},
        {
            "time": TIMES,
            "y": np.arange(SIDE) * -10.0,
            "x": np.arange(SIDE) * 10.0,
            "relative_orbit": ("time", ORBITS),
        },
    )


FIELDS = xr.DataArray(
    np.repeat(np.repeat(np.arange(1, 17).reshape(4, 4), 12, 0), 12, 1),
    {"y": np.arange(SIDE) * -10.0, "x": np.arange(SIDE) * 10.0},
    ("y", "x"),
)


def found(report, name):
    return next(finding for finding in report.findings if finding.check == name)


def test_a_map_that_follows_rain_is_as_expected(tmp_path):
    report = gssm.check(a_map(), rain=RAIN, fields=FIELDS, resamples=50)
    assert report.passed
    assert report.rain["spearman"].min() > 0.9
    assert report.rain.index.tolist() == [59, 161]
    assert report.rain["N"].tolist() == [30, 30]
    assert (report.rain["spearman_low"] <= report.rain["spearman"]).all()
    assert found(report, "seasons").reached
    assert found(report, "fields").reached
    assert found(report, "texture").reached
    text = str(report)
    assert "60 of 60 dates have a mean, 2022-01-01 to 2022-12-21." in text
    assert "response to rain: as expected" in text
    written = report.save(tmp_path / "report")
    assert {"check.txt", "means.csv", "rain.csv", "series.png"} <= {p.name for p in written}
    assert (tmp_path / "report" / "check.txt").read_text() == text + "\n"
    with pytest.raises(StoreExistsError):
        report.save(tmp_path / "report")
    assert report.save(tmp_path / "report", overwrite=True) == written


@pytest.mark.parametrize("response", [0, -0.004])
def test_a_map_that_does_not_follow_rain_is_told(response):
    report = gssm.check(a_map(response, noise=0.05), rain=RAIN, resamples=20)
    assert found(report, "response to rain").reached is False
    assert not report.passed
    assert "NOT as expected" in str(report)


def test_raw_radar_that_follows_rain_better_is_told():
    product = a_map(noise=0.5)
    radar = 10 ** (a_map(response=0.01)["soil_moisture"] - 1)
    report = gssm.check(product, rain=RAIN, cube=xr.Dataset({"vv": radar}), resamples=20)
    assert (report.rain["vv"] > report.rain["spearman"]).all()
    assert found(report, "response to rain").reached is False
    assert np.allclose(report.rain["difference"], report.rain["spearman"] - report.rain["vv"])


def test_without_rain_it_cannot_be_told():
    report = gssm.check(a_map(), resamples=20)
    assert found(report, "response to rain").reached is None
    assert found(report, "seasons").reached is None
    assert report.passed


def test_noise_is_told_from_fields():
    values = np.random.default_rng(0).normal(size=(5, 40, 40))
    assert space.texture(values).median() == pytest.approx(1, abs=0.05)
    assert space.texture(smooth(values)).median() < 0.2
    report = gssm.check(a_map(noise=0.5), rain=RAIN, fields=FIELDS, resamples=20)
    assert found(report, "texture").reached is False


def test_fields_are_told_from_fields_elsewhere():
    values = a_map()["soil_moisture"].mean("time").to_numpy()
    share, chance = space.between_fields(values, FIELDS.to_numpy())
    assert share > 0.99
    assert chance < share
    other = smooth(np.random.default_rng(5).normal(size=(SIDE, SIDE)))
    share, chance = space.between_fields(other, FIELDS.to_numpy())
    assert share <= chance
    alone = np.ones((SIDE, SIDE))
    assert np.isnan(space.between_fields(values, alone)[0])


@pytest.mark.parametrize("step", [0.0, 0.05])
def test_a_step_where_images_meet_is_found(step):
    product = a_map(noise=0.02)
    values = product["soil_moisture"].to_numpy().copy()
    values[:, :, 17:] += step * np.random.default_rng(1).choice([-1, 1], (DATES, 1, 1))
    product["soil_moisture"] = product["soil_moisture"].copy(data=values)
    covers = xr.ones_like(FIELDS).where(FIELDS.x < 170, 2)
    report = gssm.check(product, footprints=covers)
    assert found(report, "seams of images").reached is (step == 0)
    assert report.seams.loc["images", "N"] == SIDE * DATES
    assert report.seams.loc["images", "ratio"] == pytest.approx(1 if step == 0 else 2.2, abs=0.3)


def test_a_map_that_other_chunks_change_is_told():
    product = a_map()
    again = product.isel(time=[0, 7])
    assert found(gssm.check(product, again=again), "chunks").reached
    other = again.copy(deep=True)
    other["soil_moisture"][1, 3, 4] += 1e-6
    assert found(gssm.check(product, again=other), "chunks").reached is False
    other["soil_moisture"][1, 3, 4] = np.nan
    said = found(gssm.check(product, again=other), "chunks")
    assert said.reached is False
    assert "1 pixels with a value in one of them only" in said.says
    with pytest.raises(RequestError, match="other pixels or dates"):
        gssm.check(product, again=again.isel(x=slice(9)))


def test_steps_of_coarse_pixels_are_no_seam():
    """Pixels of 20 m as two of 10: half of the edges have no step at all."""
    coarse = np.random.default_rng(0).normal(size=(20, 24, 24))
    values = np.repeat(np.repeat(coarse, 2, 1), 2, 2)
    edges = {"images": space.footprint_edges(np.add.outer(np.arange(48) < 24, np.arange(48) < 24))}
    table = space.seams(values, edges)
    assert table.loc["images", "ratio"] == pytest.approx(1, abs=0.15)


def test_a_seam_between_dates_of_images_is_found():
    product, rng = a_map(noise=0.01), np.random.default_rng(2)
    blobs = smooth(rng.normal(size=(DATES, SIDE, SIDE)), 12) > 0
    age = xr.where(xr.DataArray(blobs, dims=("time", "y", "x")), -1.0, -6.0)
    cube = xr.Dataset({"s2_age": age.assign_coords(product["soil_moisture"].coords)})
    assert found(gssm.check(product, cube=cube), "seams of dates of images").reached
    product["soil_moisture"] = product["soil_moisture"] + 0.1 * blobs
    assert found(gssm.check(product, cube=cube), "seams of dates of images").reached is False


def test_orbits_are_compared_on_dry_days_each_date_once():
    times = pd.to_datetime(["2022-01-01", "2022-01-02", "2022-01-03", "2022-02-01", "2022-02-02"])
    means = pd.DataFrame(
        {
            "relative_orbit": [161, 59, 161, 161, 59],
            "soil_moisture": [0.20, 0.23, 0.21, 0.30, 0.31],
            "uncertainty": 0.1,
        },
        times,
    )
    dry = pd.Series(0.0, pd.date_range("2021-12-01", "2022-03-01"))
    table = between_orbits(means, dry)
    assert table.loc["59 - 161", "N"] == 2
    assert table.loc["59 - 161", "bias"] == pytest.approx(0.02)
    assert table.loc["59 - 161", "within"] == 1
    wet = dry.copy()
    wet["2022-02-02"] = 20
    assert between_orbits(means, wet).loc["59 - 161", "N"] == 1
    assert between_orbits(means, None).loc["59 - 161", "N"] == 2


def test_a_date_of_few_pixels_has_no_mean():
    product = a_map()
    product["soil_moisture"][3, 10:] = np.nan
    means = area_means(product, None)
    assert np.isnan(means["soil_moisture"].iloc[3])
    assert means["soil_moisture"].notna().sum() == DATES - 1


def test_blocks_are_drawn_whole_and_every_row_as_often():
    draws = block_draws(40, block=5, resamples=4000, seed=0)
    assert draws.shape == (4000, 40)
    counts = np.bincount(draws.ravel(), minlength=40)
    assert counts.min() > 0.9 * counts.mean()
    steps = np.diff(draws.reshape(-1, 8, 5), axis=-1)
    assert np.isin(steps, [1, -39]).all()
    assert np.isnan(interval(lambda rows: 0.0, block_draws(0))).all()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda p: p.drop_vars("soil_moisture"), CubeError, "no 'soil_moisture'"),
        (lambda p: p.isel(time=0), CubeError, "no dimension time"),
        (lambda p: p.drop_vars("relative_orbit"), CubeError, "relative_orbit"),
        (lambda p: p.isel(x=slice(1)), CubeError, "no map of 2 x 2"),
        (lambda p: p * np.nan, CubeError, "no pixel of the product has a value"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(change, error, says):
    with pytest.raises(error, match=says):
        gssm.check(change(a_map()))


def test_labels_and_cubes_of_another_place_are_refused():
    with pytest.raises(RequestError, match="other pixels"):
        gssm.check(a_map(), fields=FIELDS.assign_coords(x=FIELDS.x + 1e6))
    with pytest.raises(RequestError, match="not over"):
        gssm.check(a_map(), fields=FIELDS.expand_dims(time=2))
    cube = a_map().rename(soil_moisture="vv").isel(x=slice(5))
    with pytest.raises(CubeError, match="'vv' of the cube lies on other pixels"):
        gssm.check(a_map(), cube=cube)


def test_it_says_where_a_product_is_too_large(monkeypatch):
    monkeypatch.setattr("gssm.checks.products.MOST_VALUES", 1000)
    with pytest.raises(CubeError, match="choose a smaller box"):
        gssm.check(a_map())


# --- what would be told wrongly -----------------------------------------------------------------


def test_orbits_are_compared_on_the_pixels_of_both():
    """One orbit sees the wet half alone: where both look they agree."""
    product = a_map(response=0, noise=0)
    product["time"] = TIMES[0] + pd.to_timedelta(
        np.arange(DATES) // 2 * 12 + np.arange(DATES) % 2, "D"
    )
    wet = xr.where(product["x"] < 300, 0.35, 0.15)
    seen = (product["relative_orbit"] == 161) | (product["x"] < 300)
    product["soil_moisture"] = (0 * product["soil_moisture"] + wet).where(seen)
    report = gssm.check(product)
    assert report.orbits.loc["59 - 161", "bias"] == pytest.approx(0, abs=1e-9)
    assert found(report, "orbit to orbit").reached


def test_orbits_that_see_no_pixel_together_are_not_compared():
    product = a_map(response=0)
    product["time"] = TIMES[0] + pd.to_timedelta(
        np.arange(DATES) // 2 * 12 + np.arange(DATES) % 2, "D"
    )
    west = product["x"] < 240
    report = gssm.check(product.where(west == (product["relative_orbit"] == 161)))
    assert report.orbits.loc["59 - 161", "N"] == 0
    assert found(report, "orbit to orbit").reached is None


def test_rain_that_begins_with_the_map_gives_no_index_at_first():
    report = gssm.check(a_map(), rain=RAIN[TIMES[0].normalize() :], resamples=20)
    assert report.means["api"].isna().sum() == 5
    assert report.rain["N"].tolist() == [28, 27]
    said = found(report, "response to rain").says
    assert "5 dates have no index, which rests on 30 days of rain" in said
    assert report.months["api"].isna().tolist() == [True, *[False] * 11]


def test_dates_without_radar_do_not_end_its_comparison():
    product = a_map()
    radar = 10 ** (product["soil_moisture"].astype(float) - 1)
    radar[0] = np.nan
    report = gssm.check(product, rain=RAIN, cube=xr.Dataset({"vv": radar}), resamples=20)
    assert report.rain["vv"].notna().all()
    assert report.rain["N"].tolist() == [30, 29]


def test_rain_that_never_falls_tells_nothing():
    report = gssm.check(a_map(), rain=RAIN * 0, resamples=20)
    assert found(report, "response to rain").reached is None
    assert found(report, "seasons").reached is None


def test_dates_that_see_little_of_the_place_tell_nothing():
    product = a_map().isel(time=slice(8))
    column = (product["x"] / 10) % 8 == xr.DataArray(np.arange(8), dims="time")
    report = gssm.check(product.where(column))
    assert found(report, "seasons").reached is None
    assert "0 of 8 dates have a mean" in str(report)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p["soil_moisture"], "the product is a DataArray"),
        (lambda p: p * 100, "which is no m3 m-3"),
        (lambda p: p.assign(soil_moisture=p.soil_moisture.assign_attrs(units="%")), "is in '%'"),
        (lambda p: p.convert_calendar("noleap", use_cftime=True), "standard calendar"),
        (lambda p: p.isel(time=[0, 1, 1]), "twice; give each date once"),
        (lambda p: p.assign_coords(relative_orbit=p.relative_orbit * np.nan), "whole number"),
        (lambda p: p.assign_coords(relative_orbit=("time", ["A"] * DATES)), "whole number"),
    ],
)
def test_maps_of_something_else_are_refused(change, says):
    with pytest.raises(CubeError, match=says):
        gssm.check(change(a_map()))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (FIELDS.to_numpy(), "are no numbers"),
        (FIELDS.astype(str), "are no numbers"),
        (FIELDS.assign_coords(y=np.zeros(SIDE)), "a row or column twice"),
    ],
)
def test_labels_are_numbers_on_one_grid(labels, says):
    with pytest.raises(RequestError, match=says):
        gssm.check(a_map(), fields=labels)
