"""Figures of a dataset: clips of each label, their lengths and levels."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from report.plots.theme import BLUE, GRID, MUTED, ORANGE, axes_or_current, name

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
    span = f"{counts.min():,} to {counts.max():,}" if counts.min() < counts.max() else f"{counts.max():,} each"
    ax.set_title(f"Clips of each label, {span}", pad=20 if known else None)
    if known:  # above the bars, of which it would hide some
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, borderaxespad=0)
    return ax


def length_violins(clips: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Violins of the lengths of each label's clips, with median and quartiles; the longest median first.

    The axis is logarithmic where lengths differ by more than four times.

    Args:
        clips: label and seconds; clips of no length are left out.

    >>> clips = pd.DataFrame({"label": ["Bark"] * 3 + ["Flute"] * 2, "seconds": [0.5, 1, 2, 4, 8]})
    >>> length_violins(clips).get_xscale()
    'log'
    """
    ax = axes_or_current(ax)
    clips = clips[clips["seconds"] > 0]
    quarters = clips.groupby("label")["seconds"].quantile([0.25, 0.5, 0.75]).unstack()
    quarters = quarters.sort_values(0.5, ascending=False, kind="stable")
    rows = np.arange(len(quarters))
    sns.violinplot(
        x=clips["seconds"].astype(float), y=pd.Series(quarters.index.get_indexer(clips["label"]), clips.index),
        order=rows, orient="h", color=BLUE, saturation=1, alpha=0.45, cut=0, gridsize=60, inner=None, linewidth=0,
        width=0.9, log_scale=_is_log(clips["seconds"]) or None, density_norm="width", ax=ax,
    )  # fmt: skip
    ax.hlines(rows, quarters[0.25], quarters[0.75], color=BLUE, linewidth=1.5)
    ax.plot(quarters[0.5], rows, "o", color=BLUE, markersize=3.5)
    _label_rows(ax, quarters.index)
    _seconds(ax, clips["seconds"])
    ax.set_title("Lengths of each label's clips")
    return ax


def length_histogram(clips: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Histogram of lengths, train beside test, each as a share of its own clips.

    Args:
        clips: split and seconds; clips of no length are left out.

    >>> clips = pd.DataFrame({"split": ["train", "train", "test"], "seconds": [1.0, 2.0, 3.0]})
    >>> length_histogram(clips).get_ylabel()
    'share of the clips (%)'
    """
    ax = axes_or_current(ax)
    clips = clips[clips["seconds"] > 0]
    seconds = clips["seconds"]
    spaced = np.geomspace if _is_log(seconds) else np.linspace
    edges = spaced(seconds.min() * 0.99, seconds.max() * 1.01, 33)
    shares = {}
    for split in [split for split in ("train", "test") if (clips["split"] == split).any()]:
        part = seconds[clips["split"] == split]
        shares[f"{split}, {len(part):,} clips"] = np.histogram(part, edges)[0] * 100 / len(part)
    _steps(ax, edges, shares)
    _seconds(ax, seconds)
    ax.set(ylabel="share of the clips (%)", ylim=(0, None), title="Lengths in each split")
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
    parts = {"RMS": levels["rms_db"], "peak": levels["peak_db"]}
    parts = {part: np.maximum(level[np.isfinite(level)], QUIETEST) for part, level in parts.items()}
    both = pd.concat(parts.values())
    low, high = (both.min(), both.max()) if len(both) else (QUIETEST, 0)
    edges = np.linspace(np.floor(low), max(np.ceil(high), 1), 41)
    _steps(ax, edges, {part: np.histogram(level, edges)[0] for part, level in parts.items()})
    ax.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set(xlabel="level (dBFS)", ylabel="clips", ylim=(0, None), title="Levels; the dashed line is full scale")
    ax.legend(loc="upper left")
    return ax


def _steps(ax: Axes, edges: np.ndarray, parts: dict[str, np.ndarray]) -> None:
    """Up to two histograms, one over the other."""
    for color, (part, heights) in zip((BLUE, ORANGE), parts.items(), strict=False):
        ax.stairs(heights, edges, color=color, fill=True, alpha=0.18)
        ax.stairs(heights, edges, color=color, linewidth=1.4, label=part)


def _label_rows(ax: Axes, labels: pd.Index) -> None:
    ax.set_yticks(range(len(labels)), [name(label) for label in labels])
    ax.set(ylim=(len(labels) - 0.4, -0.6), ylabel="")
    ax.grid(False, axis="y")
    ax.spines["left"].set_color(GRID)


def _is_log(seconds: pd.Series) -> bool:
    return bool(len(seconds) and seconds.max() > 4 * seconds.min())


def _seconds(ax: Axes, seconds: pd.Series) -> None:
    """An axis of lengths with few, plain numbers."""
    ax.set_xlabel("length (s)")
    if not _is_log(seconds):
        ax.xaxis.set_major_locator(MaxNLocator(5))
        return
    ax.set_xscale("log")
    steps = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000]
    ax.set_xticks([step for step in steps if seconds.min() / 1.5 <= step <= seconds.max() * 1.5])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
