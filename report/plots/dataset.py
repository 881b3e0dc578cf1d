"""Figures of a dataset: clips of each label, their lengths and levels."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from report.plots.theme import BLUE, GRID, MUTED, ORANGE, PAPER, axes_or_current, name

QUIETEST = -96.0  # dBFS, what 16 bits can hold: what is below counts as this
_VERIFIED = {1: "verified by hand", 0: "not verified"}


def label_counts(clips: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Bars of how many clips each label has, stacked by `manually_verified`, the most frequent label first.

    Args:
        clips: label, and manually_verified (1, 0 or missing) where it is known.

    >>> clips = pd.DataFrame({"label": ["Bark", "Bark", "Flute"], "manually_verified": [1, 0, 1]})
    >>> label_counts(clips).get_title()
    'Clips of each label, 1 to 2'
    """
    ax = axes_or_current(ax)
    counts = clips["label"].value_counts()
    known = "manually_verified" in clips and clips["manually_verified"].notna().any()
    parts = pd.Series("clips", clips.index)
    if known:
        parts = clips["manually_verified"].map(_VERIFIED).fillna("unknown")
    table = pd.crosstab(clips["label"], parts).reindex(counts.index)
    rows, left = np.arange(len(counts)), np.zeros(len(counts))
    colors = {"verified by hand": BLUE, "not verified": ORANGE, "unknown": MUTED, "clips": BLUE}
    for part in [part for part in colors if part in table]:
        ax.barh(rows, table[part], 0.72, left, color=colors[part], label=part)
        left += table[part].to_numpy()
    _label_rows(ax, counts.index)
    ax.set_xlabel("clips")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_title(f"Clips of each label, {counts.min():,} to {counts.max():,}", pad=20 if known else None)
    if known:  # above the bars, of which it would hide some
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0)
    return ax


def length_violins(clips: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Violins of the lengths of each label's clips, with quartiles, on a log axis; the longest median first.

    Args:
        clips: label and seconds; clips of no length are left out.

    >>> clips = pd.DataFrame({"label": ["Bark"] * 3 + ["Flute"] * 2, "seconds": [0.5, 1, 2, 4, 8]})
    >>> length_violins(clips).get_xscale()
    'log'
    """
    ax = axes_or_current(ax)
    clips = clips[clips["seconds"] > 0]
    order = clips.groupby("label")["seconds"].median().sort_values(ascending=False).index
    numbers = pd.Series(order.get_indexer(clips["label"]), clips.index, name="row")
    sns.violinplot(
        x=clips["seconds"].astype(float),
        y=numbers,
        order=range(len(order)),
        orient="h",
        color=BLUE,
        saturation=1,
        alpha=0.55,
        cut=0,
        gridsize=60,
        inner="quart",
        inner_kws={"color": PAPER, "linewidth": 0.8},
        linewidth=0,
        width=0.9,
        log_scale=True,
        density_norm="width",
        ax=ax,
    )
    _label_rows(ax, order)
    _seconds(ax, clips["seconds"])
    ax.set_title("Lengths of each label's clips, with quartiles")
    return ax


def length_histogram(clips: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Histogram of lengths, train beside test, each as a share of its own clips, on a log axis.

    Args:
        clips: split and seconds; clips of no length are left out.

    >>> clips = pd.DataFrame({"split": ["train", "train", "test"], "seconds": [1.0, 2.0, 3.0]})
    >>> length_histogram(clips).get_ylabel()
    'share of the clips (%)'
    """
    ax = axes_or_current(ax)
    clips = clips[clips["seconds"] > 0]
    edges = np.geomspace(clips["seconds"].min() * 0.99, clips["seconds"].max() * 1.01, 33)
    for color, (split, part) in zip((BLUE, ORANGE), _splits(clips), strict=False):
        share = np.histogram(part["seconds"], edges)[0] * 100 / len(part)
        ax.stairs(share, edges, color=color, fill=True, alpha=0.18)
        ax.stairs(share, edges, color=color, linewidth=1.4, label=f"{split}, {len(part):,} clips")
    ax.set_xscale("log")
    _seconds(ax, clips["seconds"])
    ax.set(ylabel="share of the clips (%)", ylim=(0, None))
    ax.set_title("Lengths in each split")
    ax.legend()
    return ax


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


def _splits(clips: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    names = [split for split in ("train", "test") if (clips["split"] == split).any()]
    return [(split, clips[clips["split"] == split]) for split in names]


def _label_rows(ax: Axes, labels: pd.Index) -> None:
    ax.set_yticks(range(len(labels)), [name(label) for label in labels])
    ax.set(ylim=(len(labels) - 0.4, -0.6), ylabel="")
    ax.grid(False, axis="y")
    ax.spines["left"].set_color(GRID)


def _seconds(ax: Axes, seconds: pd.Series) -> None:
    """A log axis of lengths with few, plain numbers."""
    steps = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000]
    ax.set_xticks([step for step in steps if seconds.min() / 1.5 <= step <= seconds.max() * 1.5])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("length (s)")
