from __future__ import annotations

import hashlib
import json
import mmap
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dask.base import tokenize

from gssm.errors import BundleError, CubeError, StoreExistsError, StoreWriteError
from gssm.models import bundle, files
from gssm.models import forest as forests
from gssm.models.boosting import BoostingParams
from gssm.models.boosting import fit as fit_boosting
from gssm.models.bundle import ModelRef, load_model, resolve, save_model
from gssm.models.ensemble import Model
from gssm.physics import WaterCloud
from gssm.schema import FeatureSpec

SPEC = FeatureSpec("three", ("vv_db", "vv_soil", "s2_ndvi"))


@pytest.fixture(scope="module")
def model() -> Model:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3)).astype(np.float32)
    target = (0.2 + 0.05 * features[:, 0]).astype(np.float32)
    members = {
        "random_forest": forests.fit(features, target, forests.ForestParams(trees=3), 0),
        "xgboost": fit_boosting(features, target, BoostingParams(rounds=3), 0),
    }
    weights = {"random_forest": 3.0, "xgboost": 1.0}
    return Model(members, weights, SPEC, WaterCloud(threshold=0.7), {"licence": "none, a test"})


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def samples(rows: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    values = {name: rng.uniform(0.02, 0.3, rows) for name in ("vv", "vh", "s2_b4", "s2_b8")}
    return pd.DataFrame({**values, "incidence_angle": 38.0}, index=range(10, 10 + rows))


def test_weights_are_normalised_and_the_mean_is_weighted(model: Model) -> None:
    assert model.weights == {"random_forest": 0.75, "xgboost": 0.25}
    features = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
    scores = model.score(features)
    assert list(scores) == ["soil_moisture", "random_forest", "xgboost"]
    mean = 0.75 * scores["random_forest"] + 0.25 * scores["xgboost"]
    np.testing.assert_allclose(scores["soil_moisture"], mean, atol=1e-7)
    assert all(score.dtype == np.float32 for score in scores.values())


def test_score_is_clipped_and_takes_empty_blocks(model: Model) -> None:
    class Wet:
        params: dict[str, object] = {}  # noqa: RUF012

        def predict(self, features: np.ndarray) -> np.ndarray:
            return np.linspace(-1, 2, len(features), dtype=np.float32)

        def to_bytes(self) -> bytes:
            return b""

    wet = Model({"xgboost": Wet()}, {"xgboost": 1}, SPEC, WaterCloud())
    scores = wet.score(np.zeros((5, 3), np.float32))
    assert scores["soil_moisture"].min() == 0
    assert scores["soil_moisture"].max() == 1
    assert scores["xgboost"].max() == 2
    assert {k: v.shape for k, v in model.score(np.empty((0, 3), np.float32)).items()} == {
        "soil_moisture": (0,),
        "random_forest": (0,),
        "xgboost": (0,),
    }
    with pytest.raises(CubeError, match="reads 3 columns"):
        model.score(np.zeros((5, 4), np.float32))


def test_infinite_features_count_as_missing(model: Model) -> None:
    features = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
    features[0, 1], features[1, 2] = np.inf, -np.inf
    gaps = np.where(np.isinf(features), np.float32(np.nan), features)
    for name, score in model.score(features).items():
        np.testing.assert_array_equal(score, model.score(gaps)[name])


def test_predict_keeps_the_index_and_is_nan_without_radar(model: Model) -> None:
    table = samples()
    table.loc[12, "vh"] = np.nan
    predicted = model.predict(table)
    assert list(predicted.columns) == [
        *("soil_moisture", "soil_moisture_uncertainty", "quality_flag")
    ]
    assert predicted["quality_flag"].dtype == np.uint16
    assert list(predicted.index) == list(table.index)
    assert list(predicted.index[predicted["soil_moisture"].isna()]) == [12]


def test_unsuitable_weights_are_refused(model: Model) -> None:
    for weights in ({}, {"random_forest": -1, "xgboost": 2}, {"tabnet": 1, "xgboost": 1}):
        with pytest.raises(BundleError, match="give each a weight"):
            Model(model.members, weights, SPEC, WaterCloud())


@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_model_survives_saving(model: Model, tmp_path: Path, name: str) -> None:
    save_model(model, tmp_path / name)
    again = load_model(tmp_path / name)
    assert again.spec == SPEC
    assert again.water_cloud == WaterCloud(threshold=0.7)
    assert again.weights == model.weights
    assert again.provenance == {"licence": "none, a test"}
    pd.testing.assert_frame_equal(again.predict(samples()), model.predict(samples()))
    assert again.to_files() == model.to_files()


def test_processes_share_the_large_arrays_of_a_folder(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    model.save(tmp_path / "model.zip")

    def origin(array: np.ndarray) -> object:
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        return base.obj if isinstance(base, memoryview) else base

    mapped, unpacked = load_model(tmp_path / "model"), load_model(tmp_path / "model.zip")
    for name in ("random_forest", "xgboost"):
        assert isinstance(origin(mapped.members[name].trees.nodes), mmap.mmap)
        assert not isinstance(origin(unpacked.members[name].trees.nodes), mmap.mmap)
    # What another process has mapped may be replaced: its pages stay until it ends.
    before = mapped.predict(samples())
    model.save(tmp_path / "model", overwrite=True)
    pd.testing.assert_frame_equal(mapped.predict(samples()), before)
    layer = load_model().members["tabnet"].network.first[0]
    assert isinstance(origin(layer.weight), mmap.mmap)


def test_saving_twice_gives_the_same_bytes(model: Model, tmp_path: Path) -> None:
    for name in ("a", "b", "a.zip", "b.zip"):
        model.save(tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_existing_path_is_only_replaced_on_request(model: Model, folder: Path) -> None:
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        model.save(folder)
    (folder / "xgboost.safetensors").write_text("of the old model")
    model.save(folder, overwrite=True)
    assert load_model(folder).sha256 == model.sha256
    other = folder.parent / "photos"
    other.mkdir()
    (other / "holiday.jpg").write_text("precious")
    with pytest.raises(StoreExistsError, match="is no model, or holds more"):
        model.save(other, overwrite=True)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model", "photos"]


def test_nothing_is_left_of_a_failed_write(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreWriteError, match="No space left"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def edit_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def plant_member(folder: Path, data: bytes) -> None:
    (folder / "xgboost.safetensors").write_bytes(data)
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit_manifest(folder, lambda m: m["files"].update({"xgboost.safetensors": entry}))


def set_feature(manifest: dict) -> None:
    manifest["spec"]["features"][0]["name"] = "moon_phase"


def set_unit(manifest: dict) -> None:
    manifest["spec"]["features"][0]["units"] = "furlong"


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "manifest missing": (lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
    "manifest not JSON": (lambda f: (f / "manifest.json").write_text("{"), "is not JSON"),
    "manifest a list": (lambda f: (f / "manifest.json").write_text("[]"), "bundle format None"),
    "format version": (
        lambda f: edit_manifest(f, lambda m: m.update(format_version=1)),
        "bundle format 1 and this gssm reads 2",
    ),
    "no file list": (lambda f: edit_manifest(f, lambda m: m.pop("files")), "plain file names"),
    "file outside": (
        lambda f: edit_manifest(f, lambda m: m["files"].update({"../x": {}})),
        "plain file names",
    ),
    "weights gone": (lambda f: edit_manifest(f, lambda m: m.pop("weights")), "incomplete"),
    "unknown member": (
        lambda f: edit_manifest(f, lambda m: m["members"].update(oracle={})),
        "member oracle that this gssm does not know",
    ),
    "unknown feature": (lambda f: edit_manifest(f, set_feature), "moon_phase"),
    "other units": (lambda f: edit_manifest(f, set_unit), "furlong"),
    "member missing": (lambda f: (f / "xgboost.safetensors").unlink(), "lacks xgboost.safetensors"),
    "wrong hash": (
        lambda f: (f / "random_forest.safetensors").write_bytes(b"x"),
        "wrong sha256 or size",
    ),
    "member a pickle": (lambda f: plant_member(f, pickle.dumps([1])), "no safetensors"),
    "member damaged": (lambda f: plant_member(f, b"{L"), "damaged or no safetensors"),
    **{
        f"extra {suffix}": (
            lambda f, suffix=suffix: (f / f"extra{suffix}").write_bytes(b"anything"),
            "is a pickle",
        )
        for suffix in (".pkl", ".pickle", ".joblib", ".pt", ".PTH")
    },
    "extra pickle in disguise": (
        lambda f: (f / "notes.txt").write_bytes(pickle.dumps([1])),
        "notes.txt, which is a pickle",
    ),
    "extra pickle below": (
        lambda f: ((f / "sub").mkdir(), (f / "sub" / "a.pkl").write_bytes(b"")),
        "sub/a.pkl",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_bundle_is_refused_in_a_sentence(folder: Path, case: str) -> None:
    damage, says = DAMAGE[case]
    damage(folder)
    with pytest.raises(BundleError, match=says) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value), "the cause, then the fix"


def test_harmless_extra_file_is_allowed(folder: Path) -> None:
    (folder / "README.md").write_text("what this model is")
    load_model(folder)


def test_missing_or_foreign_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no model at"):
        load_model(tmp_path / "absent")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(BundleError, match="neither a folder nor a zip"):
        load_model(tmp_path / "file.txt")


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\\..\\x"])
def test_zip_that_points_outside_is_refused(model: Model, tmp_path: Path, name: str) -> None:
    model.save(tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip", "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(BundleError, match="points outside"):
        load_model(tmp_path / "m.zip")


def test_zip_that_is_too_large_is_refused(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path / "m.zip")
    monkeypatch.setattr(files, "MAX_ZIP_BYTES", 100)
    with pytest.raises(BundleError, match="more than the 100"):
        load_model(tmp_path / "m.zip")


def test_broken_zip_entry_is_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    model.save(path)
    raw = bytearray(path.read_bytes())
    raw[60:80] = b"\xff" * 20
    path.write_bytes(raw)
    with pytest.raises(BundleError):
        load_model(path)


def test_ref_is_small_picklable_and_loads_once(folder: Path) -> None:
    ref = resolve(folder)
    data = pickle.dumps(ref)
    assert len(data) < 1000
    assert pickle.loads(data) == ref
    assert ref.load() is pickle.loads(data).load()
    assert ref.sha256 == load_model(folder).sha256


def test_ref_has_the_same_dask_token_in_every_process(folder: Path) -> None:
    ref = resolve(folder)
    code = (
        "from dask.base import tokenize; from gssm.models.bundle import ModelRef; "
        f"print(tokenize(ModelRef({ref.location!r}, {ref.sha256!r})))"
    )
    root = Path(bundle.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == tokenize(ref)


def test_ref_names_the_path_that_a_worker_lacks(tmp_path: Path) -> None:
    ref = ModelRef(str(tmp_path / "elsewhere"), "0" * 64)
    with pytest.raises(BundleError, match=f"this worker has no model at {ref.location}"):
        ref.load()


def test_ref_refuses_a_model_that_changed(folder: Path) -> None:
    ref = ModelRef(str(folder), "0" * 64)
    with pytest.raises(BundleError, match="is not the one that was asked for"):
        ref.load()


def test_model_in_memory_is_saved_once_by_its_hash(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GSSM_CACHE_DIR", str(tmp_path))
    ref = resolve(model)
    assert ref == resolve(model)
    assert Path(ref.location) == tmp_path / "models" / model.sha256
    assert [p.name for p in (tmp_path / "models").iterdir()] == [model.sha256]
    assert load_model(ref.location).sha256 == ref.sha256
    assert ref.load() is model


def test_cache_keeps_few_models(model: Model, tmp_path: Path) -> None:
    refs = []
    for number in range(bundle.CACHED_MODELS + 1):
        changed = Model(
            model.members, model.weights, SPEC, WaterCloud(threshold=number / 10), {"n": number}
        )
        changed.save(tmp_path / str(number))
        refs.append(resolve(tmp_path / str(number)))
        refs[-1].load()
    assert len(bundle._cache) <= bundle.CACHED_MODELS
    assert refs[0] not in bundle._cache


def test_default_model_is_what_its_manifest_says() -> None:
    ref = resolve("default")
    assert ref.location == "default"
    shipped = ref.load()
    assert list(shipped.members) == ["random_forest", "xgboost", "tabnet"]
    assert shipped.spec.name == "l2-history"
    assert sum(shipped.weights.values()) == pytest.approx(1)
    training = shipped.provenance["training"]
    assert training["networks"] == ["SCAN", "USCRN"]
    assert (training["rows"], training["stations"]) == (13125, 55)
    assert training["command"] == (
        "gssm train stations_l2.parquet --networks USCRN,SCAN --spec l2-history --out <folder>"
    )
    assert all("public domain" in says for says in shipped.provenance["licence"]["labels"].values())
    scores = shipped.provenance["skill"][0]["scores"]
    assert scores["soil_moisture"]["N"] == 13125
    size = sum(len(data) for data in shipped.to_files().values())
    assert size <= 10e6


def test_overwriting_spares_what_is_more_than_a_bundle(model: Model, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_text("{}")
    (site / "thesis.txt").write_text("five years")
    notes = tmp_path / "notes.txt"
    notes.write_text("more")
    for place in (site, notes):
        with pytest.raises(StoreExistsError, match="is no model, or holds more than one"):
            save_model(model, place, overwrite=True)
    assert (site / "thesis.txt").read_text() == "five years"
    assert notes.read_text() == "more"


def test_overwriting_spares_pictures_that_are_no_card(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(model, folder)
    (folder / "holiday.png").write_bytes(b"sun")
    with pytest.raises(StoreExistsError, match="is no model, or holds more than one"):
        save_model(model, folder, overwrite=True)
    assert (folder / "holiday.png").read_bytes() == b"sun"


def test_a_place_under_a_file_is_refused_before_and_when_writing(
    model: Model, tmp_path: Path
) -> None:
    file = tmp_path / "samples.parquet"
    file.write_text("rows")
    for refuse in (
        lambda place: files.refuse_target(place),
        lambda place: save_model(model, place),
    ):
        with pytest.raises(StoreWriteError, match=r"samples\.parquet is no folder"):
            refuse(file / "model")
    assert [entry.name for entry in tmp_path.iterdir()] == ["samples.parquet"]
