"""`python -m cache verify`: every byte of a cache against what it should be."""
