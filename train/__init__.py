"""The trainer: fits a net on each fold, on windows cut straight from a cache's memory maps."""
