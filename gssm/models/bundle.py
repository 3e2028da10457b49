"""Save, load and refer to models.

A `ModelRef` (a location and a hash) is what travels through Dask graphs; each process
loads the model it names once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gssm.errors import BundleError, StoreExistsError
from gssm.models import files
from gssm.models.ensemble import Model

DEFAULT = "default"

# Enough for side-by-side comparisons, few enough to keep a worker small.
CACHED_MODELS = 4
_cache: OrderedDict[ModelRef, Model] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class ModelRef:
    """Where a model is and what it must be; small, picklable, the same in every process.

    Parameters
    ----------
    location
        ``"default"``, or the absolute path of a folder or zip, as every worker sees it.
    sha256
        Of its ``manifest.json``, which holds the hashes of the other files.
    """

    location: str
    sha256: str

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        """Let Dask name its keys the same in every session."""
        return ("gssm.ModelRef", self.location, self.sha256)

    def load(self) -> Model:
        """Return the model; each process reads it once.

        Raises
        ------
        BundleError
            It is not at the location as this process sees it, or not the same any more.
        """
        with _lock:  # many threads of a worker ask at once; one reads
            if self not in _cache:
                _remember(self, self._read())
            _cache.move_to_end(self)
            return _cache[self]

    def _read(self) -> Model:
        path = _locate(self.location)
        if not path.exists():
            raise BundleError(
                f"this worker has no model at {path}; put it on a path that every worker sees, "
                "or use model='default'."
            )
        contents = files.read(path)
        if contents.sha256 != self.sha256:
            raise BundleError(
                f"the model at {path} (manifest {contents.sha256[:12]}) is not the one that was "
                f"asked for ({self.sha256[:12]}); use the same gssm and model on every worker."
            )
        return Model.from_contents(contents)


def _remember(ref: ModelRef, model: Model) -> None:
    _cache[ref] = model
    while len(_cache) > CACHED_MODELS:
        _cache.popitem(last=False)


def save_model(model: Model, path: str | Path, overwrite: bool = False) -> None:
    """Save a model as a bundle; see `Model.save`."""
    model.save(path, overwrite)


def load_model(name_or_path: str | Path = DEFAULT) -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path
        ``"default"`` for the shipped one, or the path of a bundle: a folder or a zip.

    Raises
    ------
    BundleError
        The bundle is missing, incomplete, changed, of another format, or holds a pickle.
    """
    return Model.from_contents(files.read(_locate(str(name_or_path))))


def resolve(model: str | Path | Model) -> ModelRef:
    """Return the reference of a model by name or path, or of one in memory.

    A model in memory is saved once to the user's cache folder (``$GSSM_CACHE_DIR``,
    else ``$XDG_CACHE_HOME/gssm``, else ``~/.cache/gssm``), named by its hash. A
    distributed cluster needs it on a path that all workers see: save it there and give
    the path.
    """
    if isinstance(model, Model):
        return _resolve_in_memory(model)
    location = str(model)
    if location != DEFAULT:
        location = str(Path(location).expanduser().absolute())
    return ModelRef(location, files.read(_locate(location)).sha256)


def _resolve_in_memory(model: Model) -> ModelRef:
    entries = model.to_files()
    sha256 = str(files.describe(entries[files.MANIFEST])["sha256"])
    path = _cache_dir() / "models" / sha256
    try:
        files.write(path, entries)
    except StoreExistsError:  # saved before, by this process or another
        files.read(path)
    ref = ModelRef(str(path), sha256)
    with _lock:
        _remember(ref, model)
    return ref


def _cache_dir() -> Path:
    own = os.environ.get("GSSM_CACHE_DIR")
    if own:
        return Path(own).absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache").absolute() / "gssm"


def _locate(location: str) -> Path:
    if location == DEFAULT:
        return Path(str(resources.files("gssm.models") / DEFAULT))
    return Path(location).expanduser()
