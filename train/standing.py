"""How far a fold's training is: what its callbacks know beside the model, and a run that goes on needs to know."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Standing:
    """Epochs done, the best validation so far (its epoch counted from 1), and a row of the history for each epoch.

    seconds: that the epochs took, breaks left out. unimproved: validations in a row without a better loss.
    """

    epochs: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_epoch: int = 0
    unimproved: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def validated(self, epoch: int, loss: float) -> bool:
        """Take note of a validation; whether it is the best so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch, self.unimproved = loss, epoch, 0
            return True
        self.unimproved += 1
        return False

    def out_of_patience(self, patience: int | None) -> bool:
        """Whether so many validations in a row brought nothing; a patience of 0 ends with the first of them."""
        return patience is not None and self.unimproved >= max(patience, 1)
