from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from predicted_tables import predicted_table

from gssm import metrics
from gssm.errors import RequestError, SamplesError
from gssm.models import files
from gssm.training.baselines import BASELINE_SAYS
from gssm.training.card import Card, make_card, model_record
from gssm.training.evaluate import skill_table, station_table
from gssm.training.intervals import differences, with_intervals
from gssm.training.provenance import describe_skill
from gssm.training.train import train
from sample_tables import simulated_samples

DRAWS = 20
OTHERS = {"reference": "the other | product", "baseline_mean": BASELINE_SAYS["baseline_mean"]}


def record() -> dict[str, Any]:
    """Simulated record of a model."""
    return {
        "gssm_version": "9.9",
        "licence": {"model": "Apache-2.0", "labels": {"NETA": "public domain"}},
        "training": {
            "command": "gssm train table.csv --out <folder>",
            "table": "table.csv",
            "table_sha256": "abc",
            "rows": 240,
            "stations": 8,
            "networks": ["NETA", "NETB"],
            "time_range": ["2020-01-01 00:00:00", "2021-11-30 00:00:00"],
            "preset": "tiny",
            "seed": 3,
            "packages": {"numpy": "2.0"},
        },
        "spec": {"name": "l2", "level": "l2", "features": [{"name": "vv_db", "units": "dB"}]},
        "weights": {"random_forest": 0.25, "xgboost": 0.75},
        "calibration": {"level": 0.9, "predicted": [0.2], "half_width": [0.08]},
        "applicability": {"threshold": 0.321, "probes": 3},
        "files": {"random_forest.safetensors": {"bytes": 1, "sha256": "x"}},
    }


def table(protocol: str, seed: int = 0, **columns: Any) -> pd.DataFrame:
    predicted = predicted_table(seed=seed).assign(**columns)
    predicted.attrs = {
        "protocol": protocol,
        "says": f"what {protocol} says",
        "folds": 4,
        "spec": "l2",
        "preset": "tiny",
    }
    return predicted


@pytest.fixture(scope="module")
def evaluations() -> dict[str, pd.DataFrame]:
    reference = np.full(200, 0.22)
    reference[:25] = np.nan
    compared = {"reference": reference + predicted_table()["xgboost"] / 10, "baseline_mean": 0.25}
    return {"random": table("random", seed=1), "station": table("station", **compared)}


@pytest.fixture(scope="module")
def card(evaluations: dict[str, pd.DataFrame]) -> Card:
    return make_card(
        record(),
        evaluations,
        others=OTHERS,
        figures={"Predicted and observed": "card_scatter.png"},
        notes=["one station is odd"],
        resamples=DRAWS,
    )


def of(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["name"] == name)


def test_numbers_are_those_of_the_tables(card: Card, evaluations: dict[str, pd.DataFrame]) -> None:
    parts = {part["protocol"]: part for part in card.record["protocols"]}
    assert list(parts) == ["station", "random"]  # what a map can expect comes first
    for name, predicted in evaluations.items():
        expected = with_intervals(predicted, resamples=DRAWS)
        for row in parts[name]["scores"]:
            known = expected.loc[row["name"]].drop("N")
            found = pd.Series(row)[known.index].astype(float)
            np.testing.assert_allclose(found, known, atol=1e-6)
    main, predicted = parts["station"], evaluations["station"]
    stations = station_table(predicted)
    quartiles = of(main["stations"], "station_r")
    expected_quartiles = np.quantile(stations["r"], [0.25, 0.5, 0.75])
    found_quartiles = [quartiles[q] for q in ("q25", "median", "q75")]
    np.testing.assert_allclose(found_quartiles, expected_quartiles, atol=1e-6)
    gcos = main["gcos"]
    assert gcos["two_sigma_of_median_station"] == pytest.approx(
        2 * stations["ubrmse"].median(), abs=1e-6
    )
    assert gcos["two_sigma_pooled"] == pytest.approx(
        2 * metrics.rmse(predicted["observed"], predicted["soil_moisture"]), abs=1e-6
    )
    assert gcos["stations_within_threshold"] == (2 * stations["ubrmse"] <= 0.08).sum()
    assert gcos["stations_within_breakthrough"] == (2 * stations["ubrmse"] <= 0.04).sum()
    spread = predicted["soil_moisture"].std() / predicted["observed"].std()
    assert main["spread_ratio"] == pytest.approx(spread, abs=1e-6)
    assert main["mean_half_width"] == pytest.approx(0.08)
    area = main["applicability"]
    assert area["share_outside"] == pytest.approx(1 / 8)
    assert [row["N"] for row in area["scores"]] == [175, 25]
    inside = skill_table(predicted[~predicted["outside_applicability"]], ["soil_moisture"])
    assert of(area["scores"], "inside")["r2"] == pytest.approx(inside["r2"].iloc[0], abs=1e-6)


def test_groups_are_of_the_protocol_that_is_told_first(
    card: Card, evaluations: dict[str, pd.DataFrame]
) -> None:
    groups = {group["by"]: group["rows"] for group in card.record["groups"]}
    assert list(groups) == ["network", "climate", "land_cover", "soil_texture"]
    assert [row["name"] for row in groups["climate"]] == ["B arid", "C temperate"]
    predicted = evaluations["station"]
    arid = predicted[predicted["koppen"] == 7]
    expected = with_intervals(arid, ["soil_moisture"], resamples=DRAWS).iloc[0]
    row = of(groups["climate"], "B arid")
    assert row["r2"] == pytest.approx(expected["r2"], abs=1e-6)
    assert row["r2_low"] == pytest.approx(expected["r2_low"], abs=1e-6)
    assert of(groups["climate"], "C temperate")["r2_low"] is None  # three stations


def test_others_are_compared_on_the_rows_that_all_predict(
    card: Card, evaluations: dict[str, pd.DataFrame]
) -> None:
    (part,) = card.record["comparisons"]  # the other table has no such columns
    assert part["protocol"] == "station"
    assert [row["name"] for row in part["scores"]] == ["soil_moisture", *OTHERS]
    assert {row["N"] for row in part["scores"]} == {175}
    shared = evaluations["station"].iloc[25:]
    for row in part["scores"]:
        r2 = metrics.r2(shared["observed"], shared[row["name"]])
        assert row["r2"] == pytest.approx(r2, abs=1e-6)
    expected = differences(shared, list(OTHERS), resamples=DRAWS)
    gap = of(part["differences"], "reference")
    assert gap["r2_high"] == pytest.approx(expected.loc["reference", "r2_high"], abs=1e-6)
    assert gap["r2"] == pytest.approx(
        part["scores"][0]["r2"] - of(part["scores"], "reference")["r2"], abs=2e-6
    )


def test_the_text_says_what_the_record_says(card: Card) -> None:
    text = card.markdown
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        "# gssm soil moisture model"
    ]
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        *("Intended use", "Training data", "Model", "Skill"),
        *("Station by station, held out by station", "Against the GCOS requirement"),
        *("Members, held out by station", "Where it does well and where not"),
        *("Baselines and other predictions", "Uncertainty", "Area of applicability"),
        *("Limits", "Figures", "Notes"),
    ]
    row = card.record["protocols"][0]["scores"][-1]
    score = f"{row['r2']:.2f} [{row['r2_low']:.2f}, {row['r2_high']:.2f}]"
    assert f"200 rows, 8 stations): R² {score}" in text
    for words in (
        "| rows | 240 |",
        "| networks | NETA, NETB |",
        "| time (UTC) | 2020-01-01 00:00:00 to 2021-11-30 00:00:00 |",
        "| licence of the labels: NETA | public domain |",
        "| members and weights | random_forest 0.250, xgboost 0.750 |",
        "| features | 1, spec l2: vv_db |",
        "- **station**: what station says; folds: 4.",
        "| the other \\| product |",
        "threshold 0.321",
        "half-width of the 90 % prediction interval",
        "![Predicted and observed](card_scatter.png)",
        "- one station is odd",
        "gssm train table.csv --out <folder>",
        "at most 0.08 m³ m⁻³ (threshold) or 0.04 (breakthrough)",
        "A point is not a pixel",
    ):
        assert words in text, words
    assert "nan" not in text.lower().split()
    assert "None" not in text
    # Every line of a table has the columns of its head.
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("random", "**leaked**"),
        ("holdout", "**leaked**"),
        ("time", "not the skill at a new place"),
        ("station", ""),
        ("network", ""),
    ],
)
def test_what_each_protocol_must_confess(protocol: str, words: str) -> None:
    text = make_card({}, {protocol: predicted_table()}, resamples=2).markdown
    (line,) = [line for line in text.splitlines() if line.startswith(f"- **{protocol}**")]
    assert words in line
    if not words:
        assert "leaked" not in line
        assert "new place" not in line


@pytest.mark.parametrize(
    ("noise", "verdict"),
    [
        (0.01, "is 0.020: meets the breakthrough"),
        (0.03, "is 0.060: meets the threshold"),
        (0.05, "is 0.100: does not meet the threshold"),
    ],
)
def test_verdicts_of_the_requirement(noise: float, verdict: str) -> None:
    predicted = predicted_table()
    # Alternating errors: every station's ubRMSE is the noise.
    sign = np.tile([1.0, -1.0], len(predicted))[: len(predicted)]
    predicted["soil_moisture"] = predicted["observed"].astype(float) + noise * sign
    text = make_card({}, {"station": predicted}, resamples=2).markdown
    assert f"twice the RMSE of all rows {verdict}" in text


def test_files_are_json_and_the_same_every_time(
    card: Card, evaluations: dict[str, pd.DataFrame]
) -> None:
    again = make_card(
        record(),
        {name: part.copy() for name, part in evaluations.items()},
        others=OTHERS,
        figures={"Predicted and observed": "card_scatter.png"},
        notes=["one station is odd"],
        resamples=DRAWS,
    )
    assert again.files() == card.files()
    made = card.files()
    assert list(made) == ["card.md", "card.json"]
    assert json.loads(made["card.json"]) == card.record
    assert made["card.md"].decode() == card.markdown
    assert "files" not in card.record  # the manifest's hashes would include this card


def test_what_was_not_given_is_left_out() -> None:
    bare = predicted_table()[["station", "observed", "soil_moisture"]]
    card = make_card({}, {"station": bare}, resamples=2)
    headings = re.findall(r"^## (.*)$", card.markdown, re.MULTILINE)
    assert headings == [
        *("Intended use", "Skill", "Station by station, held out by station"),
        *("Against the GCOS requirement", "Limits"),
    ]
    assert card.record["groups"] == []
    assert "coverage" not in card.record["protocols"][0]["scores"][-1]
    nothing = make_card(record(), {})
    assert "it knows nothing of the model's skill" in nothing.markdown
    assert "## Training data" in nothing.markdown
    assert "## Skill" not in nothing.markdown


def test_an_area_that_was_not_learnt_is_not_told() -> None:
    own = record()
    del own["applicability"]
    card = make_card(own, {"station": table("station")}, resamples=2)
    assert "applicability" not in card.record["protocols"][0]
    assert "## Area of applicability" not in card.markdown


def test_names_cannot_break_the_text() -> None:
    predicted = predicted_table()
    predicted["network"] = "<script>|x\n# y`"
    card = make_card({}, {"station": predicted}, title="a\n# b <b>", resamples=2)
    assert "<script>" not in card.markdown
    assert "\n# y" not in card.markdown
    assert card.markdown.startswith("# a # b &lt;b>\n")
    assert "| &lt;script>\\|x # y' | 200 |" in card.markdown


def test_what_does_not_belong_together_is_refused() -> None:
    good = table("station")
    with pytest.raises(RequestError, match="'random' was made with the protocol 'station'"):
        make_card(record(), {"random": good})
    for what, other in (("spec", "l2-history"), ("preset", "default")):
        wrong = good.copy()
        wrong.attrs[what] = other
        with pytest.raises(RequestError, match=f"was made with the {what} '{other}', not"):
            make_card(record(), {"station": wrong})
    with pytest.raises(SamplesError, match="no row with an observed and a predicted value"):
        make_card(record(), {"station": good.assign(soil_moisture=np.nan)})
    with pytest.raises(SamplesError, match="no evaluation has a column 'reference'"):
        make_card(record(), {"station": good}, others={"reference": "a product"})
    for name in ("../card.png", "folder/card.png", "card.svg", "card.png)"):
        with pytest.raises(RequestError, match="plain name of a PNG file"):
            make_card(record(), {"station": good}, figures={"x": name})


def test_record_of_a_model() -> None:
    samples = simulated_samples()
    model = train(samples, preset="tiny", members=["xgboost"], evaluate=False)
    own = model_record(model)
    manifest = json.loads(model.to_files()[files.MANIFEST])
    for name in ("spec", "weights", "training", "licence", "water_cloud", "applicability"):
        assert own.get(name) == manifest.get(name), name
    card = make_card(own, {})
    assert card.record["training"]["rows"] == len(samples)
    assert f"| stations | {samples['station'].nunique()} |" in card.markdown


def test_a_manifest_still_describes_skill() -> None:
    skill = describe_skill(predicted_table(), "station")
    assert json.loads(json.dumps(skill, allow_nan=False)) == skill
    assert list(skill["scores"]) == ["random_forest", "xgboost", "soil_moisture"]
    row = skill["scores"]["soil_moisture"]
    assert (row["N"], row["stations"], row["stations_used"]) == (200, 8, 8)
    assert skill["scores"]["xgboost"]["coverage"] is None
