"""What is drawn: points, lines, texts and limits, on axes that leave nothing open."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gssm import metrics
from gssm.errors import RequestError, SamplesError
from gssm.training import figures
from gssm.training.evaluate import MIN_STATION_ROWS, station_table
from gssm.training.figures import (
    card_figures,
    plot_calibration,
    plot_history,
    plot_importance,
    plot_scatter,
    plot_series,
    plot_skill_by_station,
    plot_stations,
)
from sample_tables import simulated_samples


@pytest.fixture
def ax() -> Iterator[Axes]:
    figure = Figure(layout="constrained")
    yield figure.subplots()
    figure.canvas.draw()  # what cannot be drawn is no figure


def make_predicted(stations: int = 6, each: int = 60, seed: int = 0) -> pd.DataFrame:
    """What `cross_validate` returns: errors are normal, of a standard deviation of 0.05."""
    rng = np.random.default_rng(seed)
    n = stations * each
    number = np.repeat(np.arange(stations), each)
    network = np.where(number % 2, "NETA", "NETB")
    observed = np.clip(0.25 + 0.1 * rng.normal(size=n), 0.02, 0.48)
    ensemble = observed + 0.05 * rng.normal(size=n)
    days = np.tile(6 * np.arange(each), stations)
    table = pd.DataFrame(
        {
            "network": network,
            "station": [f"{net}/st{i}" for net, i in zip(network, number, strict=True)],
            "time": pd.Timestamp("2020-01-01") + pd.to_timedelta(days, "D"),
            "latitude": 35.0 + 2 * number,
            "longitude": -100.0 + 5 * number,
            "fold": number % 2,
            "observed": observed.astype(np.float32),
            "random_forest": (observed + 0.03).astype(np.float32),
            "xgboost": (observed - 0.02).astype(np.float32),
            "soil_moisture": np.clip(ensemble, 0, 1).astype(np.float32),
            "soil_moisture_uncertainty": np.full(n, 0.05 * 1.6449, np.float32),
            "outside_applicability": np.arange(n) % 10 == 0,
        }
    )
    table.index = table.index // 2  # an index need not be unique
    return table


def box(ax: Axes) -> str:
    return ax.texts[0].get_text()


def points(ax: Axes) -> int:
    return sum(len(collection.get_offsets()) for collection in ax.collections)


# Scatter


def test_scatter_counts_every_pair_and_writes_their_metrics(ax: Axes) -> None:
    predicted = make_predicted()
    predicted.iloc[:3, predicted.columns.get_loc("random_forest")] = np.nan
    assert plot_scatter(predicted, "random_forest", ax=ax) is ax
    counts = ax.collections[0].get_array()
    assert counts.sum() == len(predicted) - 3
    assert counts.min() >= 1  # an empty square has no colour

    pair = predicted.dropna(subset="random_forest")
    observed, value = pair["observed"], pair["random_forest"]
    assert box(ax).split("\n") == [
        f"R² {metrics.r2(observed, value):.2f}",
        f"RMSE {metrics.rmse(observed, value):.3f}",
        f"ubRMSE {metrics.ubrmse(observed, value):.3f}",
        f"bias {metrics.bias(observed, value):.3f}",
        "N 357",
        "6 stations",
    ]
    assert "bias 0.030" in box(ax)


def test_scatter_has_equal_axes_a_1_to_1_line_units_and_a_bar(ax: Axes) -> None:
    plot_scatter(make_predicted(), "xgboost", ax=ax)
    assert ax.get_xlim() == ax.get_ylim() == (0.0, 0.5)
    line = ax.lines[0]
    assert line.get_label() == "1:1"
    assert (line.get_xy1(), line.get_slope()) == ((0, 0), 1)
    assert ax.get_title() == "xgboost"
    assert ax.get_xlabel() == "observed (m³ m⁻³)"
    assert ax.get_ylabel() == "predicted (m³ m⁻³)"
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "samples per (0.01 m³ m⁻³)²"
    assert bar.get_yscale() == "log"


def test_scatter_leaves_no_value_outside_and_no_minus_nought(ax: Axes) -> None:
    table = pd.DataFrame({"station": "a", "observed": [0.1, 0.9], "guess": [-0.071, 1.0704]})
    plot_scatter(table, "guess", ax=ax, legend=False)
    assert ax.collections[0].get_array().sum() == 2
    low, high = ax.get_xlim()
    assert low <= -0.071
    assert high >= 1.0704
    assert "bias 0.000" in box(ax)
    assert "1 station" in box(ax)
    assert not ax.child_axes


VALUES = st.floats(-0.2, 1.2) | st.sampled_from([0.0, 0.01, 0.29, 0.5, 0.57])


@settings(max_examples=30)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_no_pair_is_lost_at_any_edge(values: list[tuple[float, float]]) -> None:
    table = pd.DataFrame(values, columns=["observed", "guess"]).assign(station="a")
    drawn = plot_scatter(table, "guess", ax=Figure().subplots(), legend=False)
    assert drawn.collections[0].get_array().sum() == len(values)


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        (lambda t: t, "tabnet", "no column 'tabnet'; give what gssm.cross_validate returns"),
        (lambda t: t.drop(columns="observed"), "xgboost", "no column 'observed'"),
        (lambda t: t.assign(xgboost=np.nan), "xgboost", "no row has both .* 'xgboost'"),
        (lambda t: t.iloc[:0], "xgboost", "empty or all NaN"),
        (lambda t: t, "network", "column 'network' .* holds no numbers"),
        (lambda t: t.to_numpy(), "xgboost", "is a ndarray; give what gssm"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_refused(change, column, message) -> None:
    with pytest.raises(SamplesError, match=message):
        plot_scatter(change(make_predicted()), column)
    # Refused before a figure was made.
    assert not open_figures()


def open_figures() -> list[int]:
    import matplotlib.pyplot as plt

    return plt.get_fignums()


# Series


def test_series_draws_both_the_interval_and_hollow_markers_outside(ax: Axes) -> None:
    predicted = make_predicted()
    rows = predicted[predicted["station"] == "NETA/st1"]
    shuffled = predicted.sample(frac=1, random_state=0)  # time need not be sorted
    plot_series(shuffled, "NETA/st1", ax=ax)
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(lines["observed"].get_ydata(), rows["observed"].astype(float))
    assert len(lines["predicted"].get_ydata()) == 54
    hollow = lines["outside applicability"]
    assert len(hollow.get_ydata()) == 6
    assert hollow.get_markerfacecolor() == "white"
    assert ax.collections[0].get_label() == "90 % interval"
    reached = ax.collections[0].get_paths()[0].vertices[:, 1].max()
    highest = rows["soil_moisture"].max() + rows["soil_moisture_uncertainty"].iloc[0]
    assert reached == pytest.approx(highest)
    observed, value = rows["observed"], rows["soil_moisture"]
    assert ax.get_title() == (
        f"NETA/st1: r {metrics.r(observed, value):.2f}, "
        f"ubRMSE {metrics.ubrmse(observed, value):.3f}, "
        f"bias {metrics.bias(observed, value):.3f}, N 60"
    )
    assert ax.get_ylabel() == "soil moisture (m³ m⁻³)"
    assert ax.get_ylim()[0] == 0


def test_no_line_crosses_a_gap_of_more_than_60_days(ax: Axes) -> None:
    predicted = make_predicted(stations=1, each=20)
    start = pd.Timestamp("2020-01-01")
    days = np.array([*range(0, 60, 6), *range(114, 174, 6)])  # exactly 60 days between
    plot_series(predicted.assign(time=start + pd.to_timedelta(days, "D")), "st0", ax=ax)
    joined = [line.get_ydata() for line in ax.lines if line.get_linestyle() != "None"]
    assert [len(values) for values in joined] == [20, 20]

    later = Figure().subplots()
    days[10:] += 1
    plot_series(predicted.assign(time=start + pd.to_timedelta(days, "D")), "st0", ax=later)
    for line in (line for line in later.lines if line.get_linestyle() != "None"):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(line.get_ydata())), [10])
        assert np.diff(line.get_xdata()).min() >= np.timedelta64(0)


def test_a_member_has_no_interval_and_a_plain_table_no_hollow_marker(ax: Axes) -> None:
    plain = make_predicted().drop(columns=["outside_applicability", "soil_moisture_uncertainty"])
    plot_series(plain, "st2", "xgboost", ax=ax)
    assert not ax.collections
    assert {line.get_label() for line in ax.lines} >= {"observed", "predicted"}
    assert "outside applicability" not in {line.get_label() for line in ax.lines}
    assert "bias -0.020" in ax.get_title()
    other = Figure().subplots()
    plot_series(make_predicted(), "st2", "xgboost", ax=other)
    assert not other.collections


def test_a_station_is_found_by_name_and_an_unknown_one_gets_the_nearest() -> None:
    predicted = make_predicted()
    with pytest.raises(RequestError, match=r"no station 'neta/ST3' .* names are 'NETA/st3'"):
        plot_series(predicted, "neta/ST3")
    with pytest.raises(RequestError, match="nearest names are 'NETA/st1', 'NETA/st3', 'NETA/st5'"):
        plot_series(predicted, "Timbuktu")
    twice = predicted.replace({"station": {"NETA/st1": "NETB/same", "NETA/st3": "NETA/same"}})
    with pytest.raises(
        RequestError, match="several networks; name one of 'NETA/same', 'NETB/same'"
    ):
        plot_series(twice, "same")
    with pytest.raises(SamplesError, match="no column 'time'"):
        plot_series(predicted.drop(columns="time"), "st1")
    with pytest.raises(SamplesError, match="no row has both"):
        plot_series(predicted.assign(observed=np.nan), "st1")


# Calibration


def test_calibration_of_normal_errors_lies_on_the_line(ax: Axes) -> None:
    predicted = make_predicted(stations=30, each=200)
    plot_calibration(predicted, ax=ax)
    curve = next(line for line in ax.lines if line.get_label().startswith("pooled"))
    level, share = curve.get_xdata(), curve.get_ydata()
    np.testing.assert_allclose(share, level, atol=0.02)
    stored = next(line for line in ax.lines if line.get_label() == "stored, 90 %")
    error = (predicted["soil_moisture"] - predicted["observed"]).abs()
    held = (error <= predicted["soil_moisture_uncertainty"]).mean()
    assert stored.get_xdata() == [0.9]
    assert stored.get_ydata()[0] == pytest.approx(held, abs=1e-4)
    # The curve passes through what is stored: there nothing is assumed.
    np.testing.assert_allclose(np.interp(0.9, level, share), stored.get_ydata(), atol=1e-4)
    assert f"90 % interval holds {held:.3f}" in box(ax)
    assert "mean half-width 0.082 m³ m⁻³" in box(ax)
    assert "outside applicability" in box(ax)
    assert "N 6,000, 30 stations" in box(ax)
    assert ax.get_xlabel() == "level asked"


def test_calibration_by_prediction_finds_the_class_that_is_too_sure(ax: Axes) -> None:
    predicted = make_predicted(stations=30, each=200)
    wet = predicted["soil_moisture"] > predicted["soil_moisture"].quantile(0.9)
    sure = predicted.assign(
        soil_moisture_uncertainty=predicted["soil_moisture_uncertainty"].mask(wet, 0.001)
    )
    plot_calibration(sure.drop(columns="outside_applicability"), "prediction", ax=ax)
    share = next(line for line in ax.lines if line.get_label() == "pooled, 10 classes").get_ydata()
    assert (share[:-1] > 0.8).all()
    assert share[-1] < 0.1
    assert "outside" not in box(ax)
    assert ax.get_xlabel() == "predicted (m³ m⁻³)"


def test_few_rows_have_no_spread_over_stations(ax: Axes) -> None:
    plot_calibration(make_predicted(stations=10, each=4), ax=ax)
    assert not ax.collections
    assert "IQR" not in box(ax)


def test_calibration_without_intervals_is_refused() -> None:
    predicted = make_predicted()
    with pytest.raises(SamplesError, match="no column 'soil_moisture_uncertainty'"):
        plot_calibration(predicted.drop(columns="soil_moisture_uncertainty"))
    with pytest.raises(SamplesError, match="NaN in every row; calibrate"):
        plot_calibration(predicted.assign(soil_moisture_uncertainty=np.nan))
    with pytest.raises(RequestError, match="no calibration by 'luck'; use 'level' or 'prediction'"):
        plot_calibration(predicted, "luck")
    assert not open_figures()


# Stations


def test_stations_of_samples_stand_at_their_place(ax: Axes) -> None:
    samples = simulated_samples()
    plot_stations(samples, ax=ax)
    places = np.asarray(ax.collections[0].get_offsets())
    expected = samples.groupby("station")[["longitude", "latitude"]].median()
    assert sorted(map(tuple, places)) == sorted(expected.itertuples(index=False, name=None))
    assert ax.get_title() == "8 stations, 240 rows"
    for (low, high), values in zip((ax.get_xlim(), ax.get_ylim()), places.T, strict=True):
        assert low < values.min() <= values.max() < high
    assert ax.get_yticklabels()[0].get_text() == "39°N"
    assert ax.get_xticklabels()[0].get_text() == "101°W"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["N 30"]


def test_area_follows_the_number_of_rows(ax: Axes) -> None:
    predicted = make_predicted(stations=2, each=40)
    plot_stations(predicted[np.arange(80) < 50], ax=ax)
    stations = ax.collections[0]
    large, small = stations.get_sizes()
    assert large > small
    np.testing.assert_array_equal(stations.get_offsets()[0], [-100, 35])


def test_stations_by_metric_leave_those_of_few_rows_white(ax: Axes) -> None:
    predicted = make_predicted()
    few = predicted[~((predicted["station"] == "NETB/st0") & (predicted["time"] > "2020-03-01"))]
    plot_stations(few, "r", ax=ax)
    table = station_table(few)
    coloured = next(c for c in ax.collections if c.get_array() is not None)
    scored = table[table["N"] >= MIN_STATION_ROWS]
    assert len(scored) == 5
    assert sorted(coloured.get_array()) == pytest.approx(sorted(scored["r"]))
    assert coloured.get_clim() == (0, 1)
    assert points(ax) == 6
    assert "no r (1)" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert ax.child_axes[0].get_ylabel() == "r of the station"

    other = Figure().subplots()
    plot_stations(table, "bias", ax=other)  # what was scored already
    low, high = next(c for c in other.collections if c.get_array() is not None).get_clim()
    assert low == -high
    assert other.child_axes[0].get_ylabel() == "bias (m³ m⁻³) of the station"


def test_many_networks_share_the_last_colour(ax: Axes) -> None:
    predicted = make_predicted(stations=12, each=2)
    number = np.repeat(np.arange(12), 2)
    predicted["network"] = [f"N{i:02}" for i in number]
    plot_stations(predicted, "network", ax=ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [*(f"N{i:02} (1)" for i in range(7)), "5 other networks (5)", "N 2"]
    assert points(ax) == 12


def test_stations_that_cannot_be_drawn_are_refused() -> None:
    predicted = make_predicted()
    with pytest.raises(RequestError, match="coloured by 'colour'; use one of 'network', 'r2'"):
        plot_stations(predicted, "colour")
    with pytest.raises(SamplesError, match="no column 'latitude'"):
        plot_stations(predicted.drop(columns="latitude"))
    with pytest.raises(SamplesError, match="no station has a latitude and a longitude"):
        plot_stations(predicted.assign(latitude=np.nan))
    with pytest.raises(SamplesError, match="no column 'r'; give predictions"):
        plot_stations(simulated_samples(), "r")
    with pytest.raises(SamplesError, match="no station has a r; give stations with 20 rows"):
        plot_stations(make_predicted(each=5), "r")
    assert not open_figures()


def test_skill_by_station_is_sorted_with_the_median_of_the_skill_table(ax: Axes) -> None:
    predicted = make_predicted()
    plot_skill_by_station(predicted, "ubrmse", column="soil_moisture", ax=ax)
    dots = ax.lines[-1]
    expected = np.sort(station_table(predicted)["ubrmse"])
    np.testing.assert_allclose(dots.get_xdata(), expected)
    np.testing.assert_array_equal(dots.get_ydata(), np.arange(1, 7))
    assert f"median {np.median(expected):.3f}" in box(ax)
    assert "6 of 6 stations" in box(ax)
    assert ax.get_xlabel() == "ubRMSE (m³ m⁻³) of the station"
    with pytest.raises(RequestError, match="no metric 'skill'; use one of"):
        plot_skill_by_station(predicted, "skill")


# Importance and history


def make_importance() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "features": [3, 2, 1],
            "xgboost": [0.001, 0.020, -0.001],
            "soil_moisture": [0.010, 0.005, -0.0002],
            "xgboost_sd": [0.0, 0.001, 0.0],
            "soil_moisture_sd": [0.001, 0.0005, 0.0001],
        },
        index=pd.Index(["radar", "season", "terrain"], name="group"),
    )
    table.attrs = {"rows": 1234, "rmse": {"xgboost": 0.07, "soil_moisture": 0.065}}
    return table


def test_importance_has_the_largest_bar_above(ax: Axes) -> None:
    plot_importance(make_importance(), "xgboost", ax=ax)
    assert [bar.get_width() for bar in ax.patches] == [0.020, 0.001, -0.001]
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["season", "radar", "terrain"]
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first is above
    assert box(ax) == "RMSE 0.070\nN 1,234"
    assert ax.get_xlabel() == "increase in RMSE (m³ m⁻³)"


def test_importance_keeps_an_order_and_a_limit(ax: Axes) -> None:
    plot_importance(make_importance(), most=2, order=["terrain", "radar", "season"], ax=ax)
    assert [bar.get_width() for bar in ax.patches] == [-0.0002, 0.010]
    with pytest.raises(SamplesError, match="no importances of 'tabnet'; choose one of 'xgboost'"):
        plot_importance(make_importance(), "tabnet")
    with pytest.raises(SamplesError, match="no group has an importance"):
        plot_importance(make_importance().assign(xgboost=np.nan), "xgboost")


def make_trials() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": [3, 0, 1, 2, 4, 5],
            "value": [0.06, 0.08, 0.07, 0.05, np.nan, np.nan],
            "state": ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "FAIL", "PRUNED"],
        }
    )


def test_history_draws_the_best_of_complete_trials(ax: Axes) -> None:
    plot_history(make_trials(), ax=ax)
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == [
        "complete (3)",
        "pruned, value so far (1)",
        "pruned before a value (1)",
        "failed or unfinished (1)",
        "best so far (0.06)",
    ]
    best = lines["best so far (0.06)"]
    np.testing.assert_array_equal(best.get_xdata(), [0, 1, 3, 5])
    np.testing.assert_array_equal(best.get_ydata(), [0.08, 0.07, 0.06, 0.06])
    np.testing.assert_array_equal(lines["failed or unfinished (1)"].get_xdata(), [4])
    assert ax.get_title() == "6 trials"


def test_history_can_be_of_a_score_and_needs_a_complete_trial(ax: Axes) -> None:
    plot_history(make_trials(), maximize=True, ax=ax)
    assert ax.lines[-1].get_label() == "best so far (0.08)"
    with pytest.raises(SamplesError, match="none of the 6 trials is complete with a value"):
        plot_history(make_trials().assign(state="RUNNING"))
    with pytest.raises(SamplesError, match=r"no column 'state'; give optuna's Study"):
        plot_history(make_trials().drop(columns="state"))


# Card

COLUMNS = ["station", "fold", "observed", "xgboost", "soil_moisture"]
CARD = ("scatter", "stations", "series", "calibration", "importance")


def chunks(png: bytes) -> list[str]:
    """Names of the chunks of a PNG file."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    names, at = [], 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        names.append(png[at + 4 : at + 8].decode())
        at += 12 + size
    return names


def test_card_is_the_same_bytes_whatever_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # No pyplot: with it a server without a screen may choose a backend that needs one.
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    predicted = {"random": make_predicted(seed=1), "station": make_predicted()}
    files = card_figures(predicted, make_importance())
    assert list(files) == [f"card_{name}.png" for name in CARD]
    with mpl.rc_context({"font.size": 20, "savefig.dpi": 30, "lines.linewidth": 7}):
        settings = dict(mpl.rcParams)
        again = card_figures(predicted, make_importance())
        assert dict(mpl.rcParams) == settings
    assert again == files
    for data in files.values():
        # No text, no time: nothing but the picture and its resolution.
        assert set(chunks(data)) == {"IHDR", "pHYs", "IDAT", "IEND"}
    # Another table is another picture.
    assert len(set(files.values())) == len(CARD)
    other = card_figures({"station": make_predicted(seed=2)[COLUMNS]})
    assert other["card_scatter.png"] != files["card_scatter.png"]


def test_card_draws_what_the_table_has_and_leaves_nothing_open() -> None:
    bare = make_predicted()[COLUMNS]
    assert list(card_figures({"random": bare})) == ["card_scatter.png"]
    unmeasured = make_predicted().assign(soil_moisture_uncertainty=np.nan, latitude=np.nan)
    assert list(card_figures({"station": unmeasured})) == ["card_scatter.png", "card_series.png"]
    assert not open_figures()


def test_card_draws_the_station_protocol_in_full_and_picks_stations_by_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scatters: list[tuple[float, str]] = []
    series: list[str] = []

    def scatter(table: pd.DataFrame, column: str = "soil_moisture", **options: Axes) -> Axes:
        scatters.append((float(table["observed"].iloc[0]), column))
        return plot_scatter(table, column, **options)

    def one(table: pd.DataFrame, station: str, **options: Axes) -> Axes:
        series.append(station)
        return plot_series(table, station, **options)

    monkeypatch.setattr(figures, "plot_scatter", scatter)
    monkeypatch.setattr(figures, "plot_series", one)
    monkeypatch.setattr(figures, "_png", lambda figure: b"")
    random, station = make_predicted(seed=1), make_predicted(stations=11)
    card_figures({"random": random, "station": station})
    of_random, of_station = (float(t["observed"].iloc[0]) for t in (random, station))
    assert scatters == [
        *((of_station, name) for name in ("random_forest", "xgboost", "soil_moisture")),
        (of_random, "soil_moisture"),
    ]
    ranked = station_table(station)["r"].sort_values().index
    assert series == [ranked[1], ranked[5], ranked[9]]
    series.clear()
    card_figures({"station": station}, stations=["st4"])
    assert series == ["st4"]


def test_card_refuses_nothing_and_nobody() -> None:
    with pytest.raises(RequestError, match="no predictions to draw"):
        card_figures({})
    with pytest.raises(RequestError, match="no station 'st99'"):
        card_figures({"station": make_predicted()}, stations=["st99"])
    with pytest.raises(SamplesError, match="no row has both"):
        card_figures({"station": make_predicted().iloc[:0]})
    with pytest.raises(SamplesError, match="no column 'soil_moisture'; give what permutation"):
        card_figures({"station": make_predicted()}, make_importance()[["features"]])


def test_card_of_few_rows_or_equal_ones_has_stations_without_skill() -> None:
    few = make_predicted(stations=3, each=4)
    equal = make_predicted(stations=3, each=30).assign(soil_moisture=np.float32(0.2))
    for table in (few, equal):
        assert list(card_figures({"station": table})) == [f"card_{n}.png" for n in CARD[:4]]


def test_without_axes_a_figure_of_its_own_is_made() -> None:
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    predicted = make_predicted()
    drawn = [
        plot_scatter(predicted),
        plot_series(predicted, "st1"),
        plot_calibration(predicted),
        plot_stations(predicted, "network"),
        plot_skill_by_station(predicted),
        plot_importance(make_importance()),
        plot_history(make_trials()),
    ]
    assert len({id(ax.figure) for ax in drawn}) == 7
    for ax in drawn:
        ax.figure.canvas.draw()
        plt.close(ax.figure)
    assert not open_figures()
