"""What is to be heard when in a long recording: a window slides over it, and its labels become segments.

Each window is judged as a recording of its length is. Its judgement counts for the hop around its middle, so that
the segments of one label never overlap, and those of different labels meet where one gives way to the other.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Timeline:
    """How a recording is cut into segments.

    window_s: seconds that are judged at a time; None for the longest window of the nets. hop_s: from one window to
    the next; None for half a window. threshold: the probability that a label needs. merge_s: gaps between segments
    of one label that are closed.
    """

    window_s: float | None = None
    hop_s: float | None = None
    threshold: float = 0.5
    merge_s: float = 0.0


def window_starts(seconds: float, window_s: float, hop_s: float) -> np.ndarray:
    """Where windows begin that cover a recording, in seconds, float64 [n], n > 0; the last may reach over its end.

    >>> window_starts(10, 4, 2)
    array([0., 2., 4., 6.])
    >>> window_starts(1, 4, 2)
    array([0.])
    """
    n_more = max(0, int(np.ceil((seconds - window_s) / hop_s - 1e-9)))
    return np.arange(n_more + 1) * float(hop_s)


def segments(
    probabilities: np.ndarray,
    labels: list[str],
    starts: np.ndarray,
    seconds: float,
    window_s: float,
    hop_s: float,
    settings: Timeline,
) -> pd.DataFrame:
    """Segments of one label each.

    Args:
        probabilities: float [n_windows, n_labels]. starts: float [n_windows], seconds. seconds: of the recording.
    Returns:
        begin, end (seconds), label and probability (the mean of its windows), in the order of begin.

    >>> found = segments(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]), ["dog", "rain"],
    ...                  np.array([0.0, 2.0, 4.0]), 8.0, 4.0, 2.0, Timeline())
    >>> print(found.to_string(index=False))
     begin  end label  probability
       0.0  5.0   dog         0.85
       5.0  8.0  rain         0.90
    """
    begins = starts + (window_s - hop_s) / 2
    ends = begins + hop_s
    begins[0], ends[-1] = 0.0, seconds
    ends = np.minimum(ends, seconds)
    rows = []
    for label, name in enumerate(labels):
        heard = np.flatnonzero(probabilities[:, label] >= settings.threshold)
        if not len(heard):
            continue
        gaps = begins[heard[1:]] - ends[heard[:-1]] > settings.merge_s + 1e-9
        for part in np.split(heard, np.flatnonzero(gaps) + 1):
            mean = probabilities[part, label].mean()
            rows.append((begins[part[0]], ends[part[-1]], name, mean))
    return segments_table(sorted(rows))


def segments_table(rows: list[tuple[float, float, str, float]]) -> pd.DataFrame:
    """Segments as a table: begin, end, label, probability."""
    return pd.DataFrame(rows, columns=["begin", "end", "label", "probability"])
