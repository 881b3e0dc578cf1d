"""The feature cache: a dataset's clip table, its plan, and one Zarr store for each kind of feature."""

from cache.errors import CacheError
from cache.folder import Cache, open_cache
from cache.receipts import Status
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification
from cache.store import Store

__all__ = [
    "Cache",
    "CacheError",
    "LogmelSpecification",
    "MfccSpecification",
    "RawSpecification",
    "Status",
    "Store",
    "open_cache",
]
