"""The predictions folder, its scores, and the geometric mean of many folders' predictions."""

from ensemble.files import PredictionsError
from ensemble.predictions import PredictionsFolder, create_predictions, move_aside, open_predictions

__all__ = ["PredictionsError", "PredictionsFolder", "create_predictions", "move_aside", "open_predictions"]
