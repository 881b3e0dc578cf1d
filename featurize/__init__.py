"""Featurize: decode every recording of a dataset once, into the stores of its cache."""
