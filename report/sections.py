"""The page's sections: what is said, shown and played of a dataset and its runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from common.text import escaped, megabytes
from report import plots
from report.calibration import calibration_error, fit_temperature, reliability_table, tempered_out_of_fold
from report.dataset import Dataset, duplicates, examples, extremes, frequent_lengths
from report.page import Block, Figures, part, table, text
from report.runs import Run, contributions, disagreements, histories, runs_table
from report.scores import confusion_counts, guesses, label_scores
from report.suspects import suspects

N_MISTAKES = 200  # with players
N_SUSPECTS = 100  # listed; suspects.csv has all
_HEARD = 3  # clips of a frequent length, or of a duplicate, that have players
_LEVELS = {
    "row": ("clip", "clip"),
    "label": ("label", "text"),
    "rms_db": ("RMS (dBFS)", ".1f"),
    "peak_db": ("peak (dBFS)", ".1f"),
    "clipped": ("at full scale (samples)", ",.0f"),
    "silence": ("silence", "share"),
    "offset": ("DC offset", ".4f"),
}
_HIGH = 0.21  # inches that a label takes in a figure


@dataclass(eq=False)
class View:
    """A run's predictions on the page's clips. rows: int [n_scored], of the dataset's clips, -1 for none."""

    run: Run
    rows: np.ndarray

    @property
    def labels(self) -> list[str]:
        """The labels, escaped."""
        return [escaped(label) for label in self.run.labels]


class Content:
    """What the page is about, and which of its clips have players: chosen first, so that they are made meanwhile."""

    def __init__(self, dataset: Dataset, runs: Sequence[Run], ensemble: Run | None, n_examples: int):
        """ensemble: of all runs, where there are several."""
        self.dataset, self.runs = dataset, runs
        clips = dataset.clips
        train = clips[clips["split"] == "train"]
        places = pd.Series(train.index, train["clip"]).to_dict()
        self.views = [
            View(run, np.array([places.get(name, -1) for name in run.fnames[run.scored]], np.int64))
            for run in ([ensemble] if ensemble else []) + list(runs)
        ]
        self.examples = examples(
            clips, dataset.has("raw") | dataset.has("logmel") | dataset.has("mfcc"), n_examples
        )
        self.extremes, self.lengths, self.duplicates = extremes(clips), frequent_lengths(clips), duplicates(clips)
        self.troubles = clips[clips["status"].isin(["truncated", "empty", "failed"])]
        self.suspects = _suspects(self.views[0]) if self.views else None

    @property
    def played(self) -> list[int]:
        """Rows of the clips that have players."""
        chosen = [row for rows in (*self.examples.values(), *self.extremes.values()) for row in rows]
        chosen += [row for rows in self.lengths["rows"] for row in rows[:_HEARD]]
        chosen += [row for rows, _ in self.duplicates for row in rows[:_HEARD]] + self.troubles.index.tolist()
        if self.views:
            chosen += self.suspects["row"].head(N_SUSPECTS).tolist() + mistakes(self.views[0])
        sounding = self.dataset.has("raw")
        return [row for row in dict.fromkeys(chosen) if row >= 0 and sounding[row]]


def mistakes(view: View, most: int = N_MISTAKES) -> list[int]:
    """Rows of clips whose first guess is wrong: the surest of each pair of labels, then the second surest, ..."""
    probabilities, targets = view.run.own
    first = probabilities.argmax(1)
    wrong = np.flatnonzero(first != targets)
    table = pd.DataFrame(
        {
            "row": view.rows[wrong],
            "pair": targets[wrong] * len(view.labels) + first[wrong],
            "sure": probabilities[wrong].max(1),
        }
    ).sort_values("sure", ascending=False, kind="stable")
    table["turn"] = table.groupby("pair").cumcount()
    return table.sort_values("turn", kind="stable")["row"].head(most).tolist()


def facts(content: Content) -> list[tuple[str, str, str]]:
    """The numbers at the page's top: name, value, note."""
    clips = content.dataset.clips
    train = clips["split"] == "train"
    hours = clips["seconds"].sum() / 3600
    verified = ""
    if "manually_verified" in clips and clips.loc[train, "manually_verified"].notna().any():
        verified = f"{int(clips.loc[train, 'manually_verified'].eq(1).sum()):,} verified by hand"
    rates = clips.loc[clips["native_rate"] > 0, "native_rate"].value_counts()
    others = [f"{rate / 1000:g}" for rate in rates.index[1:4]]
    found = [
        ("Labelled clips", f"{int(train.sum()):,}", verified),
        ("Unlabelled clips", f"{int((~train).sum()):,}", ""),
        ("Labels", f"{clips.loc[train, 'label'].nunique():,}", ""),
        (
            "Sound",
            f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min",
            f"{clips['seconds'].median():.1f} s a clip, median",
        ),
        (
            "Native rate",
            f"{rates.index[0] / 1000:g} kHz" if len(rates) else "–",
            f"also {', '.join(others)}" if others else "of every recording",
        ),
        ("Recordings", megabytes(clips["size"].sum()), _stores(content.dataset)),
    ]
    if content.views:
        row = runs_table([content.views[0].run]).iloc[0]
        found.append(
            (
                "MAP@3, out of fold",
                f"{row['map3']:.3f}",
                f"{row['map3_low']:.3f} to {row['map3_high']:.3f}, {escaped(row['run'])}",
            )
        )
    return found


def data_sections(content: Content, figures: Figures) -> list[Block]:
    """The sections about the data."""
    return [
        {"id": "recordings", "title": "Recordings", "blocks": _recordings(content)},
        {"id": "labels", "title": "Labels", "blocks": _labels(content, figures)},
        {"id": "lengths", "title": "Lengths", "blocks": _lengths(content, figures)},
        {"id": "examples", "title": "Look and listen", "blocks": _examples(content, figures)},
        {"id": "levels", "title": "Levels", "blocks": _levels(content, figures)},
    ]


def run_sections(content: Content, figures: Figures, notes: Sequence[str]) -> list[Block]:
    """The sections about the runs. notes: why runs are left out."""
    said = [text(escaped(note), hint=True) for note in notes]
    if not content.views:
        lines = "No run has a finished fold yet. Curves, confusions, scores of each label and suspected labels need one."
        return [{"id": "runs", "title": "Runs", "blocks": [text(lines, "python -m train conv2d"), *said]}]
    sections = [
        {"id": "runs", "title": "Runs", "blocks": _runs(content, figures) + said},
        {"id": "curves", "title": "Learning curves", "blocks": _curves(content, figures)},
        {"id": "confusion", "title": "Confusion", "blocks": _confusion(content, figures)},
        {"id": "scores", "title": "Scores of each label", "blocks": _parts(content.views, _scores)},
        {
            "id": "honesty",
            "title": "Are the probabilities honest?",
            "blocks": _parts(content.views, partial(_honesty, figures=figures)),
        },
        {"id": "suspects", "title": "Suspected labels", "blocks": _suspected(content)},
    ]
    if len(content.runs) > 1:
        sections.append({"id": "ensemble", "title": "Ensemble", "blocks": _ensemble(content)})
    return sections


def data_for_script(content: Content, sounds: dict[int, tuple[str, float, float]]) -> dict[str, Any]:
    """What the page's script reads: all clips, players, and predictions."""
    clips = content.dataset.clips
    columns = {
        "name": [escaped(name) for name in clips["clip"]],
        "split": clips["split"].tolist(),
        "label": [escaped(label) for label in clips["label"]],
        "seconds": clips["seconds"].round(2).tolist(),
        "rms": _plain(clips["rms_db"].round(1)),
        "peak": _plain(clips["peak_db"].round(1)),
        "silence": _plain(clips["silence"].round(3)),
        "status": clips["status"].tolist(),
    }
    shown = [("Clip", "name", "text"), ("Split", "split", "text"), ("Label", "label", "text")]
    if "manually_verified" in clips:
        columns["verified"] = clips["manually_verified"].map({1: "yes", 0: "no"}).fillna("").tolist()
        shown.append(("Verified", "verified", "text"))
    shown += [("Seconds", "seconds", "number"), ("RMS (dBFS)", "rms", "number"), ("Peak (dBFS)", "peak", "number")]
    shown += [("Silence", "silence", "share"), ("Status", "status", "text")]
    if content.views:
        view = content.views[0]
        there = view.rows >= 0
        guess, sure = np.full(len(clips), "", object), np.full(len(clips), np.nan)
        guess[view.rows[there]] = np.asarray(view.labels, object)[view.run.own[0].argmax(1)[there]]
        sure[view.rows[there]] = view.run.own[0].max(1)[there].round(3)
        columns |= {"guess": guess.tolist(), "sure": _plain(pd.Series(sure))}
        shown += [("Guess", "guess", "text"), ("Confidence", "sure", "share")]
    views = [_view_for_script(view) for view in content.views]
    return {"clips": columns, "columns": shown, "sounds": sounds, "views": views}


def _view_for_script(view: View) -> dict[str, Any]:
    probabilities, targets = view.run.own
    three = guesses(probabilities)
    percent = np.rint(np.take_along_axis(probabilities, three, 1) * 100).astype(int)
    return {
        "labels": view.labels,
        "rows": view.rows.tolist(),
        "given": targets.tolist(),
        "guesses": three.tolist(),
        "percent": percent.tolist(),
    }


def _plain(values: pd.Series) -> list[float | str]:
    """Numbers for JSON: what is not finite is "", which sorts last."""
    return [value if np.isfinite(value) else "" for value in values.tolist()]


def _stores(dataset: Dataset) -> str:
    n_bytes = sum(store.n_chunks * store.specification.chunk_bytes for store in dataset.stores.values())
    return f"stores of {megabytes(n_bytes)}" if n_bytes else ""


def _recordings(content: Content) -> list[Block]:
    clips = content.dataset.clips
    blocks = [text(need, command) for need, command in content.dataset.needs]
    if len(content.troubles):
        rows = content.troubles.assign(row=content.troubles.index, file=content.troubles["split"])
        rows["reason"] = rows["reason"].where(
            rows["reason"] != "", rows["status"].map({"empty": "no samples"}).fillna("")
        )
        columns = {
            "row": ("clip", "clip"),
            "split": ("split", "text"),
            "label": ("label", "text"),
            "status": ("what", "text"),
        }
        counts = ", ".join(f"{count} {status}" for status, count in rows["status"].value_counts().items())
        blocks.append(table(f"Recordings with problems: {counts}", columns | {"reason": ("reason", "text")}, rows))
    else:
        blocks.append(text("No recording is empty, truncated or failed."))
    if content.duplicates:
        rows = pd.DataFrame(content.duplicates, columns=["rows", "note"])
        rows["size"] = [clips["size"].iloc[rows_[0]] / 1000 for rows_ in rows["rows"]]
        columns = {"rows": ("clips", "clip"), "note": ("where", "text"), "size": ("kB", ",.0f")}
        title = f"Recordings that are there more than once, byte by byte: {len(rows)}"
        blocks.append(table(title, columns, rows))
    else:
        blocks.append(text("No recording is there twice."))
    rates = clips.loc[clips["native_rate"] > 0, "native_rate"].value_counts()
    if len(rates) > 1:
        rows = pd.DataFrame(
            {"rate": rates.index, "clips": rates.to_numpy(), "share": rates.to_numpy() / len(clips)}
        )
        columns = {"rate": ("rate (Hz)", ",d"), "clips": ("clips", ",d"), "share": ("share", "share")}
        blocks.append(table("Native sample rates", columns, rows))
    return blocks


def _labels(content: Content, figures: Figures) -> list[Block]:
    train = content.dataset.clips[content.dataset.clips["split"] == "train"]
    if train.empty:
        return [text("The dataset has no labelled clips.")]
    counts = train["label"].value_counts()
    caption = (
        f"{len(counts)} labels. Fewest clips of a label: {counts.iloc[-1]:,} ({escaped(counts.index[-1])}); most: "
        f"{counts.iloc[0]:,} ({escaped(counts.index[0])}); mean: {counts.mean():.0f}."
    )
    size = (5.6, 0.9 + _HIGH * len(counts))
    return [
        {
            "figures": [
                figures.block("Clips of each label", size, caption, plots.label_counts, train),
                figures.block("Lengths of each label", size, _length_words(train), plots.length_violins, train),
            ]
        }
    ]


def _length_words(clips: pd.DataFrame) -> str:
    medians = clips[clips["seconds"] > 0].groupby("label")["seconds"].median().sort_values()
    if medians.empty:
        return "No clip has a length."
    return (
        f"Median length from {medians.iloc[0]:.2f} s ({escaped(medians.index[0])}) to {medians.iloc[-1]:.2f} s "
        f"({escaped(medians.index[-1])}). Wide parts are lengths that many clips have."
    )


def _lengths(content: Content, figures: Figures) -> list[Block]:
    clips = content.dataset.clips
    sounding = clips[clips["seconds"] > 0]
    if sounding.empty:
        return [text("No clip has a length.")]
    words = [
        f"{split}: {part['seconds'].min():.2f} to {part['seconds'].max():.2f} s, median {part['seconds'].median():.2f} s"
        for split, part in sounding.groupby("split", sort=False)
    ]
    blocks: list[Block] = [
        figures.block(
            "Lengths in train and test", (6.4, 2.9), "; ".join(words) + ".", plots.length_histogram, sounding
        )
    ]
    if content.lengths.empty:
        return [*blocks, text("No exact length is suspiciously frequent.")]
    rows = content.lengths.assign(heard=[rows[:_HEARD] for rows in content.lengths["rows"]])
    columns = {
        "seconds": ("seconds", ".3f"), "samples": ("samples", ",d"), "clips": ("clips", ",d"),
        "expected": ("expected", ".1f"), "labels": ("labels", ",d"), "heard": ("some of them", "clip"),
    }  # fmt: skip
    why = (
        "Exact lengths that at least ten times as many clips have as the lengths around them: often the mark of a "
        "tool that cut them, or of one recording in pieces."
    )
    return [*blocks, table("Exact lengths that are suspiciously frequent", columns, rows), text(why, hint=True)]


def _examples(content: Content, figures: Figures) -> list[Block]:
    dataset, blocks = content.dataset, []
    if not content.examples:
        return [text("There are no features to show yet.", "python -m featurize")]
    for label, rows in content.examples.items():
        cards = [_card(dataset, row, figures) for row in rows]
        n_clips = int((dataset.clips["label"] == label).sum())
        note = f"{len(rows)} of {n_clips:,} clips"
        blocks.append({"cards": cards, "title": escaped(label), "note": note, "open": not blocks})
    lines = "Examples are spread over each label's lengths, clips that are verified by hand first."
    return [text(lines, hint=True), *blocks]


def _card(dataset: Dataset, row: int, figures: Figures) -> Block:
    clip, draws = dataset.clips.loc[row], []
    if "raw" in dataset.stores:
        samples, rate = dataset.samples(row), dataset.stores["raw"].specification.sample_rate
        draws = [partial(plots.waveform, samples, rate), partial(plots.loudest_moment, samples, rate)]
    for kind, draw in (("logmel", plots.log_mel), ("mfcc", plots.mfcc)):
        if kind in dataset.stores:
            specification, frames = dataset.stores[kind].specification, dataset.features(kind, row)
            draws.append(partial(draw, frames, specification.sample_rate, specification.hop_length))
    verified = {1: "verified", 0: "not verified"}.get(clip.get("manually_verified"), "")
    level = f" RMS {clip['rms_db']:.0f} dBFS." if np.isfinite(clip["rms_db"]) else ""
    said = f"Pictures of {clip['clip']}, {clip['label']}, {clip['seconds']:.2f} s.{level}"
    note = ", ".join(filter(None, [f"{clip['seconds']:.1f} s", verified]))
    return {"row": row, "note": note, "svg": figures.card(f"clip {row} {clip['label']}", said, draws)}


def _levels(content: Content, figures: Figures) -> list[Block]:
    clips = content.dataset.clips
    if clips["rms_db"].isna().all():
        return [text("Levels and players need the raw waveforms.", "python -m featurize --features raw")]
    rate = content.dataset.stores["raw"].specification.sample_rate
    sound = clips[clips["rms_db"].notna()]
    caption = (
        f"Median RMS {sound['rms_db'].median():.1f} dBFS, median peak {sound['peak_db'].median():.1f} dBFS; "
        f"{int((sound['clipped'] > 0).sum()):,} clips reach full scale; silence is {sound['silence'].mean():.1%} of a clip, mean."
    )
    hint = (
        f"Measured on the raw store, at {rate:,} Hz: resampling can carry the peaks of a clipped recording beyond full "
        "scale. Silence is the share of 20 ms blocks with an RMS below −60 dBFS. Players raise clips whose peak is "
        "below −12 dBFS to it."
    )
    blocks: list[Block] = [
        figures.block("Levels of the clips", (6.4, 2.9), caption, plots.level_histogram, sound), text(hint, hint=True)
    ]  # fmt: skip
    for title, rows in content.extremes.items():
        if rows:
            chosen = clips.loc[rows].assign(row=rows)
            blocks.append(part(title, [table(title, _LEVELS, chosen)], is_open=title.startswith("The")))
    return blocks


def _runs(content: Content, figures: Figures) -> list[Block]:
    found = runs_table([view.run for view in content.views[1:] + content.views[:1]])
    for metric in ("accuracy", "map3"):
        found[f"{metric}_range"] = [
            f"{low:.3f} to {high:.3f}"
            for low, high in zip(found[f"{metric}_low"], found[f"{metric}_high"], strict=True)
        ]
    columns = {
        "run": ("run", "text"), "net": ("net", "text"), "recipe": ("recipe", "text"), "folds": ("folds", "text"),
        "clips": ("clips", ",d"), "accuracy": ("accuracy", ".4f"), "accuracy_range": ("95%", "text"),
        "map3": ("MAP@3", ".4f"), "map3_range": ("95%", "text"), "parameters": ("parameters", ",d"),
        "time": ("time", "text"), "differs": ("what differs", "text"),
    }  # fmt: skip
    if not found["differs"].any():
        del columns["differs"]
    hint = "Scores are out of fold: each clip by a model that did not train on it. Intervals are by bootstrap over clips."
    blocks = [table("Runs", columns, found), text(hint, hint=True)]
    best = found.sort_values("map3").iloc[-1]
    caption = f"Best MAP@3: {best['map3']:.3f} ({escaped(best['run'])}). Intervals that overlap widely may be luck."
    if len(found) > 1:
        blocks.append(
            figures.block(
                "Scores of the runs", (6.4, 0.9 + 0.42 * len(found)), caption, plots.score_intervals, found
            )
        )
    return blocks


def _curves(content: Content, figures: Figures) -> list[Block]:
    blocks = []
    for run in content.runs:
        if not (curves := histories(run)):
            blocks.append(text(f"{escaped(run.name)}: no history_*.csv is left in its folder.", hint=True))
            continue
        words = f"{len(curves)} {'fold' if len(curves) == 1 else 'folds'}; thick lines are their mean."
        three = []
        for metric in ("loss", "accuracy", "map3"):
            if metric == "loss" or any(f"val_{metric}" in curve for curve in curves):
                draw = partial(plots.learning_curves, curves, metric)
                three.append(
                    figures.block(f"{metric} of {run.name}", (3.9, 2.7), _curve_words(curves, metric, words), draw)
                )
        blocks.append(
            {"figures": three} if len(content.runs) == 1 else part(run.name, [{"figures": three}], not blocks)
        )
    hint = (
        "In training, loss is measured on windows that are augmented and mixed, so it does not compare with the "
        "validation loss; accuracy on such windows is not accuracy, and is left out."
    )
    return [*blocks, text(hint, hint=True)]


def _curve_words(curves: Sequence[pd.DataFrame], metric: str, words: str) -> str:
    column = f"val_{metric}"
    last = [curve[column].dropna() for curve in curves if column in curve]
    best = [values.min() if metric == "loss" else values.max() for values in last if len(values)]
    which = "Lowest" if metric == "loss" else "Highest"
    return f"{words} {which} on validation clips, mean of folds: {np.mean(best):.3f}." if best else words


def _confusion(content: Content, figures: Figures) -> list[Block]:
    view = content.views[0]
    counts = confusion_counts(view.run.own[1], view.run.own[0].argmax(1), len(view.labels))
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    pairs = [np.unravel_index(place, wrong.shape) for place in np.argsort(-wrong, axis=None, kind="stable")[:3]]
    words = [f"{view.labels[a]} for {view.labels[b]} ({wrong[a, b]})" for a, b in pairs if wrong[a, b]]
    lines = (
        f"Most often taken, in {escaped(view.run.name)}: {'; '.join(words)}." if words else "No clip is confused."
    )
    if figures.saves:
        size = (1.8 + 0.26 * len(counts), 1.6 + 0.24 * len(counts))
        for share in (True, False):
            draw = partial(plots.confusion, counts, view.run.labels, share)
            figures.block(f"Confusion by {'share' if share else 'count'}", size, lines, draw)
    return [text(lines), {"matrix": [escaped(one.run.name) for one in content.views]}]


def _scores(view: View) -> list[Block]:
    columns = {
        "label": ("label", "text"), "clips": ("clips", ",d"), "map3": ("average precision at 3", "share"),
        "f1": ("F1", "share"), "precision": ("precision", "share"), "recall": ("recall", "share"),
        "mostly": ("mostly taken for", "text"),
    }  # fmt: skip
    return [table("Each label, the worst first", columns, label_scores(*view.run.own, view.run.labels))]


def _honesty(view: View, figures: Figures) -> list[Block]:
    (probabilities, targets), folds = view.run.own, view.run.folds[view.run.scored]
    temperature = fit_temperature(probabilities, targets)
    tables = {
        "as predicted": reliability_table(probabilities, targets),
        "with a temperature": reliability_table(tempered_out_of_fold(probabilities, targets, folds), targets),
    }
    before, after = (calibration_error(bins) for bins in tables.values())
    sure = "surer than they should be" if temperature > 1 else "less sure than they could be"
    caption = (
        f"Expected calibration error {before:.3f} as predicted, {after:.3f} with a temperature, which for each fold is "
        f"fitted on the other folds. Fitted on all clips it is {temperature:.2f}: the probabilities are {sure}."
    )
    return [figures.block(f"Reliability of {view.run.name}", (4.6, 3.9), caption, plots.reliability, tables)]


def _suspects(view: View) -> pd.DataFrame:
    """Suspected labels, with the three guesses in words and each clip's row in the dataset."""
    probabilities, targets = view.run.own
    found = suspects(probabilities, targets, view.run.fnames[view.run.scored], view.run.labels)
    own = found["row"].to_numpy(np.int64)
    three = guesses(probabilities[own])
    found["guesses"] = [
        " · ".join(f"{view.labels[label]} {probabilities[row, label]:.0%}" for label in labels)
        for row, labels in zip(own, three, strict=True)
    ]
    found["row"] = view.rows[own]
    return found


def _suspected(content: Content) -> list[Block]:
    found = content.suspects
    if found.empty:
        return [text("No label is contradicted with confidence.")]
    shown = found[found["row"] >= 0].head(N_SUSPECTS)
    columns = {
        "row": ("clip", "clip"), "label": ("given label", "text"), "suggested": ("suggested", "text"),
        "score": ("score", ".3f"), "guesses": ("three guesses", "text"),
    }  # fmt: skip
    lines = f"{len(found):,} of {len(content.views[0].run.scored):,} labels are suspected to be wrong, the surest first."
    hint = (
        "Found by confident learning in the out-of-fold predictions of "
        f"{escaped(content.views[0].run.name)}; labels of fewer than five clips are not judged. The score is the "
        "suggested label's probability less the given one's. Listen before you correct: suspects.csv lists them all."
    )
    return [text(lines), table("Suspected labels", columns, shown), text(hint, hint=True)]


def _ensemble(content: Content) -> list[Block]:
    added = contributions(content.runs)
    added["range"] = [f"{low:+.4f} to {high:+.4f}" for low, high in zip(added["low"], added["high"], strict=True)]
    gains = {
        "run": ("run", "text"), "alone": ("MAP@3 alone", ".4f"), "without": ("the others without it", ".4f"),
        "gain": ("it adds", "+.4f"), "range": ("95%", "text"),
    }  # fmt: skip
    pairs = {
        "first": ("A", "text"), "second": ("B", "text"), "differ": ("guess differs", "share"),
        "both": ("both right", "share"), "only_first": ("only A right", "share"),
        "only_second": ("only B right", "share"), "neither": ("neither", "share"),
        "labels_first": ("A is better at", "text"), "labels_second": ("B is better at", "text"),
    }  # fmt: skip
    return [
        table("What each run adds to the ensemble of all", gains, added),
        table("Where the first guesses of two runs differ", pairs, disagreements(content.runs)),
    ]


def _parts(views: Sequence[View], blocks_of: Any) -> list[Block]:
    """Blocks of each view, under headings where there are several."""
    if len(views) == 1:
        return blocks_of(views[0])
    return [part(view.run.name, blocks_of(view), is_open=view is views[0]) for view in views]
