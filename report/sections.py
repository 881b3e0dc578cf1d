"""The page's sections: what is said, shown and played of a dataset and its runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from common.text import escaped, megabytes
from report import plots
from report.calibration import calibration_error, fit_temperature, reliability_table, tempered_out_of_fold
from report.dataset import Dataset, duplicates, examples, extremes, frequent_lengths
from report.page import Block, Figures, part, section, table, text
from report.runs import Run, contributions, disagreements, histories, runs_table
from report.scores import confusion_counts, guesses, label_scores
from report.suspects import suspects

N_MISTAKES = 200  # with players
N_SUSPECTS = 100  # listed; suspects.csv has all
_HEARD = 3  # clips of a frequent length, or of a duplicate, that have players
_ROW_IN = 0.19  # of a label in a figure
_WIDE = 4.2, 2.4  # inches, of a figure that stands alone


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
    """What the page is about. Its clips with players are chosen first, and encoded while the figures are drawn."""

    def __init__(self, dataset: Dataset, runs: Sequence[Run], ensemble: Run | None, n_examples: int):
        """ensemble: of all runs, where there are several."""
        self.dataset, self.runs, clips = dataset, runs, dataset.clips
        self.train = clips[clips["split"] == "train"]
        places = pd.Series(self.train.index, self.train["clip"]).to_dict()
        self.views = [
            View(run, np.array([places.get(name, -1) for name in run.fnames[run.scored]], np.int64))
            for run in ([ensemble] if ensemble else []) + list(runs)
        ]
        usable = np.any([dataset.has(kind) for kind in ("raw", "logmel", "mfcc")], axis=0)
        self.examples = examples(clips, usable, n_examples)
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
    """Rows of clips whose first guess is wrong: of each pair of labels its share, the surest first."""
    probabilities, targets = view.run.own
    first, sure = probabilities.argmax(1), probabilities.max(1)
    found = pd.DataFrame({"row": view.rows, "pair": targets * len(view.labels) + first, "sure": sure})
    found = found[first != targets].sort_values("sure", ascending=False, kind="stable")
    pairs = found.groupby("pair")["row"]
    found["turn"] = (pairs.cumcount() + 0.5) / pairs.transform("size")  # Sainte-Laguë's way to share out seats
    return found.sort_values("turn", kind="stable")["row"].head(most).tolist()


def facts(content: Content) -> list[tuple[str, str, str]]:
    """The numbers at the page's top: name, value, note."""
    clips, train = content.dataset.clips, content.train
    hours, rates = clips["seconds"].sum() / 3600, _rates(clips)
    others = ", ".join(f"{rate / 1000:g}" for rate in rates.index[1:4])
    known = "manually_verified" in train and train["manually_verified"].notna().any()
    verified = f"{int(train['manually_verified'].eq(1).sum()):,} verified by hand" if known else "clips"
    n_bytes = sum(store.n_chunks * store.specification.chunk_bytes for store in content.dataset.stores.values())
    sound = f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
    rate = f"{rates.index[0] / 1000:g} kHz" if len(rates) else "-"
    found = [
        ("Labelled", f"{len(train):,}", verified),
        ("Unlabelled", f"{len(clips) - len(train):,}", "clips"),
        ("Labels", f"{train['label'].nunique():,}", ""),
        ("Sound", sound, f"median {clips['seconds'].median():.1f} s"),
        ("Native rate", rate, f"also {others}" if others else ""),
        ("Recordings", _bytes(clips["size"].sum()), f"stores {_bytes(n_bytes)}" if n_bytes else ""),
    ]
    if content.views:
        row = runs_table([content.views[0].run]).iloc[0]
        note = f"{row['map3_low']:.3f} to {row['map3_high']:.3f}, {escaped(row['run'])}"
        found.append(("MAP@3", f"{row['map3']:.3f}", note))
    return found


def data_sections(content: Content, figures: Figures) -> list[Block]:
    """The sections about the data."""
    return [
        section("recordings", "Recordings", _recordings(content)),
        section("labels", "Labels", _labels(content, figures)),
        section("lengths", "Lengths", _lengths(content, figures)),
        section("examples", "Look and listen", _examples(content, figures)),
        section("levels", "Levels", _levels(content, figures)),
    ]


def run_sections(content: Content, figures: Figures, notes: Sequence[str]) -> list[Block]:
    """The sections about the runs. notes: why runs are left out."""
    said = [text(escaped(note), hint=True) for note in notes]
    if not content.views:
        need = "No run has a finished fold yet. Scores, curves, confusions and suspects need one."
        return [section("runs", "Runs", [text(need, "python -m train conv2d"), *said])]
    honesty = _parts(content.views, partial(_calibration, figures))
    sections = [
        section("runs", "Runs", _runs(content, figures) + said),
        section("curves", "Learning curves", _curves(content, figures)),
        section("confusion", "Confusion", _confusion(content, figures)),
        section("scores", "Scores of each label", _parts(content.views, _scores)),
        section("calibration", "Are the probabilities honest?", honesty),
        section("suspects", "Suspected labels", _suspected(content)),
    ]
    return sections + ([section("ensemble", "Ensemble", _ensemble(content))] if len(content.runs) > 1 else [])


def data_for_script(content: Content, sounds: dict[int, tuple[str, float, float]]) -> dict[str, Any]:
    """What the page's script reads: all clips, players, and predictions.

    Args:
        sounds: of each row with a player: data: URI, start and stop in seconds.
    Returns:
        clips (columns by name, each [n_clips]), columns (heading, name and kind of of those that are
        shown), sounds, and views: labels, and of each scored clip its row, the given label's id, the ids of three
        guesses and their probabilities in percent.
    """
    clips = content.dataset.clips
    found = [
        ("Clip", "name", "text", map(escaped, clips["clip"])),
        ("Split", "split", "text", clips["split"]),
        ("Label", "label", "text", map(escaped, clips["label"])),
        ("Seconds", "seconds", "number", clips["seconds"].round(2), 2),
        ("RMS (dBFS)", "rms", "number", _plain(clips["rms_db"], 1), 1),
        ("Peak (dBFS)", "peak", "number", _plain(clips["peak_db"], 1), 1),
        ("Silence", "silence", "share", _plain(clips["silence"], 3)),
        ("Status", "status", "text", clips["status"]),
    ]
    if "manually_verified" in clips and clips["manually_verified"].notna().any():
        verified = clips["manually_verified"].map({1: "yes", 0: "no"}).astype(object).fillna("")
        found.insert(3, ("Verified", "verified", "text", verified))
    if content.views:
        view, guess, sure = content.views[0], np.full(len(clips), "", object), np.full(len(clips), np.nan)
        there = view.rows >= 0
        guess[view.rows[there]] = np.asarray(view.labels, object)[view.run.own[0].argmax(1)[there]]
        sure[view.rows[there]] = view.run.own[0].max(1)[there]
        found += [("Guess", "guess", "text", guess), ("Confidence", "sure", "share", _plain(pd.Series(sure), 3))]
    return {
        "clips": {name: list(values) for _, name, _, values, *_ in found},
        "columns": [(*column[:3], *column[4:]) for column in found],
        "sounds": sounds,
        "views": [_view_for_script(view) for view in content.views],
    }


def _view_for_script(view: View) -> dict[str, Any]:
    probabilities, targets = view.run.own
    three = guesses(probabilities)
    percent = np.rint(np.take_along_axis(probabilities, three, 1) * 100).astype(int)
    arrays = {"rows": view.rows, "given": targets, "guesses": three, "percent": percent}
    return {"labels": view.labels} | {name: array.tolist() for name, array in arrays.items()}


def _plain(values: pd.Series, digits: int) -> list[float | str]:
    """Numbers for JSON: what is not finite is "", which sorts last."""
    return [value if np.isfinite(value) else "" for value in values.round(digits).tolist()]


def _bytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else megabytes(n_bytes)


def _rates(clips: pd.DataFrame) -> pd.Series:
    return clips.loc[clips["native_rate"] > 0, "native_rate"].value_counts()


def _recordings(content: Content) -> list[Block]:
    clips, rates = content.dataset.clips, _rates(content.dataset.clips)
    blocks = [text(need, command) for need, command in content.dataset.needs]
    if content.troubles.empty:
        blocks.append(text("No recording is empty, truncated or failed."))
    else:
        rows = content.troubles.assign(row=content.troubles.index)
        counts = ", ".join(f"{count} {status}" for status, count in rows["status"].value_counts().items())
        said = rows["status"].map(
            {"empty": "no samples", "truncated": "its data ends early; used as far as it goes"}
        )
        rows["reason"] = rows["reason"].where(rows["reason"] != "", said.fillna(""))
        title = f"Recordings with problems: {counts}"
        blocks.append(table(title, rows, "row:clip:clip | split | label | status | reason"))
    if content.duplicates:
        title = f"Recordings that are there more than once, byte by byte: {len(content.duplicates)}"
        rows = pd.DataFrame(content.duplicates, columns=["clips", "where"])
        blocks.append(table(title, rows, "clips:clip | where"))
    else:
        blocks.append(text("No recording is there twice."))
    if len(rates) > 1:
        rows = pd.DataFrame(
            {"rate": rates.index, "clips": rates.to_numpy(), "share": rates.to_numpy() / len(clips)}
        )
        blocks.append(table("Native sample rates", rows, "rate:,d:rate (Hz) | clips:,d | share:share"))
    return blocks


def _labels(content: Content, figures: Figures) -> list[Block]:
    train, counts = content.train, content.train["label"].value_counts()
    medians = train[train["seconds"] > 0].groupby("label")["seconds"].median().sort_values()
    if medians.empty:
        return [text("The dataset has no labelled clips with sound.")]
    of_counts = (
        f"{len(counts)} labels. Fewest clips of a label: {counts.iloc[-1]:,} ({escaped(counts.index[-1])}); most: "
        f"{counts.iloc[0]:,} ({escaped(counts.index[0])}); mean: {counts.mean():.0f}."
    )
    of_lengths = (
        f"Median length from {medians.iloc[0]:.2f} s ({escaped(medians.index[0])}) to {medians.iloc[-1]:.2f} s "
        f"({escaped(medians.index[-1])}). Wide parts are lengths that many clips have."
    )
    size = (4.0, 0.9 + _ROW_IN * len(counts))
    return [
        figures.row(
            figures.block("Clips of each label", size, of_counts, plots.label_counts, train),
            figures.block("Lengths of each label", size, of_lengths, plots.length_violins, train),
        )
    ]


def _lengths(content: Content, figures: Figures) -> list[Block]:
    clips = content.dataset.clips[content.dataset.clips["seconds"] > 0]
    if clips.empty:
        return [text("No clip has a length.")]
    spans = clips.groupby("split", sort=False)["seconds"].agg(["min", "max", "median"]).itertuples()
    words = "; ".join(f"{row.Index}: {row.min:.2f} to {row.max:.2f} s, median {row.median:.2f} s" for row in spans)
    figure = figures.block("Lengths in train and test", _WIDE, f"{words}.", plots.length_histogram, clips)
    if content.lengths.empty:
        return [figure, text("No exact length is suspiciously frequent.")]
    rows = content.lengths.assign(heard=[rows[:_HEARD] for rows in content.lengths["rows"]])
    columns = "seconds:.3f | samples:,d | clips:,d | expected:.2f | labels:,d | heard:clip:some of them"
    why = (
        "At least ten times as many clips have these lengths as have the lengths around them. Often a tool cut "
        "them, or they are pieces of one recording."
    )
    return [figure, table("Exact lengths that are suspiciously frequent", rows, columns), text(why, hint=True)]


def _examples(content: Content, figures: Figures) -> list[Block]:
    if not content.examples:
        return [text("There are no examples: --examples is 0, or no features are there.", "python -m featurize")]
    counts = content.train["label"].value_counts()
    blocks = [text("Spread over each label's lengths, clips that are verified by hand first.", hint=True)]
    for label, rows in content.examples.items():
        cards = [_card(content.dataset, row, figures) for row in rows]
        note = f"{len(rows)} of {counts[label]:,} clips"
        blocks.append({"cards": cards, "title": escaped(label), "note": note, "open": len(blocks) == 1})
    return blocks


def _card(dataset: Dataset, row: int, figures: Figures) -> Block:
    clip, draws = dataset.clips.loc[row], []
    if dataset.has("raw")[row]:
        samples, rate = dataset.samples(row), dataset.stores["raw"].specification.sample_rate
        draws = [partial(plots.waveform, samples, rate), partial(plots.loudest_moment, samples, rate)]
    for kind, draw in (("logmel", plots.log_mel), ("mfcc", plots.mfcc)):
        if dataset.has(kind)[row]:
            specification, frames = dataset.stores[kind].specification, dataset.features(kind, row)
            draws.append(partial(draw, frames, specification.sample_rate, specification.hop_length))
    verified = {1: ", verified", 0: ", not verified"}.get(clip.get("manually_verified"), "")
    level = f" RMS {clip['rms_db']:.0f} dBFS, peak {clip['peak_db']:.0f}." if np.isfinite(clip["rms_db"]) else ""
    said = f"Pictures of {clip['clip']}, {clip['label']}, {clip['seconds']:.2f} s.{level}"
    card = figures.card(f"clip {row} {clip['label']}", said, draws)
    return {"row": row, "note": f"{clip['seconds']:.1f} s{verified}", "svg": card}


def _levels(content: Content, figures: Figures) -> list[Block]:
    sound = content.dataset.clips[content.dataset.clips["rms_db"].notna()]
    if sound.empty:
        return [text("Levels and players need the raw waveforms.", "python -m featurize --features raw")]
    rate = content.dataset.stores["raw"].specification.sample_rate
    caption = (
        f"Median RMS {sound['rms_db'].median():.1f} dBFS, median peak {sound['peak_db'].median():.1f} dBFS; "
        f"{int((sound['clipped'] > 0).sum()):,} clips reach full scale; a clip is silent for "
        f"{sound['silence'].mean():.1%} of its time, on average."
    )
    hint = (
        f"Measured on the raw store, at {rate:,} Hz, where the peaks of a clipped recording can lie beyond full "
        "scale. Silence is the share of 20 ms blocks whose RMS is below -60 dBFS. Players of clips whose peak is "
        "below -12 dBFS are raised to it."
    )
    figure = figures.block("Levels of the clips", _WIDE, caption, plots.level_histogram, sound)
    columns = (
        "row:clip:clip | label | rms_db:z.1f:RMS (dBFS) | peak_db:z.1f:peak (dBFS) | "
        "clipped:,.0f:at full scale (samples) | silence:share | offset:z.4f:DC offset"
    )
    found = {title: sound.loc[rows].assign(row=rows) for title, rows in content.extremes.items() if rows}
    parts = [
        part(title, [table(title, rows, columns, titled=False)], title.startswith("The"))
        for title, rows in found.items()
    ]
    return [figure, text(hint, hint=True), *parts]


def _runs(content: Content, figures: Figures) -> list[Block]:
    found = runs_table([view.run for view in content.views[1:] + content.views[:1]])
    for metric in ("accuracy", "map3"):
        ends = zip(found[f"{metric}_low"], found[f"{metric}_high"], strict=True)
        found[f"{metric}_range"] = [f"{low:.3f} to {high:.3f}" for low, high in ends]
    columns = (
        "run | net | recipe | folds | clips:,d | accuracy:.3f | accuracy_range:text:95% | map3:.3f:MAP@3 | "
        "map3_range:text:95% | time | parameters:,d"
    )
    columns += " | differs:text:what differs" if found["differs"].any() else ""
    hint = "Scores are of each clip by a model that did not train on it; intervals are by bootstrap over clips."
    blocks = [table("Runs", found, columns, titled=False), text(hint, hint=True)]
    if len(found) > 1:
        best, size = found.sort_values("map3").iloc[-1], (_WIDE[0], 0.8 + 0.4 * len(found))
        words = f"Best MAP@3: {best['map3']:.3f} ({escaped(best['run'])}). Where intervals overlap, it may be luck."
        blocks.append(figures.block("Scores of the runs", size, words, plots.score_intervals, found))
    return blocks


def _curves(content: Content, figures: Figures) -> list[Block]:
    blocks = []
    for run in content.runs:
        curves, three = histories(run), []
        for metric in ("loss", "accuracy", "map3"):
            best = pd.Series([curve[f"val_{metric}"].agg("min" if metric == "loss" else "max") for curve in curves])
            words = f"{len(curves)} folds; the best of each is {best.mean():.3f} on average." if best.any() else ""
            draw = partial(plots.learning_curves, curves, metric)
            three += [figures.block(f"{metric} of {run.name}", (3.1, 2.3), words, draw)] if curves else []
        missing = text(f"{escaped(run.name)}: its folder has no history_*.csv.", hint=True)
        block = figures.row(*three) if three else missing
        blocks.append(block if len(content.runs) == 1 else part(run.name, [block], is_open=not blocks))
    hint = (
        "Thin lines are folds, thick ones their mean. The training loss is measured on windows that are augmented "
        "and mixed, so it does not compare with that of the validation clips. Accuracy on such windows is not "
        "accuracy: it is left out."
    )
    return [*blocks, text(hint, hint=True)]


def _confusion(content: Content, figures: Figures) -> list[Block]:
    view = content.views[0]
    counts = confusion_counts(view.run.own[1], view.run.own[0].argmax(1), len(view.labels))
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    pairs = [np.unravel_index(place, wrong.shape) for place in np.argsort(-wrong, axis=None, kind="stable")[:3]]
    words = [f"{view.labels[a]} taken for {view.labels[b]} ({wrong[a, b]})" for a, b in pairs if wrong[a, b]]
    line = f"Most often in {escaped(view.run.name)}: {', '.join(words)}." if words else "No clip is confused."
    size = (1.8 + 0.26 * len(counts), 1.6 + 0.24 * len(counts))
    for share in (True, False) if figures.saves else ():  # the page has its own, of buttons
        draw = partial(plots.confusion, counts, view.run.labels, share)
        figures.block(f"Confusion by {'share' if share else 'count'}", size, line, draw)
    return [text(line), {"matrix": [escaped(one.run.name) for one in content.views]}]


def _scores(view: View) -> list[Block]:
    columns = (
        "label | clips:,d | map3:share:average precision at 3 | f1:share:F1 | precision:share | recall:share | "
        "mostly:text:mostly taken for"
    )
    return [table("Each label, the worst first", label_scores(*view.run.own, view.run.labels), columns)]


def _calibration(figures: Figures, view: View) -> list[Block]:
    (probabilities, targets), folds = view.run.own, view.run.folds[view.run.scored]
    temperature, n_bins = fit_temperature(probabilities, targets), int(np.clip(len(targets) // 40, 5, 15))
    tempered = tempered_out_of_fold(probabilities, targets, folds)
    tables = {
        name: reliability_table(values, targets, n_bins)
        for name, values in (("as predicted", probabilities), ("with a temperature", tempered))
    }
    before, after = (calibration_error(bins) for bins in tables.values())
    sure = "surer than they should be" if temperature > 1.05 else "less sure than they could be"
    caption = (
        f"Expected calibration error, {n_bins} bins: {before:.3f} as predicted, {after:.3f} with a temperature, "
        f"which is fitted for each fold on the other folds. Fitted on all it is {temperature:.2f}: the "
        f"probabilities are {'about right' if 0.95 <= temperature <= 1.05 else sure}."
    )
    return [figures.block(f"Reliability of {view.run.name}", (3.7, 3.3), caption, plots.reliability, tables)]


def _suspects(view: View) -> pd.DataFrame:
    """Suspected labels, with the three guesses in words and each clip's row in the dataset."""
    probabilities, targets = view.run.own
    found = suspects(probabilities, targets, view.run.fnames[view.run.scored], view.run.labels)
    own = found["row"].to_numpy(np.int64)
    lines = zip(own, guesses(probabilities[own]), strict=True)
    words = [[f"{view.labels[label]} {probabilities[row, label]:.0%}" for label in three] for row, three in lines]
    return found.assign(guesses=[" · ".join(three) for three in words], row=view.rows[own])


def _suspected(content: Content) -> list[Block]:
    found, run = content.suspects, content.views[0].run
    if found.empty:
        return [text("No label is contradicted with confidence.")]
    shown = found[found["row"] >= 0].head(N_SUSPECTS)
    columns = "row:clip:clip | label:text:given label | suggested | score:.3f | guesses:text:three guesses"
    line = (
        f"{len(found):,} of {len(run.scored):,} labels are suspected, the surest first. Listen before you correct."
    )
    hint = (
        f"Found by confident learning in the out-of-fold predictions of {escaped(run.name)}. Labels of fewer than "
        "five clips are not judged. The score is the suggested label's probability less the given one's. "
        "suspects.csv, beside this page, lists them all."
    )
    return [text(line), table("Suspected labels", shown, columns, titled=False), text(hint, hint=True)]


def _ensemble(content: Content) -> list[Block]:
    added = contributions(content.runs)
    added["range"] = [f"{low:+.4f} to {high:+.4f}" for low, high in zip(added["low"], added["high"], strict=True)]
    gains = "run | alone:.4f:MAP@3 alone | without:.4f:the others without it | gain:+.4f:it adds | range:text:95%"
    pairs = (
        "first:text:A | second:text:B | differ:share:guesses differ | both:share:both right | "
        "only_first:share:only A right | only_second:share:only B right | neither:share | "
        "labels_first:text:A is better at | labels_second:text:B is better at"
    )
    return [
        table("What each run adds to the ensemble of all", added, gains),
        table("Where the first guesses of two runs differ", disagreements(content.runs), pairs),
    ]


def _parts(views: Sequence[View], blocks_of: Callable[[View], list[Block]]) -> list[Block]:
    """Blocks of each view, under headings where there are several."""
    if len(views) == 1:
        return blocks_of(views[0])
    return [part(view.run.name, blocks_of(view), is_open=view is views[0]) for view in views]
