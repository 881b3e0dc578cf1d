"""`python -m cache pack` and `unpack`: a compressed copy of a cache for travelling."""
