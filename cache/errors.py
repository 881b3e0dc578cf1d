"""The errors that the cache raises for what its user can mend; their messages are one line."""


class CacheError(ValueError):
    """A cache, table or store that is missing, foreign, newer, incomplete, damaged or held by another."""


class DamagedError(CacheError):
    """A file of the cache that does not hold what was written to it."""
