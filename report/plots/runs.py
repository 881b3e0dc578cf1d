"""Figures of runs: learning curves, scores with intervals, confusion, reliability."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from report.plots.theme import BLUE, GREEN, MUTED, ORANGE, axes_or_current, name

_TITLES = {
    "loss": ("Loss", "cross-entropy"),
    "accuracy": ("Accuracy on validation clips", "accuracy"),
    "map3": ("MAP@3 on validation clips", "MAP@3"),
}


def learning_curves(histories: Sequence[pd.DataFrame], metric: str = "loss", ax: Axes | None = None) -> Axes:
    """One metric over the epochs, a thin line for each fold, a thick one for their mean.

    Of the loss, training and validation are shown. Of accuracy and MAP@3 only validation is: in training they are
    measured on windows that are augmented and mixed, whose label is not one label, which is not accuracy.

    Args:
        histories: one a fold, with epoch, loss, val_loss, val_accuracy, val_map3; empty where not validated.
        metric: "loss", "accuracy" or "map3".

    >>> history = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.5, 1.5]})
    >>> learning_curves([history]).get_ylabel()
    'cross-entropy'
    """
    ax = axes_or_current(ax)
    title, unit = _TITLES[metric]
    parts = {"validation": (f"val_{metric}", BLUE)}
    if metric == "loss":
        parts = {"training, augmented": ("loss", ORANGE)} | parts
    for part, (column, color) in parts.items():
        curves = [h.set_index("epoch")[column].dropna() for h in histories if column in h]
        curves = [curve for curve in curves if len(curve)]
        for curve in curves if len(curves) > 1 else ():
            ax.plot(curve.index, curve, color=color, linewidth=0.7, alpha=0.4)
        if curves:
            size = 3 if len(curves[0]) < 9 else 0
            mean = pd.concat(curves, axis=1).mean(axis=1)
            ax.plot(mean.index, mean, "o-", color=color, linewidth=1.8, markersize=size, label=part)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set(
        xlabel="epoch", ylabel=unit, title=title, xlim=(0, max([1, *(h["epoch"].max() for h in histories)]) + 0.5)
    )
    if metric == "loss":
        ax.legend()
    else:
        ax.set_ylim(0, 1)
    return ax


def score_intervals(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Scores of runs side by side, each with its 95% interval.

    Args:
        table: run, and accuracy, accuracy_low, accuracy_high, map3, map3_low, map3_high, 0 to 1.

    >>> row = {"run": "a"} | {f"{m}{end}": 0.5 for m in ("accuracy", "map3") for end in ("", "_low", "_high")}
    >>> score_intervals(pd.DataFrame([row])).get_title()
    'Out-of-fold scores, 95% intervals'
    """
    ax = axes_or_current(ax)
    rows = np.arange(len(table))
    for shift, color, (metric, text) in zip((-0.14, 0.14), (BLUE, ORANGE), _SCORES.items(), strict=True):
        ax.hlines(rows + shift, table[f"{metric}_low"], table[f"{metric}_high"], color=color, linewidth=1.6)
        ax.plot(table[metric], rows + shift, "o", color=color, markersize=4.5, label=text)
    ax.set_yticks(rows, [name(run, 32) for run in table["run"]])
    ax.set(ylim=(len(table) - 0.4, -0.6), xlabel="score")
    ax.set_title("Out-of-fold scores, 95% intervals", pad=20)
    ax.grid(False, axis="y")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderaxespad=0)
    return ax


_SCORES = {"accuracy": "accuracy", "map3": "MAP@3"}


def confusion(counts: np.ndarray, labels: Sequence[str], share: bool = True, ax: Axes | None = None) -> Axes:
    """A confusion matrix: a row is a given label, a column a guess.

    Args:
        counts: int [n_labels, n_labels]. share: colour by the share of the row, else by count.

    >>> confusion(np.eye(2, dtype=int), ["Bark", "Flute"]).get_xlabel()
    'guess'
    """
    ax = axes_or_current(ax)
    values = counts / np.maximum(counts.sum(1, keepdims=True), 1) if share else counts
    ax.imshow(values, "Blues", aspect="auto", vmin=0, vmax=1 if share else None, interpolation="none")
    names = [name(label, 20) for label in labels]
    ax.set_xticks(range(len(labels)), names, rotation=90)
    ax.set_yticks(range(len(labels)), names)
    if len(labels) <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = values[row, column] > 0.6 * values.max()
            text = f"{values[row, column]:.0%}" if share else f"{counts[row, column]}"
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.grid(False)
    ax.set(xlabel="guess", ylabel="given label")
    ax.set_title(f"Confusion, {'share of each label' if share else 'clips'}")
    return ax


def reliability(tables: dict[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """A reliability diagram: how often guesses of each confidence are right; honest ones lie on the diagonal.

    Args:
        tables: by what they are ("as predicted", ...), each with confidence, accuracy (0 to 1) and clips of a bin.

    >>> bins = pd.DataFrame({"confidence": [0.3, 0.9], "accuracy": [0.2, 0.8], "clips": [3, 7]})
    >>> reliability({"as predicted": bins}).get_ylabel()
    'share that is right'
    """
    ax = axes_or_current(ax)
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for color, marker, (part, table) in zip((ORANGE, BLUE, GREEN), "osD", tables.items(), strict=False):
        table = table[table["clips"] > 0]
        largest = max(table["clips"].max(), 1) if len(table) else 1
        points, sizes = (table["confidence"], table["accuracy"]), 8 + 50 * table["clips"] / largest
        ax.plot(*points, color=color, linewidth=1.2, label=part)
        ax.scatter(*points, sizes, color=color, marker=marker, alpha=0.8, linewidth=0)
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence of the first guess", ylabel="share that is right")
    ax.set_title("Reliability; larger marks are more clips")
    ax.legend(loc="upper left")
    return ax
