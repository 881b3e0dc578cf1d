"""Figures on plain tables and arrays: `label_counts(clips, ax=None)` and its like, each usable in a notebook.

Every function draws on the axes given, or on pyplot's current ones, and returns them. Inside `theme()` they have
the page's style, otherwise the notebook's own.
"""

from report.plots.clips import log_mel, loudest_moment, mfcc, waveform
from report.plots.dataset import label_counts, length_histogram, length_violins, level_histogram
from report.plots.runs import confusion, learning_curves, reliability, score_intervals
from report.plots.theme import theme

__all__ = [
    "confusion",
    "label_counts",
    "learning_curves",
    "length_histogram",
    "length_violins",
    "level_histogram",
    "log_mel",
    "loudest_moment",
    "mfcc",
    "reliability",
    "score_intervals",
    "theme",
    "waveform",
]
