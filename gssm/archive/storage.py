"""Where an archive lies: from an address to icechunk's storage."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gssm.addresses import network_of
from gssm.errors import RequestError

if TYPE_CHECKING:
    import icechunk

STREAM_SECONDS = 30  # without a byte, then a transfer is begun again

# What a user, a cluster or a cloud sets where there are credentials.
S3_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
GCS_CREDENTIALS = (
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"),
    *("GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY"),
)
AZURE_CREDENTIALS = (
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    *("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_TOKEN", "AZURE_STORAGE_CLIENT_ID"),
    *("AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT"),
)
AZURE_ACCOUNT = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
ENVIRONMENT = re.compile(r"^(AWS|GOOGLE|AZURE|IDENTITY|MSI)_")
# Files of credentials under the home folder, and what a machine of the cloud says it is.
S3_FILES, S3_MACHINE = (".aws/credentials", ".aws/config"), "Amazon EC2"
GCS_FILES, GCS_MACHINE = (".config/gcloud/application_default_credentials.json",), "Google"
MACHINE = Path("/sys/class/dmi/id/sys_vendor")


@dataclass(frozen=True)
class Place:
    """Where an archive lies.

    Parameters
    ----------
    url
        Absolute path of a local folder, or ``scheme://container/prefix``.
    scheme
        Empty for a local folder, ``s3``, ``gs`` or ``az``.
    container
        Bucket or container.
    prefix
        Path in the bucket, without slashes around it; of a local folder, all of it.
    """

    url: str
    scheme: str
    container: str
    prefix: str

    @property
    def folder(self) -> Path | None:
        """Local folder; None behind a URL."""
        return None if self.scheme else Path(self.prefix)


SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az"}
SCHEMES |= {"abfss": "az"}


def parse_place(url: str | os.PathLike[str]) -> Place:
    """Return the place that an address names.

    Parameters
    ----------
    url
        Path, ``file://``, ``s3://bucket/prefix``, ``gs://bucket/prefix`` or
        ``az://container/prefix`` (also ``abfs://``).

    Raises
    ------
    RequestError
        No such address, or it holds credentials.
    """
    if not isinstance(url, (str, os.PathLike)) or not os.fspath(url):
        raise RequestError(f"archive {url!r} is no address; give a folder or s3://bucket/prefix.")
    text = str(os.fspath(url))
    scheme, separator, rest = text.partition("://")
    if not separator or scheme == "file":
        return _local_place(rest if separator else text)
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query or parts.fragment:
        shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise RequestError(
            f"the address of the archive {shown} holds more than a bucket and a path; give "
            "credentials in the environment (AWS_ACCESS_KEY_ID and so on), never in an address."
        )
    kind, prefix = SCHEMES.get(scheme.lower()), parts.path.strip("/")
    if kind is None:
        raise RequestError(
            f"archive {text}: {scheme}:// is no place for an archive; give a folder, s3://, "
            "gs:// or az://."
        )
    if not parts.netloc or not prefix or {"..", "."} & set(prefix.split("/")):
        raise RequestError(
            f"archive {text} does not name a bucket and a path in it; give {scheme}://bucket/path."
        )
    return Place(f"{kind}://{parts.netloc}/{prefix}", kind, parts.netloc, prefix)


def _local_place(path: str) -> Place:
    if "\0" in path:
        raise RequestError(f"archive {path!r} is no path; give a folder.")
    folder = str(Path(path).expanduser().resolve())
    return Place(folder, "", "", folder)


def environment_key() -> int:
    """Return a number that changes with what the environment says of clouds."""
    return hash(tuple(sorted(item for item in os.environ.items() if ENVIRONMENT.match(item[0]))))


def storage(url: str | os.PathLike[str]) -> icechunk.Storage:
    """Return icechunk's storage for an address.

    Credentials come from the environment, where each cloud's own tools look for them; where
    there are none, reading is anonymous, as public archives want it.

    Parameters
    ----------
    url
        As of `parse_place`. For S3, ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` and
        ``AWS_REGION`` say where; ``AWS_NO_SIGN_REQUEST=YES`` reads anonymously in any case.
        For Azure, ``AZURE_STORAGE_ACCOUNT_NAME`` (or ``AZURE_STORAGE_ACCOUNT``) names the
        account.

    Raises
    ------
    RequestError
        No such address; an endpoint that is no URL, or one without TLS beyond this machine
        and private networks; no Azure account.
    """
    place = parse_place(url)
    return STORAGES[place.scheme](place)


def _local_storage(place: Place) -> icechunk.Storage:
    import icechunk

    return icechunk.local_filesystem_storage(place.prefix)


def _s3_storage(place: Place) -> icechunk.Storage:
    import icechunk

    endpoint, allows_http = s3_endpoint()
    is_anonymous = is_s3_anonymous()
    return icechunk.s3_storage(
        bucket=place.container,
        prefix=place.prefix,
        region=_first(("AWS_REGION", "AWS_DEFAULT_REGION")) or ("us-east-1" if endpoint else None),
        endpoint_url=endpoint,
        allow_http=allows_http,
        anonymous=is_anonymous or None,
        from_env=None if is_anonymous else True,
        force_path_style=endpoint is not None,
        network_stream_timeout_seconds=STREAM_SECONDS,
    )


def is_s3_anonymous() -> bool:
    """Tell whether S3 is read without a signature: no credentials are in sight."""
    if _is_on("AWS_NO_SIGN_REQUEST"):
        return True
    machine = "" if _is_on("AWS_EC2_METADATA_DISABLED") else S3_MACHINE
    return not _has_credentials(S3_CREDENTIALS, S3_FILES, machine)


def s3_endpoint() -> tuple[str | None, bool]:
    """Return the endpoint of S3 if it is not Amazon's, and whether it is one without TLS."""
    endpoint = _first(("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    return endpoint, _allows_http(endpoint)


def _allows_http(endpoint: str | None) -> bool:
    if endpoint is None:
        return False
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise RequestError(
            "AWS_ENDPOINT_URL is no address of a server; give https://host, without credentials."
        )
    if parts.scheme == "https":
        return False
    if network_of(parts.hostname, lookup=True) not in ("loopback", "private"):
        raise RequestError(
            f"AWS_ENDPOINT_URL http://{parts.netloc} would send data in the clear; give https://."
        )
    return True


def _gcs_storage(place: Place) -> icechunk.Storage:
    import icechunk

    has_credentials = _has_credentials(GCS_CREDENTIALS, GCS_FILES, GCS_MACHINE)
    return icechunk.gcs_storage(
        bucket=place.container,
        prefix=place.prefix,
        anonymous=None if has_credentials else True,
        from_env=True if has_credentials else None,
    )


def _azure_storage(place: Place) -> icechunk.Storage:
    import icechunk

    container, _, host = place.container.partition("@")
    account = _first(AZURE_ACCOUNT) or host.partition(".")[0]
    if not account:
        raise RequestError(
            f"archive {place.url} names a container, but no account; set "
            "AZURE_STORAGE_ACCOUNT_NAME."
        )
    has_credentials = _has_credentials(AZURE_CREDENTIALS, (), "")
    return icechunk.azure_storage(
        account=account,
        container=container,
        prefix=place.prefix,
        from_env=True,
        config=None if has_credentials else {"azure_skip_signature": "true"},
    )


STORAGES: dict[str, Callable[[Place], icechunk.Storage]] = {
    "": _local_storage,
    "s3": _s3_storage,
    "gs": _gcs_storage,
    "az": _azure_storage,
}


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "yes", "true", "on")


def _has_credentials(names: tuple[str, ...], files: tuple[str, ...], machine: str) -> bool:
    if _first(names):
        return True
    with contextlib.suppress(RuntimeError):  # a process without a home
        if any((Path.home() / file).is_file() for file in files):
            return True
    return bool(machine) and machine in _vendor()


@cache
def _vendor() -> str:
    try:
        return MACHINE.read_text().strip()
    except OSError:
        return ""


@cache
def quiet() -> None:
    """Keep icechunk's warnings off the terminal; ``ICECHUNK_LOG`` has the last word."""
    import icechunk

    if "ICECHUNK_LOG" not in os.environ:
        # Its errors reach Python; what it could not read ahead it reads again.
        icechunk.set_logs_filter("error,icechunk::repository=off")
