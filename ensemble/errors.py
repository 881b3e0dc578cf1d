"""The error that the ensemble raises for what its user can mend; its message is one line."""


class PredictionsError(ValueError):
    """A predictions folder that is missing, foreign, damaged, unfinished or does not fit the others."""
