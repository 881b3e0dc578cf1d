"""A figure of how loud the clips are."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from report.plots.theme import BLUE, MUTED, ORANGE, axes_or_current

QUIETEST = -96.0  # dBFS, what 16 bits can hold: what is below counts as this


def level_histogram(levels: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Histograms of the clips' peak and RMS levels; full scale is 0 dBFS.

    Args:
        levels: peak_db and rms_db, in dBFS; NaN and clips of no sound (-inf) count as none.

    >>> level_histogram(pd.DataFrame({"peak_db": [-1.0, 0.0], "rms_db": [-20.0, -12.0]})).get_xlabel()
    'level (dBFS)'
    """
    ax = axes_or_current(ax)
    values = {"RMS": levels["rms_db"], "peak": levels["peak_db"]}
    finite = {part: np.maximum(level[np.isfinite(level)], QUIETEST) for part, level in values.items()}
    low = min((level.min() for level in finite.values() if len(level)), default=QUIETEST)
    high = max((level.max() for level in finite.values() if len(level)), default=0)
    edges = np.linspace(np.floor(low), max(np.ceil(high), 1), 41)
    for color, (part, level) in zip((BLUE, ORANGE), finite.items(), strict=True):
        counts = np.histogram(level, edges)[0]
        ax.stairs(counts, edges, color=color, fill=True, alpha=0.18)
        ax.stairs(counts, edges, color=color, linewidth=1.4, label=part)
    ax.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set(xlabel="level (dBFS)", ylabel="clips", ylim=(0, None))
    ax.set_title("Levels; the dashed line is full scale")
    ax.legend(loc="upper left")
    return ax
