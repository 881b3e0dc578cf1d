"""Figures: they draw on the axes given, hold what they say, and become SVG for the page."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from report import plots
from report.plots.clips import hz_to_mel
from report.plots.theme import inline_svg, name

CLIPS = pd.DataFrame(
    {
        "label": ["Bark"] * 3 + ["$\\frac{1}$"] * 2 + ["</svg>"],
        "split": ["train"] * 5 + ["test"],
        "seconds": [0.5, 1, 2, 4, 8, 0.1],
        "manually_verified": [1, 0, 1, 1, None, 0],
    }
)


@pytest.fixture
def ax():
    with plots.theme():
        yield Figure((4, 3)).subplots()


def test_bars_add_up_to_the_clips(ax):
    assert plots.label_counts(CLIPS, ax) is ax
    assert sum(bar.get_width() for bar in ax.patches) == len(CLIPS)
    assert ax.get_title("left") == "Clips of each label, 1 to 3"


def test_current_axes_are_used_where_none_are_given():
    pyplot.switch_backend("agg")
    pyplot.close("all")
    assert plots.label_counts(CLIPS) is pyplot.gca()
    pyplot.close("all")


def test_label_with_mathematics_or_markup_is_drawn_as_text(ax):
    plots.label_counts(CLIPS, ax)
    svg = inline_svg(ax.figure, "salt", "alternative")
    assert "$\\frac{1}$" in svg and "&lt;/svg&gt;" in svg
    assert svg.count("</svg>") == 1


def test_inline_figure_has_alternative_theme_and_no_style_for_the_page(ax):
    svg = inline_svg(plots.length_histogram(CLIPS, ax).figure, "salt", 'a "figure"')
    assert svg.startswith('<svg role="img" aria-label="a &quot;figure&quot;"')
    assert "var(--c1)" in svg and "var(--muted)" in svg
    assert "<style" not in svg and "#0072b2" not in svg and "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_violins_are_sorted_by_their_median(ax):
    plots.length_violins(CLIPS, ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["$\\frac{1}$", "Bark", "</svg>"]


def test_loudest_moment_is_around_the_peak(ax):
    samples = np.zeros(5000)
    samples[4900] = 1
    line = plots.loudest_moment(samples, 1000, ax).lines[0]
    assert len(line.get_xdata()) == 500
    assert line.get_xdata()[line.get_ydata().argmax()] == pytest.approx(4.9)


@pytest.mark.parametrize("n_samples", [0, 1, 300])
def test_short_clips_are_drawn_too(ax, n_samples):
    plots.waveform(np.ones(n_samples), 16000, ax)
    plots.loudest_moment(np.ones(n_samples), 16000, ax)
    plots.mfcc(np.ones((n_samples // 100, 20)), 16000, 160, ax)


def test_mel_ticks_are_where_librosa_has_the_bands():
    librosa = pytest.importorskip("librosa")
    for hz in (60, 440, 999, 1000, 5000, 20000):
        assert hz_to_mel(hz) == pytest.approx(librosa.hz_to_mel(hz))


def test_training_accuracy_is_not_shown(ax):
    history = pd.DataFrame(
        {"epoch": [1, 2], "loss": [2, 1.0], "accuracy": [0.1, 0.2], "val_accuracy": [0.4, np.nan]}
    )
    plots.learning_curves([history, history], "accuracy", ax)
    assert all(set(line.get_ydata()) <= {0.4} for line in ax.lines)


def test_long_and_harmful_labels_are_cut_and_escaped():
    assert name("a\nb" + "c" * 40) == "a\\u000ab" + "c" * 17 + "…"
