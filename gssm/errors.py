"""Every error that gssm raises on purpose.

Each one names the thing, the cause and the argument that fixes it, and inherits
the builtin that a user would catch::

    GssmError
    ├── RequestError            (ValueError)       a box, date range or option that cannot be served
    ├── UnknownCatalogError     (ValueError)       no such catalogue, collection or level
    ├── CatalogUnreachableError (ConnectionError)  the STAC server did not answer
    ├── EmptySearchError        (LookupError)      the search found nothing to map
    ├── ItemError               (ValueError)       a STAC item that cannot be placed or scaled
    ├── ReadError               (OSError)          no pixel could be read
    ├── CubeError               (ValueError)       a datacube that a stage cannot use
    │   └── MissingVariableError (KeyError)        a variable that the stage reads is absent
    ├── SamplesError            (ValueError)       a training table that cannot be used
    ├── BundleError             (ValueError)       a model bundle that must not be loaded
    ├── StoreExistsError        (FileExistsError)  the output is already there
    ├── StoreWriteError         (OSError)          the output could not be written
    └── ArchiveError            (OSError)          an archive that cannot be read or written
        └── SquareConflict                         another run changed the same square meanwhile
"""

from __future__ import annotations


class GssmError(Exception):
    """Base of all errors of gssm."""

    def __str__(self) -> str:
        # KeyError prints the repr of its argument; a sentence should stay a sentence.
        return str(self.args[0]) if self.args else ""


class RequestError(GssmError, ValueError):
    """A bounding box, date range or option that cannot be served."""


class UnknownCatalogError(GssmError, ValueError):
    """No such catalogue, collection or product level."""


class CatalogUnreachableError(GssmError, ConnectionError):
    """The STAC server did not answer."""


class EmptySearchError(GssmError, LookupError):
    """The search found nothing to map."""


class ItemError(GssmError, ValueError):
    """A STAC item that cannot be placed on a grid or scaled to physical units."""


class ReadError(GssmError, OSError):
    """No pixel could be read."""


class CubeError(GssmError, ValueError):
    """A datacube that a stage cannot use."""


class MissingVariableError(CubeError, KeyError):
    """A variable that the stage reads is absent."""


class SamplesError(GssmError, ValueError):
    """A training table that cannot be used."""


class BundleError(GssmError, ValueError):
    """A model bundle that must not be loaded."""


class StoreExistsError(GssmError, FileExistsError):
    """The output is already there."""


class StoreWriteError(GssmError, OSError):
    """The output could not be written."""


class ArchiveError(GssmError, OSError):
    """An archive that cannot be found, read or written."""


class SquareConflict(ArchiveError):  # noqa: N818 - nothing failed: another was faster
    """Another run changed the same square meanwhile; the transaction is to be done again."""


class GssmWarning(UserWarning):
    """Something was left out; the sentence names it and says why."""
