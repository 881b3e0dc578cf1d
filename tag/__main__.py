"""`python -m tag FILE_OR_FOLDER ...`: the labels of recordings, by the nets that were trained."""

if __name__ == "__main__":
    from earmark import refuse_hidden_packages

    refuse_hidden_packages()  # before anything of ours is imported

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from common.command import DONE, SOME_FAILED, Command, ctrl_c_ends_at_once

if __name__ == "__main__":
    ctrl_c_ends_at_once()  # while libraries are imported

import pandas as pd
import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from common.files import write_atomic
from common.progress import progress
from common.text import help_text, listed, megabytes
from ensemble.predictions import folder_of
from tag.formats import FORMATS
from tag.recordings import RecordingsError, find_recordings
from tag.timeline import Timeline, segments_table
from train.environment import check_backend, started_keras

_DESCRIPTION = """Tag recordings: every fold of every net that was trained, combined, and the three best labels.

Takes files (wav, flac, ogg, opus, mp3 and what else libsndfile reads) and folders, which are searched for such
files. Needs the predictions folders that train made; neither the dataset nor its cache. With --timeline a window
slides over each recording, and the result is what is to be heard from when to when.

The column "right" says how often a first guess of such a probability was right on clips that the nets had not
trained on. `python -m tag export NET_FOLDER OUT` writes a net as one model for Keras, ONNX Runtime or LiteRT.

Exit codes: 0 done, 1 done but some recordings failed, 2 wrong input or usage, 130 stopped by Ctrl-C."""
_FORMATS = {".csv": "csv", ".jsonl": "jsonl"}


@dataclass(frozen=True)
class Runs:
    """Which nets."""

    work: Annotated[Path, arg(metavar="WORK")] = Path("work")
    """Folder of everything that is generated: every WORK/predictions_* takes part."""
    name: Annotated[str, arg(metavar="NAME", help_behavior_hint="(default: none)")] = ""
    """Name of a run that was kept apart: WORK/NAME takes the place of WORK."""
    runs: Annotated[tuple[Path, ...], arg(metavar="DIR ...", help_behavior_hint="(default: as --work says)")] = ()
    """These predictions folders instead."""
    weights: Annotated[tuple[float, ...], arg(metavar="W ...", help_behavior_hint="(default: all equal)")] = ()
    """Weight of each folder, 0 or more, in the order of the folders."""
    raw_scores: Annotated[bool, arg(help_behavior_hint="(default: calibrated)")] = False
    """Give the nets' own probabilities, not calibrated by a temperature."""


@dataclass(frozen=True)
class Output:
    """Where the tags go. - is standard output."""

    csv: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Write comma-separated values."""
    jsonl: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Write a JSON object a line."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: -)")] = None
    """Write the table; CSV or JSON lines if the name ends in .csv or .jsonl."""
    audacity: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(with --timeline)")] = None
    """Write labels for Audacity, of one recording."""
    raven: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(with --timeline)")] = None
    """Write a selection table for Raven, of one recording."""


@dataclass(frozen=True)
class Segments:
    """What is to be heard when, in long recordings."""

    timeline: Annotated[bool, arg(help_behavior_hint="")] = False
    """Slide a window over each recording, and give segments."""
    window: Annotated[float | None, arg(metavar="S", help_behavior_hint="(default: the nets' longest window)")] = (
        None
    )
    """Seconds that are judged at a time."""
    hop: Annotated[float | None, arg(metavar="S", help_behavior_hint="(default: half a window)")] = None
    """Seconds from one window to the next."""
    threshold: Annotated[float, arg(metavar="P")] = 0.5
    """Probability that a label needs."""
    merge: Annotated[float, arg(metavar="S")] = 0.0
    """Close gaps of up to so many seconds between segments of one label."""


@dataclass(frozen=True)
class Settings:
    """The flags of the command."""

    paths: Annotated[
        Positional[tuple[Path, ...]], arg(name="file", metavar="FILE_OR_FOLDER ...", help_behavior_hint="")
    ] = ()
    """Recordings, and folders of recordings."""
    nets: Runs = field(default_factory=Runs)
    out: Output = field(default_factory=Output)
    segments: Segments = field(default_factory=Segments)


_EXPORT_DESCRIPTION = """Write a trained net as one model that other programs use: a waveform in, the probability of
each label out. Features, the net of every fold, their mean and the calibration are all inside.

OUT.keras opens with keras.models.load_model, without earmark; OUT.onnx is for ONNX Runtime, OUT.tflite for LiteRT.
A file beside it, such as bird.onnx.json, holds the labels in the order of the probabilities, and the sample
rate that the model wants: resampling a recording to it is up to the program. docs/tagging.md has an example."""


@dataclass(frozen=True)
class ExportSettings:
    """The flags of `python -m tag export`."""

    net: Annotated[Positional[Path], arg(name="net-folder", metavar="NET_FOLDER")]
    """The predictions folder of the net."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """File to write, .keras, .onnx or .tflite. A file that is there is replaced only if it is an earlier export."""
    fold: Annotated[tuple[int, ...], arg(metavar="N ...", help_behavior_hint="(default: every finished one)")] = ()
    """Only these folds; one alone is smaller and faster, and a little less often right."""
    raw_scores: Annotated[bool, arg(help_behavior_hint="(default: calibrated)")] = False
    """Give the net's own probabilities, not calibrated by a temperature."""


def check(settings: Settings) -> None:
    """Refuse settings that nothing can make right.

    Raises:
        EarmarkError: names the flag, the rule and the value.
    """
    segments, given = settings.segments, _given(settings.out)
    limits = {"window": (0.01, 3600), "hop": (0.01, 3600), "threshold": (0, 1), "merge": (0, 86_400)}
    for name, (low, high) in limits.items():
        value = getattr(segments, name)
        if value is not None and not low <= value <= high:
            raise RecordingsError(f"--{name} must be {low} to {high:,}, got {value}; see --help")
    used = [name for name in ("audacity", "raven") if name in given]
    used += [name for name in limits if getattr(segments, name) != getattr(Segments(), name)]
    if not segments.timeline and used:
        raise RecordingsError(f"--{used[0]} needs --timeline, which gives segments; give both")
    if len(given) > 1:
        raise RecordingsError(f"give one of {', '.join(f'--{name}' for name in given)}, got {len(given)}")
    folder_of(settings.nets.work, settings.nets.name)
    for path in given.values():
        if path.is_dir():
            raise RecordingsError(f"{path}: output must be a file, got a folder; name a file")


def main(arguments: list[str] | None = None) -> int:
    """Run the command, with the arguments of this process unless given; see common.command for how it ends."""
    command = Command("tag", "nothing was written")

    def act(arguments: list[str]) -> int:
        if arguments[:1] == ["export"]:
            return _export(command, arguments[1:])
        options = {"description": help_text(_DESCRIPTION), "config": (FlagCreatePairsOff, OmitArgPrefixes)}
        settings = tyro.cli(Settings, prog="python -m tag", args=arguments, **options)
        check(settings)
        paths, remarks = find_recordings(settings.paths)
        for line in remarks:
            command.say(line)
        kind, place = _wanted(settings.out)
        if kind in ("audacity", "raven") and len(paths) > 1:
            raise RecordingsError(f"--{kind} must be given one recording, got {len(paths)}; tag them one by one")
        check_backend()
        # half the time where TensorFlow leaves them off; the numbers differ by 1e-8
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        started_keras()
        return _tag(command, settings, paths, kind, place)

    return command.run(act, arguments)


def _tag(command: Command, settings: Settings, paths: list[Path], kind: str, place: Path | None) -> int:
    from tag.tagger import Tagger  # here, as it imports Keras

    nets = settings.nets
    tagger = Tagger.open(nets.work, nets.runs, nets.name, nets.weights, calibrated=not nets.raw_scores)
    for path in tagger.left_out:
        command.say(f"{path} is left out: no fold is finished yet")
    used, n_planned = listed(net.folder.path for net in tagger.nets), sum(net.folder.n_folds for net in tagger.nets)
    folds = f"{tagger.n_folds} of {n_planned}" if tagger.n_folds < n_planned else f"{n_planned}"
    command.say(f"{len(paths):,} recordings by {folds} folds of {used}")
    if settings.segments.timeline:
        tags, failed = _timelines(command, tagger, paths, settings.segments)
        if tags.empty and len(failed) < len(paths):
            threshold = settings.segments.threshold
            command.say(f"no label has a probability of {threshold:g} or more; try a lower --threshold")
    else:
        tags = tagger.table(tagger.tagged(paths, _shown))
        failed = {row.recording: row.problem for row in tags.itertuples() if not row.label_1}
        for row in tags.itertuples():
            if row.problem and row.label_1:
                command.say(f"{row.recording}: {row.problem}")
    text = FORMATS[kind](tags)
    if place is None and (kind == "table" or sys.stdout.isatty()):
        command.result(text.splitlines())  # escaped: names from outside could steer a terminal
    elif place is None:
        sys.stdout.write(text)
    else:
        write_atomic(place, text.encode())
        command.say(f"tags of {len(paths) - len(failed):,} recordings: {place}")
    for path, problem in failed.items():
        command.say(f"{path}: failed: {problem}")
    return SOME_FAILED if failed else DONE


def _export(command: Command, arguments: list[str]) -> int:
    options = {"description": help_text(_EXPORT_DESCRIPTION), "config": (FlagCreatePairsOff,)}
    settings = tyro.cli(ExportSettings, prog="python -m tag export", args=arguments, **options)
    check_backend()
    started_keras()
    from tag.export import beside, export  # here, as it imports Keras

    made = export(settings.net, settings.out, settings.fold, not settings.raw_scores)
    command.say(f"give it mono waveforms at {made.sample_rate:,} Hz: resampling is up to the program that uses it")
    folds = f"fold{'s' if len(made.folds) > 1 else ''} {listed(made.folds)}"
    sizes = f"{made.sample_rate:,} Hz in, {len(made.labels)} probabilities out"
    size = megabytes(settings.out.stat().st_size)
    command.result(
        [
            f"model of {size}: {settings.out} ({made.net}, {folds}; {sizes})",
            f"labels and sample rate: {beside(settings.out)}",
        ]
    )
    return DONE


def _timelines(
    command: Command, tagger: Any, paths: list[Path], given: Segments
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The segments of every recording, and why recordings failed."""
    timeline, found, failed = Timeline(given.window, given.hop, given.threshold, given.merge), [], {}
    for path in paths:
        if len(paths) > 1:
            command.say(f"{path}")
        try:
            tags = tagger.timeline(path, timeline, _shown)
        except RecordingsError as error:
            failed[str(path)] = str(error)
            continue
        if len(paths) > 1:
            tags.insert(0, "recording", str(path))
        found.append(tags)
    return pd.concat(found or [segments_table([])], ignore_index=True), failed


@contextmanager
def _shown(step: str, total: float) -> Iterator[Callable[[float], None]]:
    """A progress bar of a step of the tagger's."""
    unit = ("min", 60) if step == "decode" else ("predictions", 1)
    with progress(step, total, *unit) as steps:
        yield steps.advance


def _given(out: Output) -> dict[str, Path]:
    return {name: path for name, path in vars(out).items() if path is not None}


def _wanted(out: Output) -> tuple[Literal["table", "csv", "jsonl", "audacity", "raven"], Path | None]:
    """The format, and the file to write; None for standard output."""
    (name, path), *_ = [*_given(out).items(), ("output", Path("-"))]
    kind = _FORMATS.get(path.suffix, "table") if name == "output" else name
    return kind, None if str(path) == "-" else path


if __name__ == "__main__":
    sys.exit(main())
