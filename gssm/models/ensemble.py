"""The fitted model: members, their weights, and all that serving must not choose anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm.errors import BundleError, CubeError
from gssm.models import files
from gssm.models.applicability import Applicability
from gssm.models.boosting import Boosting
from gssm.models.calibration import Intervals
from gssm.models.forest import Forest
from gssm.models.table import feature_matrix, samples_to_dataset
from gssm.models.tabnet import TabNet
from gssm.models.tensors import Buffer
from gssm.physics import WaterCloud
from gssm.quality import BY_MEANING, NO_VALUE, quality_flag
from gssm.schema import BACKSCATTER, POSITIONS, REFERENCES, FeatureSpec

Float32Array = NDArray[np.float32]

TARGET = "soil_moisture"
UNCERTAINTY = "soil_moisture_uncertainty"

OF_THE_PAST = frozenset((*REFERENCES, *POSITIONS))

APPLICABILITY_FILE = "applicability.safetensors"


class Member(Protocol):
    """One fitted regressor of the ensemble."""

    @property
    def params(self) -> dict[str, Any]:
        """Plain JSON that goes into the manifest."""

    def predict(self, features: Float32Array, /) -> Float32Array:
        """Soil moisture (m3 m-3), float32 (n,), for float32 features (n, k)."""

    def to_bytes(self) -> bytes:
        """Content of the member's file; no pickle."""


@dataclass(frozen=True)
class Kind:
    """How a member is stored."""

    filename: str
    from_bytes: Callable[[Buffer, Mapping[str, Any]], Member]


# In the order of their columns wherever members are shown.
KINDS: dict[str, Kind] = {
    "random_forest": Kind("random_forest.safetensors", Forest.from_bytes),
    "xgboost": Kind("xgboost.safetensors", Boosting.from_bytes),
    "tabnet": Kind("tabnet.safetensors", TabNet.from_bytes),
}


@dataclass(frozen=True, eq=False)
class Model:
    """Fitted members with their weights, feature spec, Water Cloud Model and provenance.

    Parameters
    ----------
    members
        By name, in the order of `KINDS`.
    weights
        By the same names; normalised to a sum of 1.
    spec
        The features, in the order of the matrix that `score` takes.
    water_cloud
        Parameters behind ``vv_soil`` and ``vh_soil``.
    provenance
        Plain JSON: what it was trained on and how well it did; goes into the manifest.
    intervals
        Half-width of the 90 % prediction interval; None if nothing was held out.
    applicability
        Tells features unlike all training rows; None if it was not learnt.
    attachments
        Files that travel with the model: its card and figures, name to bytes.
    """

    members: Mapping[str, Member]
    weights: Mapping[str, float]
    spec: FeatureSpec
    water_cloud: WaterCloud
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)
    intervals: Intervals | None = field(default=None, repr=False)
    applicability: Applicability | None = field(default=None, repr=False)
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Normalise the weights."""
        weights = {name: float(self.weights.get(name, 0.0)) for name in self.members}
        total = sum(weights.values())
        extra = set(self.weights) - set(self.members)
        if not self.members or extra or min(weights.values()) < 0 or not 0 < total < np.inf:
            raise BundleError(
                f"the weights {dict(self.weights)} do not fit the members "
                f"{', '.join(self.members) or '(none)'}; give each a weight, none negative."
            )
        if abs(total - 1) > 1e-9:  # loading must not change the last digit
            weights = {name: weight / total for name, weight in weights.items()}
        object.__setattr__(self, "weights", weights)

    def score(self, features: Float32Array) -> dict[str, Float32Array]:
        """Predict from a matrix of features.

        Parameters
        ----------
        features
            float32 (n, k), columns as in `spec`, NaN where missing.

        Returns
        -------
        dict
            ``soil_moisture``, the weighted mean clipped to [0, 1], and each member's
            own prediction by name; m3 m-3, float32 (n,).
        """
        features = np.ascontiguousarray(features, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != len(self.spec.features):
            raise CubeError(
                f"features have shape {features.shape} and the model reads "
                f"{len(self.spec.features)} columns; build them with the model's own spec."
            )
        if not len(features):  # dask infers with empty blocks, which BLAS need not see
            return {name: np.empty(0, np.float32) for name in (TARGET, *self.members)}
        # An infinite value is as good as missing, for every member alike.
        features = np.where(np.isfinite(features), features, np.float32(np.nan))
        scores = {name: member.predict(features) for name, member in self.members.items()}
        mean = np.zeros(len(features), dtype=np.float64)
        for name, score in scores.items():
            mean += self.weights[name] * score
        return {TARGET: np.clip(mean, 0, 1).astype(np.float32), **scores}

    def uncertainty(self, predicted: Float32Array) -> Float32Array:
        """Half-width of the 90 % interval around predictions; NaN if it was not calibrated."""
        if self.intervals is None:
            return np.full(len(predicted), np.nan, np.float32)
        return self.intervals.widths(predicted)

    def flags(self, features: Float32Array) -> NDArray[np.uint16]:
        """Bits of `gssm.quality.FLAGS` that only the model can tell, for features (n, k)."""
        flags = np.zeros(len(features), np.uint16)
        if self.applicability is not None and len(features):
            outside = self.applicability.outside(features)
            flags[outside] |= np.uint16(BY_MEANING["outside_applicability"].mask)
        history = [i for i, name in enumerate(self.spec.features) if name in OF_THE_PAST]
        if history:
            missing = np.isnan(features[:, history]).all(axis=1)
            flags[missing] |= np.uint16(BY_MEANING["history_missing"].mask)
        return flags

    def predict(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Predict a table of samples.

        Parameters
        ----------
        samples
            Canonical columns, as from `gssm.read_samples`; a column that the spec
            wants and the table lacks is missing everywhere.

        Returns
        -------
        pandas.DataFrame
            ``soil_moisture`` and ``soil_moisture_uncertainty`` (half-width of the 90 %
            interval; m3 m-3, float32) and ``quality_flag`` (uint16, bits as in
            `gssm.quality.FLAGS`) with the index of `samples`; soil moisture is NaN
            where the radar is missing and where a flag says so.
        """
        flags = quality_flag(samples_to_dataset(samples), self.water_cloud).values
        features = feature_matrix(samples, self.spec, self.water_cloud)
        predicted = self.score(features)[TARGET]
        radar = samples[list(BACKSCATTER)].to_numpy(np.float32)
        valued = np.isfinite(radar).all(axis=1) & (flags & NO_VALUE == 0)
        predicted[~valued] = np.nan
        flags[valued] |= self.flags(features[valued])
        columns = {TARGET: predicted, UNCERTAINTY: self.uncertainty(predicted)}
        return pd.DataFrame({**columns, "quality_flag": flags}, index=samples.index)

    def to_files(self) -> dict[str, bytes]:
        """Return the bundle: file name to bytes, the manifest included; the same every time."""
        entries = {KINDS[name].filename: m.to_bytes() for name, m in self.members.items()}
        learnt: dict[str, Any] = {}
        if self.intervals is not None:
            learnt["calibration"] = self.intervals.to_dict()
        if self.applicability is not None:
            learnt["applicability"] = self.applicability.params
            entries[APPLICABILITY_FILE] = self.applicability.to_bytes()
        entries |= self.attachments
        manifest = {
            **self.provenance,
            **learnt,
            "format_version": files.FORMAT_VERSION,
            "spec": self.spec.to_dict(),
            "water_cloud": self.water_cloud.to_dict(),
            "members": {name: member.params for name, member in self.members.items()},
            "weights": dict(self.weights),
            "files": {name: files.describe(data) for name, data in entries.items()},
        }
        return {files.MANIFEST: files.encode_manifest(manifest), **entries}

    @property
    def sha256(self) -> str:
        """Of the manifest, and with the hashes in it of everything else."""
        return hashlib.sha256(self.to_files()[files.MANIFEST]).hexdigest()

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Save as a bundle: a folder, or a zip if the path ends in ``.zip``.

        Raises
        ------
        StoreExistsError
            Something is there already, and `overwrite` is False or it is no model.
        StoreWriteError
            The path cannot be written; nothing is left half-written.
        """
        files.write(Path(path), self.to_files(), overwrite)

    @classmethod
    def from_contents(cls, contents: files.Contents) -> Model:
        """Inverse of `to_files`, of a bundle whose hashes were checked.

        Raises
        ------
        BundleError
            The manifest is incomplete, a member cannot be read, or the spec names a
            feature that this gssm does not know.
        """
        manifest = dict(contents.manifest)
        try:
            del manifest["files"], manifest["format_version"]
            spec = FeatureSpec.from_dict(manifest.pop("spec"))
            water_cloud = WaterCloud.from_dict(manifest.pop("water_cloud"))
            params, weights = manifest.pop("members"), manifest.pop("weights")
            members = {
                name: kind.from_bytes(contents.files[kind.filename], params[name])
                for name, kind in KINDS.items()
                if name in params
            }
            calibration = manifest.pop("calibration", None)
            applicability = manifest.pop("applicability", None)
            known = {*(kind.filename for kind in KINDS.values()), APPLICABILITY_FILE}
            if unknown := set(params) - set(KINDS):
                raise BundleError(
                    f"the model has a member {', '.join(sorted(unknown))} that this gssm does not "
                    "know; use the gssm version that it was saved with."
                )
            return cls(
                members,
                weights,
                spec,
                water_cloud,
                manifest,
                None if calibration is None else Intervals.from_dict(calibration),
                None
                if applicability is None
                else Applicability.from_bytes(contents.files[APPLICABILITY_FILE], applicability),
                {name: bytes(data) for name, data in contents.files.items() if name not in known},
            )
        except BundleError:
            raise
        except CubeError as error:
            raise BundleError(f"the model's features do not fit this gssm: {error}") from error
        # Each library has its own error for a broken file, xgboost's and safetensors'
        # not even a ValueError.
        except Exception as error:
            raise BundleError(
                f"the bundle is incomplete or damaged ({type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}); "
                "take an intact copy of it."
            ) from error
