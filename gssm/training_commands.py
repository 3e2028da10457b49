"""The shell's commands for models: ``gssm samples | train | evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gssm.shell import (
    Catalog,
    Clouds,
    ModelOption,
    Window,
    app,
    err,
    frame_table,
    out,
    save_new,
    sentences,
)


@app.command()
@sentences
def samples(
    stations: Annotated[
        Path, typer.Argument(help="ISMN download (zip or folder), USCRN files, or a table.")
    ],
    table: Annotated[Path, typer.Option("--out", help="Parquet file of samples to write.")],
    source: Annotated[str, typer.Option(help="What it is: ismn, uscrn or table.")] = "ismn",
    catalog: Catalog = "planetary-computer",
    datetime: Annotated[
        str, typer.Option("--datetime", help="Only radar images of this period.")
    ] = "",
    max_cloud_cover: Clouds = 60,
    window: Window = "3D",
    max_hours: Annotated[
        float, typer.Option(help="Farthest measurement from the radar image, in hours.")
    ] = 12,
) -> None:
    """Join in-situ soil moisture with the images at its stations: samples to train on.

    Begun again after an interruption, it goes on where it was. What was left out, and why,
    is written beside the table. Example: `gssm samples ISMN.zip --out samples.parquet`
    """
    from gssm.training.measured import read_measured
    from gssm.training.stations import build_samples

    measured = read_measured(stations, source, ("ismn", "uscrn", "table"))
    with err.status("reading images") as status:
        built = build_samples(
            measured,
            str(catalog),
            out=table,
            window=window,
            max_hours=max_hours,
            max_cloud_cover=max_cloud_cover,
            datetime=datetime or None,
            progress=status.update,
        )
    out.print(f"wrote {table}: {len(built)} samples", highlight=False, soft_wrap=True)
    for reason, count in built.attrs.get("dropped", {}).items():
        out.print(f"  left out {count}: {reason}", highlight=False, style="dim")
    for network, text in measured.attrs.get("citations", {}).items():
        out.print(f"  cite for {network}: {text}", highlight=False, soft_wrap=True)


@app.command()
@sentences
def train(
    samples: Annotated[Path, typer.Argument(help="Samples: Parquet, CSV, the published pickle.")],
    bundle: Annotated[Path, typer.Option("--out", help="Folder of the new model bundle.")],
    spec: Annotated[str, typer.Option(help="Feature spec: l2, l2-history or paper33.")] = "l2",
    preset: Annotated[
        str, typer.Option(help="Model sizes: default, tiny, paper, or a file of tuned ones.")
    ] = "default",
    networks: Annotated[
        str, typer.Option(help="Train on these networks only, comma separated.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Two runs with one seed give the same bundle.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace the bundle if it exists.")] = False,
) -> None:
    """Train the ensemble on station samples and save it with its held-out scores.

    Example: `gssm train stations_l2.parquet --networks USCRN,SCAN --out my-model`
    """
    import dask

    from gssm.archive.places import refuse_existing
    from gssm.models.files import MANIFEST, refuse_target
    from gssm.training.samples import read_samples
    from gssm.training.train import train as fit
    from gssm.training.tune import load_preset

    zipped = (bundle.name,) if bundle.suffix.lower() == ".zip" else ()
    refuse_existing(bundle, overwrite, (MANIFEST, *zipped))
    refuse_target(bundle, overwrite)
    table = read_samples(samples)
    wanted = [name.strip() for name in networks.split(",") if name.strip()] or None
    sizes = load_preset(preset) if preset.endswith(".json") else preset
    # Processes, not threads: the libraries hold Python's lock while they fit.
    with err.status("training") as status, dask.config.set(scheduler="processes"):
        model = fit(
            table, spec=spec, preset=sizes, networks=wanted, seed=seed, progress=status.update
        )
    model.save(bundle, overwrite=overwrite)
    out.print(f"saved {bundle}", highlight=False, soft_wrap=True)
    for skill in model.provenance["skill"]:
        _print_skill(skill)


@app.command()
@sentences
def evaluate(
    samples: Annotated[Path, typer.Argument(help="Samples: Parquet, CSV, the published pickle.")],
    model: ModelOption = "default",
    save: Annotated[Path | None, typer.Option("--out", help="Also save the table as CSV.")] = None,
) -> None:
    """Score a model on station samples, pooled and per station.

    Rows that the model was trained on are scored too: the model's own manifest has
    the scores on stations held out.
    """
    from gssm.models.bundle import load_model
    from gssm.training.evaluate import evaluate as score
    from gssm.training.samples import read_samples

    table = score(load_model(model), read_samples(samples))
    out.print(frame_table(table.round(4).T))  # many scores, few members
    if save is not None:
        save_new(save, table.to_csv)


def _print_skill(skill: dict[str, Any]) -> None:
    import pandas as pd

    columns = ["N", "r2", "rmse", "bias", "station_r", "station_ubrmse", "coverage"]
    out.print(f"held out by {skill['protocol']}, {skill['folds']} folds: {skill['says']}")
    out.print(frame_table(pd.DataFrame(skill["scores"]).T[columns].round(4)))
