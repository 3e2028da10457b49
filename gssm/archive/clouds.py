"""Plain stores in a cloud: from a URL to a filesystem, with credentials of the environment."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from gssm.archive.storage import SCHEMES, is_s3_anonymous, s3_endpoint
from gssm.errors import RequestError

# Of obstore, by our scheme; it reads AWS_…, GOOGLE_… and AZURE_… by itself.
CLIENT = {"connect_timeout": "20s", "timeout": "120s"}


def is_cloud(url: Any) -> bool:
    """Tell whether a URL is of S3, GCS or Azure."""
    return isinstance(url, str) and url.partition("://")[0].lower() in SCHEMES and "://" in url


def cloud_filesystem(url: str, *, asynchronous: bool = False) -> tuple[Any, str]:
    """Return the filesystem of a URL and the path on it, bucket first.

    Raises
    ------
    RequestError
        The URL names no bucket and path, or holds credentials.
    """
    from obstore.fsspec import FsspecStore

    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query:
        raise RequestError(
            f"the URL {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} holds more "
            "than a bucket and a path; give credentials in the environment."
        )
    path = parts.path.strip("/")
    if not parts.netloc or not path:
        raise RequestError(f"{url} does not name a bucket and a path; give s3://bucket/path, say.")
    scheme = SCHEMES[parts.scheme.lower()]
    options: dict[str, Any] = {}
    client: dict[str, Any] = dict(CLIENT)
    if scheme == "s3":
        endpoint, allows_http = s3_endpoint()
        client["allow_http"] = allows_http
        options = {"skip_signature": is_s3_anonymous()}
        if endpoint:
            options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    made: Any = FsspecStore
    filesystem = made(
        scheme,
        config=options or None,
        client_options=client,
        asynchronous=asynchronous,
        skip_instance_cache=True,
    )
    return filesystem, f"{parts.netloc}/{path}"
