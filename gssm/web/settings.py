"""What a server is told when it starts: archives, cluster, folders and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gssm.errors import RequestError

# Of a dataset in an address: nothing that a path or another address could be made of.
DATASET_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
KB, MB = 1_000, 1_000_000


@dataclass(frozen=True)
class Limits:
    """What one client may ask, and what the server spends on it.

    Attributes
    ----------
    box_km2, job_km2
        Area of a series, statistics or download, and of a prediction (square kilometres).
    download_pixels
        Pixels of all dates of a download, for each variable.
    series_days, download_days, catalog_days
        Longest period.
    vertices
        Of a polygon, all its rings together.
    body_bytes, url_bytes
        Of a request.
    jobs_running, jobs_queued, jobs_per_client
        Predictions at once: computed, waiting, and those of one client.
    requests_per_second, burst, clients
        Of a client: in the long run, at once; and clients of whom that is remembered.
    body_seconds, request_seconds, tile_seconds, download_seconds
        Until the body of a request must be there, and an answer of each kind.
    tile_threads, read_threads, area_threads, catalog_threads, download_threads
        Threads for each kind of work.
    waiting, tiles_waiting, downloads_waiting, downloads_per_client
        Requests that may wait for threads of one kind, and tiles; downloads that may wait or
        be sent, and those of one client.
    tile_cache_bytes
        Of tiles kept as they are sent.
    """

    box_km2: float = 2_500.0
    job_km2: float = 400.0
    download_pixels: int = 25_000_000
    series_days: int = 12 * 366
    download_days: int = 366
    catalog_days: int = 366
    vertices: int = 2_000
    body_bytes: int = 256 * KB
    url_bytes: int = 8_192
    jobs_running: int = 1
    jobs_queued: int = 8
    jobs_per_client: int = 2
    requests_per_second: float = 60.0
    burst: int = 600
    clients: int = 10_000
    body_seconds: float = 10.0
    request_seconds: float = 60.0
    tile_seconds: float = 15.0
    download_seconds: float = 300.0
    tile_threads: int = 4
    read_threads: int = 4
    area_threads: int = 2
    catalog_threads: int = 2
    download_threads: int = 1
    waiting: int = 200
    tiles_waiting: int = 2_000
    downloads_waiting: int = 8
    downloads_per_client: int = 2
    tile_cache_bytes: int = 64 * MB


@dataclass(frozen=True)
class Public:
    """What everybody may read of a server: its name, and whom to ask."""

    title: str = "gssm: surface soil moisture at 10 m"
    contact: str | None = None


@dataclass(frozen=True)
class Settings:
    """What a server is told when it starts.

    Attributes
    ----------
    archives
        Address of an archive (a folder, ``s3://…``) by the id that it is served under.
    catalog
        Of predictions on request; by default that of the recipe of the first archive.
    scheduler
        Of the Dask cluster that predicts; by default the cores of this machine.
    model
        Name or path of the model that predicts.
    data
        Folder for archives of predictions and for downloads under way; by default
        ``gssm-web`` in the working directory.
    limits, public
        See there.
    trusted_proxies
        Addresses or networks (``"10.0.0.0/8"``) whose ``X-Forwarded-For`` is believed.
    hosts
        Names that the server has (``"soil.example.org"``, without port): another name in a
        request is refused, as a page of somebody else could lead its name to this machine
        (DNS rebinding). By default any.
    refresh_seconds
        Until a newer version of an archive is looked for.

    Raises
    ------
    RequestError
        An id that cannot stand in an address, or no archive at all.
    """

    archives: Mapping[str, str]
    catalog: str | None = None
    scheduler: str | None = None
    model: str = "default"
    data: Path = Path("gssm-web")
    limits: Limits = field(default_factory=Limits)
    public: Public = field(default_factory=Public)
    trusted_proxies: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    refresh_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not self.archives:
            raise RequestError("there is no archive to serve; give at least one.")
        for name in self.archives:
            if not DATASET_ID.fullmatch(name):
                raise RequestError(
                    f"{name!r} is no id of a dataset; give up to 64 small letters, digits, '-' "
                    "and '_', such as 'flanders'."
                )
