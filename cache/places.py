"""Places: where a cache or a dataset lies, as the command line says it: a folder, or `s3://BUCKET/PREFIX`.

A place on a disk is a `pathlib.Path`; one in a bucket is an `ObjectPath`, which has the same methods as far as
they are used. Whoever needs to know asks `on_disk`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from cache.errors import CacheError

if TYPE_CHECKING:
    from cache.bucket.objects import ObjectPath

    Place = Path | ObjectPath

_SCHEME = "s3://"


class PlaceError(CacheError):
    """A place that cannot be: not understood, not to be reached, or not where something can be done."""


def place(text: "str | Place") -> "Place":
    """The place that a text names; a bucket is asked once whether it can be listed.

    Raises:
        PlaceError: neither a folder nor s3://BUCKET/PREFIX, boto3 is missing, or the bucket cannot be listed.
    """
    if not isinstance(text, str):
        return text
    if not text.startswith("s3:") and "://" not in text:
        return Path(text)
    bucket, _, prefix = text.removeprefix(_SCHEME).partition("/")
    if not text.startswith(_SCHEME) or not bucket or ".." in prefix.split("/"):
        raise PlaceError(f"{text}: place must be a folder or s3://BUCKET/PREFIX, got neither; mend it")
    try:
        # imported here: boto3 is an extra, and takes a third of a second
        from cache.bucket.objects import ObjectPath
    except ImportError as error:
        raise PlaceError(
            f'{text}: a place in a bucket needs boto3, got none installed; pip install "earmark[s3]"'
        ) from error
    found = ObjectPath(bucket, "") / prefix
    _reach(found)
    return found


def on_disk(place: "Place") -> bool:
    """Whether a place lies on a disk, where files can be mapped and renamed."""
    return isinstance(place, Path)


def require_disk(place: "Place", what: str) -> None:
    """Refuse a place in a bucket.

    Raises:
        PlaceError: says what needs a disk.
    """
    if not on_disk(place):
        raise PlaceError(f"{place}: must be on a disk to {what}, got a place in a bucket; name a folder")


def _reach(found: "ObjectPath") -> None:
    try:
        found.is_dir()
    except FileNotFoundError as error:
        raise PlaceError(
            f"{found}: bucket must exist, got none ({error.strerror}); make it or mend the name"
        ) from error
    except PermissionError as error:
        raise PlaceError(
            f"{found}: credentials must allow to list the bucket, got {error.strerror}; "
            "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except OSError as error:
        raise PlaceError(
            f"{found}: endpoint must answer, got {error.strerror}; check AWS_ENDPOINT_URL and the network"
        ) from error
