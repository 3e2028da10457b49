import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm.compare.collocation import triple_collocation
from gssm.errors import RequestError, SamplesError

SYSTEMS = ("observed", "gssm", "era5")


def simulated(stations=20, each=400, errors=(0.02, 0.03, 0.04), factors=(1.0, 0.5, 1.5), seed=0):
    """A truth seen by three sources, with errors, factors and offsets that are known."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(stations), each)
    truth = 0.06 * rng.normal(size=len(number))
    table = {"station": [f"NET/st{n}" for n in number]}
    for name, error, factor in zip(SYSTEMS, errors, factors, strict=True):
        offset = rng.normal(0.25, 0.1, stations)[number]  # each place is off in its own way
        table[name] = offset + factor * truth + error * rng.normal(size=len(number))
    return pd.DataFrame(table)


def exact(variances, signal=1.0, factors=(1.0, 2.0, 0.5)):
    """Four orthogonal series, so that covariances are exact: truth and three errors."""
    bits = np.array([[(n >> k) & 1 for k in range(7)] for n in range(128)]) * 2.0 - 1
    truth, *errors = bits.T[:4]
    table = {"station": "NET/only"}
    for name, factor, variance, error in zip(SYSTEMS, factors, variances, errors, strict=True):
        table[name] = factor * np.sqrt(signal) * truth + np.sqrt(variance) * error
    return pd.DataFrame(table, index=range(128))


@settings(max_examples=20)
@given(
    st.tuples(*[st.floats(0.01, 4)] * 3),
    st.floats(0.1, 3),
    st.tuples(st.just(1.0), st.floats(0.2, 3), st.floats(0.2, 3)),
)
def test_exact_covariances_give_exact_errors(variances, signal, factors):
    found = triple_collocation(exact(variances, signal, factors), SYSTEMS, resamples=2)
    # Covariances are over n - 1 = 127, of 128 rows.
    np.testing.assert_allclose(
        found["error_std"], np.sqrt(np.array(variances) * 128 / 127), rtol=1e-6
    )
    seen = np.square(factors) * signal
    np.testing.assert_allclose(found["r_truth"], np.sqrt(seen / (seen + variances)), rtol=1e-9)
    np.testing.assert_allclose(
        found["snr_db"], 10 * np.log10(seen / variances), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(found["factor"], factors[0] / np.array(factors), rtol=1e-9)


def test_known_errors_are_found_inside_their_intervals():
    found = triple_collocation(simulated(seed=2), SYSTEMS, seed=1)
    assert list(found.index) == list(SYSTEMS)
    assert found.attrs["resampled"] == "stations"
    assert (found["N"] == 8000).all()
    assert (found["stations"] == 20).all()
    np.testing.assert_allclose(found["error_std"], [0.02, 0.03, 0.04], rtol=0.1)
    np.testing.assert_allclose(found["factor"], [1, 2, 2 / 3], rtol=0.05)
    truth = np.array([1.0, 0.5, 1.5]) * 0.06
    expected = truth / np.hypot(truth, [0.02, 0.03, 0.04])
    np.testing.assert_allclose(found["r_truth"], expected, rtol=0.02)
    for score, true in (("error_std", [0.02, 0.03, 0.04]), ("r_truth", expected)):
        assert (found[f"{score}_low"] < true).all()
        assert (true < found[f"{score}_high"]).all()
        assert (found[f"{score}_high"] - found[f"{score}_low"] < 0.05).all()


def test_intervals_hold_the_known_error_as_often_as_they_say():
    inside = []
    for seed in range(40):
        found = triple_collocation(
            simulated(stations=12, each=60, seed=seed), SYSTEMS, resamples=200, seed=seed
        )
        inside += list(
            (found["error_std_low"] <= [0.02, 0.03, 0.04])
            & (found["error_std_high"] >= [0.02, 0.03, 0.04])
        )
    # A percentile interval of 12 stations is a little narrow.
    assert 0.80 <= np.mean(inside) <= 0.99


def test_offsets_of_stations_play_no_part_and_seeds_repeat():
    table = simulated(stations=8, each=50)
    moved = table.assign(gssm=table["gssm"] + table["station"].str[-1].astype(float))
    one, two = (triple_collocation(t, SYSTEMS, seed=3) for t in (table, moved))
    pd.testing.assert_frame_equal(one, two)
    other = triple_collocation(table, SYSTEMS, seed=4)
    assert not np.allclose(one["error_std_low"], other["error_std_low"])
    np.testing.assert_array_equal(one["error_std"], other["error_std"])


def test_of_few_stations_rows_are_drawn():
    found = triple_collocation(simulated(stations=2, each=300), SYSTEMS, resamples=100)
    assert found.attrs["resampled"] == "rows"
    assert (found["error_std_low"] < found["error_std"]).all()
    assert (found["error_std"] < found["error_std_high"]).all()


def test_order_and_units_of_the_sources():
    table = simulated()
    found = triple_collocation(table, SYSTEMS, resamples=2)
    turned = triple_collocation(table, SYSTEMS[::-1], resamples=2).loc[list(SYSTEMS)]
    np.testing.assert_allclose(found["error_std"], turned["error_std"])
    np.testing.assert_allclose(turned["factor"] / turned.loc["observed", "factor"], found["factor"])
    percent = triple_collocation(table.assign(era5=100 * table["era5"]), SYSTEMS, resamples=2)
    assert percent.loc["era5", "error_std"] == pytest.approx(100 * found.loc["era5", "error_std"])
    assert percent.loc["era5", "snr_db"] == pytest.approx(found.loc["era5", "snr_db"])
    assert percent.loc["gssm", "error_std"] == pytest.approx(found.loc["gssm", "error_std"])


def test_sources_without_a_common_truth_have_no_error():
    table = simulated()
    found = triple_collocation(table.assign(era5=-table["era5"]), SYSTEMS, resamples=50)
    assert found[["error_std", "r_truth", "snr_db", "factor_low"]].drop("observed").isna().all(None)


def test_an_error_variance_below_zero_is_no_error():
    # Errors of two sources that are one error: the third seems better than it can be.
    table = simulated(errors=(0.001, 0.03, 0.04))
    table["gssm"] = table["era5"] * 0.9 + 0.001 * np.sin(np.arange(len(table)))
    found = triple_collocation(table, SYSTEMS, resamples=2)
    assert np.isnan(found.loc["gssm", "error_std"]) or found.loc["gssm", "error_std"] < 0.005
    assert found.loc["observed", "error_std"] > 0


@pytest.mark.parametrize(
    "systems", [("observed", "gssm"), ("observed", "gssm", "gssm"), "observed", (*SYSTEMS, "more")]
)
def test_three_sources_are_three(systems):
    with pytest.raises(RequestError, match="three different sources"):
        triple_collocation(simulated(2, 60), systems)


def test_too_little_is_refused():
    with pytest.raises(SamplesError, match="no column 'era5'"):
        triple_collocation(simulated(2, 60).drop(columns="era5"), SYSTEMS)
    with pytest.raises(SamplesError, match=r"has 98 rows.*fewer than 100 tell nothing"):
        triple_collocation(simulated(2, 49), SYSTEMS)
    # Rows of stations with a handful are none.
    with pytest.raises(SamplesError, match="has 0 rows of stations with 10 or more"):
        triple_collocation(simulated(40, 9), SYSTEMS)
    table = simulated(2, 60)
    table.loc[:20, "gssm"] = np.nan
    with pytest.raises(SamplesError, match="has 99 rows"):
        triple_collocation(table, SYSTEMS)
    with pytest.raises(RequestError, match="1 resamples"):
        triple_collocation(simulated(2, 60), SYSTEMS, resamples=1)
