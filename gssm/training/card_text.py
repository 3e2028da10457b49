"""The text of a model card, from nothing but its record."""

from __future__ import annotations

from collections.abc import Callable

from gssm.training import card_markdown as md
from gssm.training.card_markdown import Record

MEMBER_SCORES = ("r2", "rmse", "bias", "ubrmse", "station_r", "station_ubrmse")
GROUP_SCORES = ("r2", "rmse", "bias", "station_r", "station_ubrmse", "coverage")
COMPARED = ("r2", "station_r")
GROUP_TITLES = {
    "network": "network",
    "climate": "main Köppen-Geiger class",
    "land_cover": "land cover (ESA WorldCover)",
    "soil_texture": "soil texture (USDA)",
}
# Rows of one station and season fall on both sides.
LEAKED = ("random", "holdout")

USE = """## Intended use

Maps of surface soil moisture (0–5 cm) at 10 m from Sentinel-1, Sentinel-2, Landsat and
elevation, for research: how moisture changes in time at a place, and patterns between fields.

Not for: absolute values at a place without a station to check them against; the root zone;
frozen or snow-covered ground, open water, radar layover and shadow (no value is given);
dense vegetation, towns and steep slopes without a look at the quality flags; places outside
the area of applicability; decisions on which safety or a livelihood depends."""

LIMITS = """## Limits

- **A point is not a pixel.** Stations measure a few cubic centimetres, the model reads pixels of
  10 to 100 m. Part of every error here is that difference, and the sensor's own error.
- **Few stations.** Rows of one station resemble each other: what counts is the number of
  stations. Where no station is alike, the model extrapolates, and nothing here tells how well.
- **Depth.** C-band radar senses the first centimetres, and less of them where it is wet.
- **Vegetation.** Under dense canopies little of the signal is of the soil: flag
  `vegetation_dominates_radar`.
- **Frozen ground, snow and water** are recognised in optical images only; without a clear one
  near in time they pass for soil, and frozen soil for dry soil.
- **Labels** have errors, drifts and now and then wrong coordinates of their own."""


def render(record: Record) -> str:
    """Markdown of a card; a section without content is left out."""
    parts = [f"# {md.cell(record['title'])}", _summary(record), USE]
    parts += [write(record) for write in SECTIONS]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(record: Record) -> str:
    """Say in a sentence what to expect."""
    main = _main(record)
    if main is None:
        return "No evaluation was given to this card: it knows nothing of the model's skill."
    row = _ensemble(main)
    return (
        f"On rows that were held out by {md.cell(main['protocol'])} ({row['N']} rows, "
        f"{row['stations']} stations): R² {md.score(row, 'r2')}, RMSE {md.score(row, 'rmse')} "
        f"m³ m⁻³, and at the median station a correlation of {md.score(row, 'station_r')} and an "
        f"ubRMSE of {md.score(row, 'station_ubrmse')} m³ m⁻³. In brackets: 95 % intervals."
    )


def _training(record: Record) -> str:
    training, licence = record.get("training", {}), record.get("licence", {})
    known = {
        "rows": training.get("rows"),
        "stations": training.get("stations"),
        "networks": ", ".join(training.get("networks") or ()) or None,
        "time (UTC)": " to ".join(training.get("time_range") or ()) or None,
        "table": training.get("table"),
        "sha256 of the table": training.get("table_sha256"),
    }
    for name, says in licence.get("labels", {}).items():
        known[f"licence of the labels: {name}"] = says
    return md.facts("Training data", known)


def _model(record: Record) -> str:
    training, weights = record.get("training", {}), record.get("weights", {})
    known = {
        "gssm": record.get("gssm_version"),
        "licence of the model": record.get("licence", {}).get("model"),
        "features": _features(record.get("spec", {})),
        "members and weights": ", ".join(f"{n} {w:.3f}" for n, w in weights.items()) or None,
        "hyper-parameters (preset)": training.get("preset"),
        "seed": training.get("seed"),
        **training.get("packages", {}),
    }
    text = md.facts("Model", known)
    if training.get("command"):
        text += f"\n\nMade by\n\n```\n{training['command'].replace('`', '')}\n```"
    return text


def _features(spec: Record) -> str | None:
    names = [feature["name"] for feature in spec.get("features", ())]
    if not names:
        return None
    return f"{len(names)}, spec {spec.get('name', md.NOTHING)}: {', '.join(names)}"


def _protocols(record: Record) -> str:
    parts = record.get("protocols", ())
    if not parts:
        return ""
    rows = [_ensemble(part) for part in parts]
    used = [f"{row['stations']} ({row['stations_used']})" for row in rows]
    table = [["rows", *(str(row["N"]) for row in rows)], ["stations (with enough rows)", *used]]
    shown = [name for name in md.SCORES if any(row.get(name) is not None for row in rows)]
    table += [[md.SCORES[n][0], *(md.score(row, n) for row in rows)] for n in shown]
    return md.section(
        "Skill",
        [
            "Of the ensemble, on rows that did not teach what predicted them, by the way in which "
            "they were held out:",
            "",
            *(f"- **{md.cell(part['protocol'])}**: {_says(part)}" for part in parts),
            "",
            *md.table(["", *(md.cell(part["protocol"]) for part in parts)], table),
            "",
            f"In brackets: 95 % intervals from {record['bootstrap']['resamples']} draws of whole "
            "stations; none where stations are too few. The scores:",
            "",
            *(f"- {md.SCORES[name][0]}: {md.SCORES[name][2]}" for name in shown),
        ],
    )


def _says(part: Record) -> str:
    words = [md.cell(part["says"])] if part.get("says") else []
    if part.get("folds"):
        words.append(f"folds: {part['folds']}")
    if part["protocol"] in LEAKED:
        words.append(
            "**leaked**: rows of the same stations and seasons are on both sides, so this is not "
            "the skill to expect on a map"
        )
    elif part.get("stations_held_out") is False:
        words.append("the same stations have taught the model: not the skill at a new place")
    return "; ".join(words) + "."


def _stations(record: Record) -> str:
    main = _main(record)
    if main is None:
        return ""
    rows = []
    for row in main["stations"]:
        label, digits, _ = md.SCORES[row["name"]]
        quartiles = [md.number(row[name], digits) for name in ("q25", "median", "q75")]
        rows.append([label, str(row["stations"]), *quartiles])
    table = md.table(["", "stations", "lower quartile", "median", "upper quartile"], rows)
    return md.section(f"Station by station, {_held_out(main)}", table)


def _gcos(record: Record) -> str:
    main = _main(record)
    if main is None:
        return ""
    required, found = record["gcos_requirement"], main["gcos"]
    lines = [
        f"GCOS (2022) asks for two standard deviations of at most {required['threshold']} m³ m⁻³ "
        f"(threshold) or {required['breakthrough']} (breakthrough). Against point measurements, "
        f"{_held_out(main)}:",
        "",
    ]
    for name, label in {
        "two_sigma_of_median_station": "twice the ubRMSE of the median station",
        "two_sigma_pooled": "twice the RMSE of all rows",
    }.items():
        value = found[name]
        if value is not None:
            met = [limit for limit, most in required.items() if value <= most]
            verdict = f"meets the {met[0]}" if met else "does not meet the threshold"
            lines.append(f"- {label} is {value:.3f}: {verdict};")
    if found["stations"]:
        lines.append(
            f"- of {found['stations']} stations with enough rows, twice the ubRMSE is within the "
            f"threshold at {found['stations_within_threshold']} and within the breakthrough at "
            f"{found['stations_within_breakthrough']}."
        )
    return md.section("Against the GCOS requirement", lines)


def _members(record: Record) -> str:
    main = _main(record)
    if main is None or len(main["scores"]) < 2:
        return ""
    rows = [[_name(row), *md.scores(row, MEMBER_SCORES)] for row in main["scores"]]
    table = md.table(["", *md.labels(MEMBER_SCORES)], rows)
    return md.section(f"Members, {_held_out(main)}", table)


def _groups(record: Record) -> str:
    main = _main(record)
    if main is None or not record["groups"]:
        return ""
    lines = [
        f"The ensemble, {_held_out(main)}. The classes are those that came with the samples; one "
        "of few stations tells little."
    ]
    for group in record["groups"]:
        shown = [s for s in GROUP_SCORES if any(row.get(s) is not None for row in group["rows"])]
        rows = [
            [md.cell(row["name"]), str(row["N"]), str(row["stations"]), *md.scores(row, shown)]
            for row in group["rows"]
        ]
        table = md.table(["", "rows", "stations", *md.labels(shown)], rows)
        lines += ["", f"### By {GROUP_TITLES.get(group['by'], group['by'])}", "", *table]
    return md.section("Where it does well and where not", lines)


def _comparisons(record: Record) -> str:
    lines = [
        "On the rows that all of them predict, under each way of holding out. An interval of a "
        "difference that excludes zero speaks for a real one."
    ]
    for part in record.get("comparisons", ()):
        says = {"soil_moisture": "this model", **part["says"]}
        gaps = {row["name"]: row for row in part["differences"]}
        rows = [
            [
                md.cell(says[row["name"]]),
                *md.scores(row, MEMBER_SCORES),
                *md.scores(gaps.get(row["name"], {}), COMPARED),
            ]
            for row in part["scores"]
        ]
        gained = [f"{label} of this model minus this" for label in md.labels(COMPARED)]
        first = part["scores"][0]
        lines += [
            "",
            f"### {_held_out(part).capitalize()}: {first['N']} rows, {first['stations']} stations",
            "",
            *md.table(["", *md.labels(MEMBER_SCORES), *gained], rows),
        ]
    return md.section("Baselines and other predictions", lines) if len(lines) > 1 else ""


def _uncertainty(record: Record) -> str:
    calibration = record.get("calibration")
    if calibration is None:
        return ""
    level = calibration["level"]
    lines = [
        f"`soil_moisture_uncertainty` is the half-width of the {100 * level:g} % prediction "
        "interval, calibrated on errors at stations held out. It is meant to hold over all rows, "
        "not within each class or at each place: see the coverage of the classes."
    ]
    rows = []
    for part in record.get("protocols", ()):
        row = _ensemble(part)
        if row.get("coverage") is not None:
            width = md.number(part.get("mean_half_width"), 3)
            rows.append([md.cell(part["protocol"]), md.score(row, "coverage"), width])
    if rows:
        header = ["", f"coverage (wanted: {level:g})", "mean half-width (m³ m⁻³)"]
        lines += ["", *md.table(header, rows)]
    return md.section("Uncertainty", lines)


def _applicability(record: Record) -> str:
    area = record.get("applicability")
    if area is None:
        return ""
    lines = [
        "A pixel whose features are more unlike all training samples than these are unlike each "
        "other has the flag `outside_applicability` (dissimilarity index of Meyer and Pebesma "
        f"2021, threshold {md.number(area.get('threshold'), 3)}): its value is an extrapolation."
    ]
    shown = ("r2", "rmse", "bias")
    rows = []
    for part in record.get("protocols", ()):
        for row in part.get("applicability", {}).get("scores", ()):
            where = f"{md.cell(part['protocol'])}, {row['name']}"
            rows.append([where, str(row["N"]), str(row["stations"]), *md.scores(row, shown)])
    if rows:
        lines += ["", *md.table(["", "rows", "stations", *md.labels(shown)], rows)]
    return md.section("Area of applicability", lines)


def _limits(record: Record) -> str:
    main = _main(record)
    ratio = main.get("spread_ratio") if main else None
    if ratio is None or ratio >= 1:
        return LIMITS
    return (
        f"{LIMITS}\n- **Between the extremes.** Predictions vary {ratio:.2f} times as much as the "
        "observed values:\n  they tend to be too wet where it is dry, and too dry where it is wet."
    )


def _figures(record: Record) -> str:
    links = [f"![{md.cell(part['caption'])}]({part['file']})" for part in record["figures"]]
    return md.section("Figures", ["\n\n".join(links)]) if links else ""


def _notes(record: Record) -> str:
    lines = [f"- {md.cell(note)}" for note in record["notes"]]
    return md.section("Notes", lines) if lines else ""


SECTIONS: tuple[Callable[[Record], str], ...] = (
    _training,
    _model,
    _protocols,
    _stations,
    _gcos,
    _members,
    _groups,
    _comparisons,
    _uncertainty,
    _applicability,
    _limits,
    _figures,
    _notes,
)


def _main(record: Record) -> Record | None:
    """Return the evaluation that is told first."""
    parts: dict[str, Record] = {part["protocol"]: part for part in record.get("protocols", ())}
    return parts.get(record.get("primary", ""))


def _held_out(part: Record) -> str:
    return f"held out by {md.cell(part['protocol'])}"


def _ensemble(part: Record) -> Record:
    row: Record = part["scores"][-1]
    return row


def _name(row: Record) -> str:
    return "ensemble" if row["name"] == "soil_moisture" else md.cell(row["name"])
