"""What goes wrong under an archive: one sentence each, and what is worth another attempt."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gssm.archive.storage import is_s3_anonymous, parse_place
from gssm.errors import ArchiveError, GssmError

T = TypeVar("T")

# Attempts, seconds before the second one, and at most between two.
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 6, 0.5, 16.0


REFUSED = re.compile("AccessDenied|Forbidden|unhandled error$|service error$", re.MULTILINE)
BROKEN_OFF = re.compile("streaming error|checksum mismatch|incomplete frame", re.IGNORECASE)


@dataclass(frozen=True)
class Trouble:
    """What a storage says, and the sentence that a user reads."""

    pattern: str
    cause: str
    fix: str
    is_transient: bool = False

    def matches(self, text: str) -> bool:
        """Tell whether it is this one."""
        return re.search(self.pattern, text, re.IGNORECASE) is not None


# The first that matches counts.
TROUBLES = (
    Trouble(
        r"ExpiredToken|token.{0,20}expired|RequestExpired|TokenRefreshRequired",
        "its credentials have expired",
        "renew them and run again",
    ),
    Trouble(
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|Unauthenticated|\b401\b",
        "its credentials are not accepted",
        "check those in the environment",
    ),
    Trouble(
        r"AccessDenied|Forbidden|\b403\b",
        "access is denied",
        "use credentials that may read it, and write it where that is wanted",
    ),
    Trouble(
        r"NoSuchBucket|bucket does not exist|ContainerNotFound",
        "there is no such bucket",
        "check the address, or make the bucket first",
    ),
    Trouble(
        r"PermanentRedirect|AuthorizationHeaderMalformed|\b301\b|region is wrong",
        "the bucket lies in another region",
        "set AWS_REGION to its region",
    ),
    Trouble(
        r"snapshot not found|does not have a snapshots? before",
        "there is no such version any more, or not yet",
        "choose one that `versions` lists",
    ),
    Trouble(
        r"repository doesn't exist",
        "there is none",
        "check the address, or create it first",
    ),
    Trouble(
        r"clean prefixes",
        "something else lies there already, or what an interrupted creation left",
        "choose an empty place, or delete it",
    ),
    Trouble(
        r"NoSuchKey|object not found|location .* not found",
        "a part of it is missing, which somebody deleted or which was cleaned away meanwhile",
        "open it again; if that does not help, restore it from a copy",
    ),
    Trouble(
        r"invalid magic|incomplete frame|flatbuffer|deserializ|was only \d+ bytes",
        "a part of it is damaged",
        "restore it from a copy",
    ),
    Trouble(
        r"credentials|CredentialsNotLoaded|no providers in chain",
        "no credentials were found",
        "set them in the environment",
    ),
    Trouble(
        r"SlowDown|ServiceUnavailable|TooManyRequests|\b(429|503)\b",
        "the storage is overloaded",
        "run again later",
        is_transient=True,
    ),
    Trouble(
        r"InternalError|\b50[0-9]\b",
        "the storage answers with an error of its own",
        "run again later",
        is_transient=True,
    ),
    Trouble(
        "service error",
        "the storage refuses, or fails, and does not say why",
        "check the address and the credentials, or run again later",
        is_transient=True,
    ),
    Trouble(
        r"dns|name resolution|failed to lookup",
        "its host is not known",
        "check the address and AWS_ENDPOINT_URL",
        is_transient=True,
    ),
    Trouble(
        r"timed? ?out|timeout|dispatch failure|connect|stream|reset|broken pipe"
        r"|checksum mismatch|error sending request|unexpected (eof|end)|end of file|incomplete",
        "the storage does not answer",
        "check the network, the address and AWS_ENDPOINT_URL, and run again",
        is_transient=True,
    ),
)
ERRNO = re.compile(r"\(os error (\d+)\)")
OS_TROUBLES = {
    errno.ENOSPC: ("the disk is full", "free space and run again"),
    errno.EDQUOT: ("the quota of the disk is used up", "free space and run again"),
    errno.EFBIG: ("a file would be larger than is allowed", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the disk is read-only", "choose a place that can be written"),
    errno.EACCES: ("permission is denied", "choose a place that you may read and write"),
    errno.EPERM: ("permission is denied", "choose a place that you may read and write"),
    errno.ENOTDIR: ("a file is in the way", "choose another folder"),
    errno.EEXIST: ("a file is in the way", "choose another folder"),
    errno.EBUSY: ("it is the root of a disk", "choose a folder inside it"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EIO: ("the disk fails", "check the disk"),
    errno.ESTALE: ("the network disk has gone", "mount it again"),
}


def is_transient(error: BaseException) -> bool:
    """Tell whether what a storage said may pass, so that it is worth another attempt."""
    import icechunk

    if not isinstance(error, icechunk.IcechunkError):
        return False
    text = _causes(str(error))
    if _errno(text) in OS_TROUBLES:
        return False
    trouble = next((t for t in TROUBLES if t.matches(text)), None)
    return trouble is not None and trouble.is_transient


def patiently(call: Callable[[], T]) -> T:
    """Return what a call returns that reads from a storage, though an answer broke off.

    icechunk asks again by itself where there is no answer, ten times in about half a minute,
    but not where the body of one breaks off.
    """
    import icechunk

    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except icechunk.IcechunkError as error:
            if not BROKEN_OFF.search(_causes(str(error))):
                raise
        wait(attempt)
    return call()


def wait(attempt: int) -> None:
    """Wait after an attempt: the longer the more there were, and each process differently."""
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
    time.sleep(random.uniform(longest / 2, longest))


@contextlib.contextmanager
def archiving(url: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what icechunk, a cloud or the disk under an archive says into one sentence.

    Parameters
    ----------
    url
        Of the archive.

    Raises
    ------
    ArchiveError
        Of one sentence, with the archive, the cause and what to do. Other errors pass.
    """
    try:
        yield
    except GssmError:
        raise
    except BaseException as error:  # icechunk's panics are no Exception
        sentence = explain(url, error)
        if sentence is None:
            raise
        raise ArchiveError(sentence) from error


def explain(url: str | os.PathLike[str], error: BaseException) -> str | None:
    """Return a sentence on an error of an archive's storage; None if it is not one."""
    import icechunk

    place = parse_place(url)
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else ""
        if place.folder is None or not _is_near(Path(name), place.folder):
            return None
        cause, fix = _of_errno(error.errno or 0, error.strerror or str(error))
        return f"archive {place.url}: {cause}; {fix}."
    ours = (icechunk.IcechunkError, icechunk.ConflictError, icechunk.RebaseFailedError)
    if not isinstance(error, ours) and type(error).__name__ != "PanicException":
        return None
    cause, fix = _of_text(str(error))
    if place.scheme == "s3" and is_s3_anonymous() and REFUSED.search(_causes(str(error))):
        cause, fix = "it does not answer without credentials", "set AWS_PROFILE or others of AWS"
    return f"archive {place.url}: {cause}; {fix}."


def _is_near(path: Path, folder: Path) -> bool:
    """Tell whether a path is the folder, above it, in it, or in the one that it is made in."""
    if not path.is_absolute():
        return False
    is_partial = path.name.startswith(f".{folder.name}.")
    return path == folder or folder in path.parents or path in folder.parents or is_partial


def _of_text(text: str) -> tuple[str, str]:
    causes = _causes(text)
    number = _errno(causes)
    if number in OS_TROUBLES:
        return OS_TROUBLES[number]
    trouble = next((t for t in TROUBLES if t.matches(causes)), None)
    if trouble:
        return trouble.cause, trouble.fix
    said = causes.strip().splitlines()
    return f"icechunk says: {said[0].strip() if said else 'nothing'}", "run again"


def _causes(text: str) -> str:
    """Return what an error of icechunk says, without the names of what it was working on."""
    head, _, context = text.partition("context:")
    causes = re.findall(r"^[ |`]*->(.*)$", context, re.MULTILINE)
    return "\n".join([re.sub(r"^[\s×x|]+(?=\w)", "", head).strip(" |\n"), *causes])


def _errno(text: str) -> int:
    found = ERRNO.search(text)
    return int(found[1]) if found else 0


def _of_errno(number: int, text: str) -> tuple[str, str]:
    known = OS_TROUBLES.get(number)
    return known or (text or os.strerror(number), "choose a place that can be read and written")
