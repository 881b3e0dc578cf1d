"""`python -m cache compact`: a cache packed anew without the slots that no clip refers to."""
