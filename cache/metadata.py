"""The metadata of a store, `zarr.json` of its root and of its arrays, checked like input from outside."""

from typing import Annotated

import msgspec

from cache import layout
from cache.specification import Specification, from_dict
from cache.storage import CacheError, DamagedError, Storage

_MOST_BYTES = 1 << 20  # of a zarr.json that is read
_REPAIR = "run featurize to repair it"


class _Receipts(msgspec.Struct):
    n: int
    checksum: str


class _Group(msgspec.Struct):
    attributes: dict


class _Array(msgspec.Struct):
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(min_length=1)]


class _Attributes(msgspec.Struct):
    """The attributes of a store's root, but for those that say whose it is."""

    generation: int
    versions: dict[str, str]
    receipts: _Receipts


def read_attributes(store: Storage) -> dict:
    """A store's attributes, validated: format, format_version, generation, specification, versions, receipts.

    Raises:
        CacheError: no store, a foreign one, one of another version, or one whose specification is not its name's.
    """
    where = f"{store}/zarr.json"
    try:
        attributes, _ = _attributes(store, "zarr.json")
        msgspec.convert(attributes, _Attributes)
        return attributes
    except FileNotFoundError:
        if store.exists():
            raise DamagedError(f"{where}: missing; {_REPAIR}") from None
        raise CacheError(f"{store}: no store here; see `python -m cache ls`") from None
    except (ValueError, RecursionError, OSError) as error:
        if isinstance(error, CacheError) and known_specification(store) is None:
            raise
        what = error.strerror if isinstance(error, OSError) else "damaged or foreign metadata"
        raise DamagedError(f"{where}: {what}; {_REPAIR}") from error


def known_specification(store: Storage) -> Specification | None:
    """What a store's metadata prove it to hold; one of the two copies is enough. None where neither does.

    The attributes of root and features both say it, and the store's name has its numbers or its hash.
    """
    for key in ("zarr.json", "features/zarr.json"):
        try:
            return _attributes(store, key)[1]
        except (ValueError, RecursionError, OSError):
            continue
    return None


def _attributes(store: Storage, key: str) -> tuple[dict, Specification]:
    """The attributes of a store, or of its features, as far as they say whose they are."""
    attributes = msgspec.json.decode(store.read(key, _MOST_BYTES), type=_Group).attributes
    if attributes.get("format") != layout.FORMAT:
        raise CacheError(f"{store}: must be a store of earmark, got a foreign one; move it away")
    if (version := attributes.get("format_version")) != layout.VERSION:
        what = f"store format version must be {layout.VERSION}, got {version!s:.20}"
        raise CacheError(f"{store}: {what}; update earmark to read it, or remove the store and run featurize again")
    try:
        specification = from_dict(attributes.get("specification"))
    except ValueError as error:
        raise CacheError(f"{store}: unknown feature specification ({error}); update earmark to read it") from error
    if specification.name != store.name:
        what = f"specification must be the one that its name says, got that of {specification.name}"
        raise CacheError(f"{store}: {what}; move it away")
    return attributes, specification


def array_metadata(store: Storage, name: str) -> tuple[dict, int]:
    """An array's metadata, and its length along the first axis."""
    data = store.read(f"{name}/zarr.json", _MOST_BYTES)
    return msgspec.json.decode(data, type=dict), msgspec.json.decode(data, type=_Array).shape[0]
