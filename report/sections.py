"""The page's sections: what is said, shown and played of a dataset and its runs."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from common.text import escaped, megabytes
from ensemble.calibration import calibration_error, fit_temperature, reliability_table, tempered_out_of_fold
from report import plots
from report.content import HEARD, N_SUSPECTS, Content
from report.dataset import Dataset
from report.page import Block, Figures, part, section, side_by_side, table, text
from report.runs import Run, contributions, disagreements, histories, runs_table
from report.scores import confusion_counts, label_scores

_ROW_IN = 0.19  # of a label in a figure
_WIDE = 4.2, 2.4  # inches, of a figure that stands alone
_NOTES = {"empty": "no samples", "truncated": "its data ends early; used as far as it goes"}


def facts(content: Content) -> list[tuple[str, str, str]]:
    """The numbers at the page's top: name, value, note."""
    clips, train = content.dataset.clips, content.train
    counts, test = train["label"].value_counts(), clips[clips["split"] == "test"]
    span = " to ".join(f"{n:,}" for n in sorted({counts.min(), counts.max()})) if len(counts) else "0"
    hours, median, rates = clips["seconds"].sum() / 3600, clips["seconds"].median(), _rates(clips)
    sound = f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
    rate = f"{rates.index[0] / 1000:g} kHz" if len(rates) else "-"
    others = ", ".join(f"{rate / 1000:g}" for rate in rates.index[1:4])
    n_bytes = sum(store.n_chunks * store.specification.chunk_bytes for store in content.dataset.stores.values())
    checked = f"{int(train['manually_verified'].eq(1).sum()):,} verified by hand" if content.verified else "clips"
    found = [
        ("Training", f"{len(train):,}", checked),
        ("Test", f"{len(test):,}", f"{n:,} labelled" if (n := int((test["label"] != "").sum())) else "clips"),
        ("Labels", f"{len(counts):,}", f"{span} clips each"),
        ("Sound", sound, f"median {median:.1f} s"),
        ("Native rate", rate, f"also {others}" if others else ""),
        ("Recordings", _bytes(clips["size"].sum()), f"stores {_bytes(n_bytes)}" if n_bytes else ""),
    ]
    for run in content.every[:1]:
        low, high = run.facts["map3_low"], run.facts["map3_high"]
        found.append(("MAP@3", f"{run.facts['map3']:.3f}", f"{low:.3f} to {high:.3f}, {escaped(run.name)}"))
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
    if not content.every:
        need = "No run has a finished fold yet. Scores, curves, confusions and suspects need one."
        return [section("runs", "Runs", [text(need, "python -m train conv2d"), *said])]
    sections = [
        section("runs", "Runs", _runs(content, figures) + said),
        section("curves", "Learning curves", _curves(content, figures)),
        section("confusion", "Confusion", _confusion(content, figures)),
        section("scores", "Scores of each label", _parts(content.every, _scores)),
        section(
            "calibration", "Are the probabilities honest?", _parts(content.every, partial(_calibration, figures))
        ),
        section("suspects", "Suspected labels", _suspected(content)),
    ]
    return sections + ([section("ensemble", "Ensemble", _ensemble(content))] if len(content.runs) > 1 else [])


def _bytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else megabytes(n_bytes)


def _rates(clips: pd.DataFrame) -> pd.Series:
    return clips.loc[clips["native_rate"] > 0, "native_rate"].value_counts()


def _recordings(content: Content) -> list[Block]:
    rates, rows = _rates(content.dataset.clips), content.troubles
    blocks = [text(need, command) for need, command in content.dataset.needs]
    if rows.empty:
        blocks.append(text("No recording is empty, truncated or failed."))
    else:
        counts = ", ".join(f"{count} {status}" for status, count in rows["status"].value_counts().items())
        reasons = rows["reason"].where(rows["reason"] != "", rows["status"].map(_NOTES).fillna(""))
        shown = rows.assign(row=rows.index, reason=reasons)
        title = f"Recordings with problems: {counts}"
        blocks.append(table(title, shown, "row:clip:clip | split | label | status | reason"))
    if content.duplicates:
        title = f"Recordings that are there more than once, byte by byte: {len(content.duplicates)}"
        blocks.append(
            table(title, pd.DataFrame(content.duplicates, columns=["clips", "where"]), "clips:clip | where")
        )
    else:
        blocks.append(text("No recording is there twice."))
    if len(rates) > 1:
        shown = pd.DataFrame(
            {"rate": rates.index, "clips": rates.to_numpy(), "share": rates.to_numpy() / rates.sum()}
        )
        blocks.append(table("Native sample rates", shown, "rate:,d:rate (Hz) | clips:,d | share:share"))
    return blocks


def _labels(content: Content, figures: Figures) -> list[Block]:
    train, counts = content.train, content.train["label"].value_counts()
    medians = train[train["seconds"] > 0].groupby("label")["seconds"].median().sort_values()
    if medians.empty:
        return [text("The dataset has no labelled clips with sound.")]
    least, most = escaped(counts.index[-1]), escaped(counts.index[0])
    of_counts = f"{len(counts)} labels, {counts.iloc[0]:,} clips each."
    if counts.iloc[-1] < counts.iloc[0]:
        of_counts = (
            f"{len(counts)} labels. Fewest clips of a label: {counts.iloc[-1]:,} ({least}); most: "
            f"{counts.iloc[0]:,} ({most}); mean: {counts.mean():.0f}."
        )
    of_lengths = (
        f"Median length from {medians.iloc[0]:.2f} s ({escaped(medians.index[0])}) to {medians.iloc[-1]:.2f} s "
        f"({escaped(medians.index[-1])}). Dots are medians, lines hold the middle half; wide parts are lengths "
        "that many clips have."
    )
    size = (4.0, 0.9 + _ROW_IN * len(counts))
    bars = figures.block("Clips of each label", size, of_counts, plots.label_counts, train)
    violins = figures.block("Lengths of each label", size, of_lengths, plots.length_violins, train)
    return [side_by_side(bars, violins)]


def _lengths(content: Content, figures: Figures) -> list[Block]:
    clips = content.dataset.clips[content.dataset.clips["seconds"] > 0]
    if clips.empty:
        return [text("No clip has a length.")]
    spans = clips.groupby("split", sort=False)["seconds"].agg(["min", "max", "median"]).itertuples()
    words = "; ".join(f"{row.Index}: {row.min:.2f} to {row.max:.2f} s, median {row.median:.2f} s" for row in spans)
    figure = figures.block("Lengths in train and test", _WIDE, f"{words}.", plots.length_histogram, clips)
    if content.lengths.empty:
        return [figure, text("No exact length is suspiciously frequent.")]
    rows = content.lengths.assign(heard=[rows[:HEARD] for rows in content.lengths["rows"]])
    columns = "seconds:.3f | samples:,d | clips:,d | expected:.1g | labels:,d | heard:clip:some of them"
    why = (
        "At least ten times as many clips have these lengths as have the lengths around them. Often a tool cut "
        "them, or they are pieces of one recording."
    )
    return [figure, table("Exact lengths that are suspiciously frequent", rows, columns), text(why, hint=True)]


def _examples(content: Content, figures: Figures) -> list[Block]:
    if not content.examples:
        return [text("There are no examples: --examples is 0, or no features are there.", "python -m featurize")]
    counts = (content.train if len(content.train) else content.dataset.clips)["label"].value_counts()
    blocks = [text("Spread over each label's lengths, clips that are verified by hand first.", hint=True)]
    for label, rows in content.examples.items():
        cards, note = (
            [_card(content.dataset, row, figures) for row in rows],
            f"{len(rows)} of {counts[label]:,} clips",
        )
        blocks.append(
            {"cards": cards, "title": escaped(label) or "no label", "note": note, "open": len(blocks) == 1}
        )
    return blocks


def _card(dataset: Dataset, row: int, figures: Figures) -> Block:
    clip, draws = dataset.clips.loc[row], []
    if dataset.has("raw")[row]:
        samples, rate = dataset.samples(row), dataset.rate
        draws = [partial(plots.waveform, samples, rate), partial(plots.loudest_moment, samples, rate)]
    for kind, draw in (("logmel", plots.log_mel), ("mfcc", plots.mfcc)):
        if dataset.has(kind)[row]:
            specification, frames = dataset.stores[kind].specification, dataset.features(kind, row)
            draws.append(partial(draw, frames, specification.sample_rate, specification.hop_length))
    verified = {1: ", verified", 0: ", not verified"}.get(clip.get("manually_verified"), "")
    level = f" RMS {clip['rms_db']:.0f} dBFS, peak {clip['peak_db']:.0f}." if np.isfinite(clip["rms_db"]) else ""
    said = f"Pictures of {clip['clip']}, {clip['label']}, {clip['seconds']:.2f} s.{level}"
    svg = figures.card(f"clip {row} {clip['label']}", said, draws)
    return {"row": row, "note": f"{clip['seconds']:.1f} s{verified}", "svg": svg}


def _levels(content: Content, figures: Figures) -> list[Block]:
    sound = content.dataset.clips[content.dataset.clips["rms_db"].notna()]
    if sound.empty:
        return [text("Levels and players need the raw waveforms.", "python -m featurize --features raw")]
    caption = (
        f"Median RMS {sound['rms_db'].median():.1f} dBFS, median peak {sound['peak_db'].median():.1f} dBFS; "
        f"{int((sound['clipped'] > 0).sum()):,} clips reach full scale; a clip is silent for "
        f"{sound['silence'].mean():.1%} of its time, on average."
    )
    hint = (
        f"Measured on the raw store, at {content.dataset.rate:,} Hz, where peaks of a clipped recording can lie "
        "beyond full scale. Silence is the share of 20 ms blocks whose RMS is below -60 dBFS. Players of clips "
        "whose peak is below -12 dBFS are raised to it."
    )
    blocks = [
        figures.block("Levels of the clips", _WIDE, caption, plots.level_histogram, sound),
        text(hint, hint=True),
    ]
    columns = (
        "row:clip:clip | label | rms_db:z.1f:RMS (dBFS) | peak_db:z.1f:peak (dBFS) | "
        "clipped:,.0f:at full scale (samples) | silence:share | offset:z.4f:DC offset"
    )
    for title, rows in content.extremes.items():
        if rows:
            shown = table(title, sound.loc[rows].assign(row=rows), columns, titled=False)
            blocks.append(part(title, [shown], is_open=len(blocks) == 2))
    return blocks


def _runs(content: Content, figures: Figures) -> list[Block]:
    found = runs_table([*content.runs, *content.every[: len(content.every) - len(content.runs)]])
    for metric in ("accuracy", "map3"):
        ends = zip(found[f"{metric}_low"], found[f"{metric}_high"], strict=True)
        found[f"{metric}_range"] = [f"{low:.3f} - {high:.3f}" for low, high in ends]
    columns = (
        "run | net | folds | clips:,d | accuracy:.3f | accuracy_range:text:95% | map3:.3f:MAP@3 | "
        "map3_range:text:95% | time | parameters:,d"
    )
    hint = "Scores are of each clip by a model that did not train on it; intervals are by bootstrap over clips."
    blocks = [table("Runs", found, columns, titled=False), text(hint, hint=True)]
    if len(found) > 1:
        best, size = found.sort_values("map3").iloc[-1], (_WIDE[0], 0.8 + 0.4 * len(found))
        words = f"Best MAP@3: {best['map3']:.3f} ({escaped(best['run'])}). Where intervals overlap, it may be luck."
        blocks.append(figures.block("Scores of the runs", size, words, plots.score_intervals, found))
    if found["differs"].any():
        shown = found[found["differs"] != ""]
        blocks.append(table("Settings that are not the same in all runs", shown, "run | differs:text:settings"))
    return blocks


def _curves(content: Content, figures: Figures) -> list[Block]:
    def curves_of(run: Run) -> list[Block]:
        if not (curves := histories(run)):
            return [text(f"{escaped(run.name)}: its folder has no history_*.csv.", hint=True)]
        three = []
        for metric, best_of in (("loss", "min"), ("accuracy", "max"), ("map3", "max")):
            best = np.mean([curve[f"val_{metric}"].agg(best_of) for curve in curves])
            words = f"The best epoch of each of {len(curves)} folds: {best:.3f} on average."
            draw = partial(plots.learning_curves, curves, metric)
            three.append(figures.block(f"{metric} of {run.name}", (3.1, 2.3), words, draw))
        return [side_by_side(*three)]

    hint = (
        "Thin lines are folds, thick ones their mean. The training loss is measured on windows that are augmented "
        "and mixed, so it does not compare with that of the validation clips. Accuracy on such windows is not "
        "accuracy: it is left out."
    )
    return [*_parts(content.runs, curves_of), text(hint, hint=True)]


def _confusion(content: Content, figures: Figures) -> list[Block]:
    run, labels = content.every[0], content.labels
    counts = confusion_counts(run.own[1], run.own[0].argmax(1), len(labels))
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    pairs = [np.unravel_index(place, wrong.shape) for place in np.argsort(-wrong, axis=None, kind="stable")[:3]]
    words = [f"{labels[a]} taken for {labels[b]} ({wrong[a, b]})" for a, b in pairs if wrong[a, b]]
    line = f"Most often in {escaped(run.name)}: {', '.join(words)}." if words else "No clip is confused."
    size = (1.8 + 0.26 * len(counts), 1.6 + 0.24 * len(counts))
    for share in (True, False) if figures.saves else ():  # the page has its own, of buttons
        draw = partial(plots.confusion, counts, run.labels, share)
        figures.block(f"Confusion by {'share' if share else 'count'}", size, line, draw)
    return [text(line), {"matrix": [escaped(one.name) for one in content.every]}]


def _scores(run: Run) -> list[Block]:
    columns = (
        "label | clips:,d | map3:share:average precision at 3 | f1:share:F1 | precision:share | recall:share | "
        "mostly:text:mostly taken for"
    )
    return [table("Each label, the worst first", label_scores(*run.own, run.labels), columns)]


def _calibration(figures: Figures, run: Run) -> list[Block]:
    (probabilities, targets), folds = run.own, run.folders[0].folds[run.scored]
    temperature, n_bins = fit_temperature(probabilities, targets), int(np.clip(len(targets) // 40, 5, 15))
    tempered = tempered_out_of_fold(probabilities, targets, folds)
    kinds = {"as predicted": probabilities, "with a temperature": tempered}
    tables = {name: reliability_table(values, targets, n_bins) for name, values in kinds.items()}
    before, after = (calibration_error(bins) for bins in tables.values())
    sure = "surer than they should be" if temperature > 1 else "less sure than they could be"
    caption = (
        f"Expected calibration error, {n_bins} bins: {before:.3f} as predicted, {after:.3f} with a temperature, "
        f"which is fitted for each fold on the other folds. Fitted on all it is {temperature:.2f}: the "
        f"probabilities are {sure if abs(temperature - 1) > 0.05 else 'about right'}."
    )
    return [figures.block(f"Reliability of {run.name}", (3.7, 3.3), caption, plots.reliability, tables)]


def _suspected(content: Content) -> list[Block]:
    found, run = content.suspects, content.every[0]
    if found.empty:
        return [text("No label is contradicted with confidence.")]
    line = (
        f"{len(found):,} of {len(run.scored):,} labels are suspected, the surest first. Listen before you correct."
    )
    line += f" The first {N_SUSPECTS} are listed." if len(found) > N_SUSPECTS else ""
    hint = (
        f"Found by confident learning in the out-of-fold predictions of {escaped(run.name)}. Labels of fewer than "
        "five clips are not judged. The score is the suggested label's probability less the given one's. "
        "suspects.csv, beside this page, lists them all."
    )
    columns = "row:clip:clip | label:text:given label | suggested | score:.3f | guesses:text:three guesses"
    shown = found[found["row"] >= 0].head(N_SUSPECTS)
    return [text(line), table("Suspected labels", shown, columns, titled=False), text(hint, hint=True)]


def _ensemble(content: Content) -> list[Block]:
    added = contributions(content.runs)
    added["range"] = [f"{low:+.4f} to {high:+.4f}" for low, high in zip(added["low"], added["high"], strict=True)]
    gains = "run | alone:.4f:MAP@3 alone | without:.4f:the others without it | gain:+.4f:it adds | range:text:95%"
    pairs = (
        "first:text:A | second:text:B | differ:.0%:they differ | both:.0%:both right | only_first:.0%:only A | "
        "only_second:.0%:only B | neither:.0%"
    )
    apart = disagreements(content.runs)
    better = "first:text:A | second:text:B | labels_first:text:A is better at | labels_second:text:B is better at"
    return [
        table("What each run adds to the ensemble of all", added, gains),
        table("Where the first guesses of two runs differ", apart, pairs),
        table("Labels of the clips that only one of the two guesses right", apart, better),
    ]


def _parts(runs: Sequence[Run], blocks_of: Callable[[Run], list[Block]]) -> list[Block]:
    """Blocks of each run, under headings where there are several."""
    if len(runs) == 1:
        return blocks_of(runs[0])
    return [part(run.name, blocks_of(run), is_open=run is runs[0]) for run in runs]
