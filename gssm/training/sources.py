"""Which files a table was read from, and whether it still holds what was in them."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd

from gssm.schema import VARIABLES

# Key of the attrs, which pandas keeps while rows are dropped and values changed.
CONTENT = "content_sha256"
# What a model is made of beside the canonical variables.
_NAMES = ("network", "station", "time")


def content_sha256(samples: pd.DataFrame) -> str:
    """Hash of the columns that a model is made of, with their rows in their order.

    The index and columns of other names do not count.
    """
    used = [name for name in samples.columns if name in VARIABLES or name in _NAMES]
    rows = pd.util.hash_pandas_object(samples[used], index=False).to_numpy()
    return hashlib.sha256(repr(used).encode() + rows.tobytes()).hexdigest()


def record_content(samples: pd.DataFrame) -> None:
    """Keep in the attrs of a table what it holds now, as it was read."""
    samples.attrs[CONTENT] = content_sha256(samples)


def is_as_read(samples: pd.DataFrame) -> bool:
    """Whether a table holds what it held when it was read."""
    known = samples.attrs.get(CONTENT)
    return known is not None and known == content_sha256(samples)


def stated_sources(samples: pd.DataFrame) -> list[dict[str, Any]]:
    """Files that a table was read from: name, sha256 and what else is known of each.

    A table that was filtered or changed since is not what its file holds: then each has
    ``"changed": True``.
    """
    source = samples.attrs.get("source")
    sources = samples.attrs.get("sources", [source] if source else [])
    changed = {} if is_as_read(samples) else {"changed": True}
    return [{**entry, **changed} for entry in sources]
