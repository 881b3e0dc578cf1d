"""`python -m report`: one page about a dataset and its runs."""

if __name__ == "__main__":
    from earmark import refuse_hidden_packages

    refuse_hidden_packages()  # before anything of ours is imported

import sys
import webbrowser
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from common import EarmarkError
from common.command import Command
from common.files import write_atomic
from common.text import megabytes
from ensemble.predictions import folder_of
from report.audio import Players, seconds_each
from report.content import Content, data_for_script
from report.dataset import read_dataset
from report.page import Figures, render, section
from report.runs import find_runs, read_runs
from report.sections import data_sections, facts, run_sections

_COMMAND = Command("report", "rerun the command; nothing was written")


class SettingsError(EarmarkError):
    """A setting that nothing can make right."""


@dataclass(frozen=True)
class Settings:
    """Write a page about the dataset and the runs on it, to look at and to listen to.

    Reads the cache and the predictions folders; decodes no recording. The page is one file that needs nothing else.
    It works without a run, and says what each missing part needs. Beside it stands suspects.csv, the labels that
    the runs most confidently contradict. Exit codes: 0 done, 2 wrong input or usage, 130 stopped by Ctrl-C.
    """

    folders: Annotated[
        Positional[tuple[Path, ...]], arg(name="dir", metavar="[DIR ...]", help_behavior_hint="")
    ] = ()
    """Predictions folders to report on (default: every one below WORK, but for quick tries in WORK/quick)."""
    work: Annotated[Path, arg(metavar="WORK")] = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="(default: WORK/cache)")] = None
    """Folder of the cache, or s3://BUCKET/PREFIX."""
    name: Annotated[str, arg(metavar="NAME", help_behavior_hint="(default: none)")] = ""
    """Report on the runs of this name, those below WORK/NAME."""
    output: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: WORK/NAME/report.html)")] = (
        None
    )
    """The page to write."""
    open: Annotated[bool, arg(help_behavior_hint="")] = False
    """Open the page in a browser."""
    figures: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Also write every figure to this folder, as PNG and SVG."""
    examples: Annotated[int, arg(metavar="N")] = 3
    """Examples of each label, 0 to 50."""


def main(arguments: list[str]) -> int:
    """Parse, read, write, and say where the page is."""
    settings = tyro.cli(Settings, prog="python -m report", args=arguments, config=(FlagCreatePairsOff,))
    if not 0 <= settings.examples <= 50:
        raise SettingsError(f"--examples: number must be 0 to 50, got {settings.examples}; give another")
    base = folder_of(settings.work, settings.name)
    output = settings.output or base / "report.html"
    if output.is_dir():
        raise SettingsError(f"{output}: output must be a file, got a folder; name a file")
    html, suspects = make_page(settings)
    written = [output]
    write_atomic(output, html.encode())
    if suspects is not None:
        written.append(output.with_name("suspects.csv"))
        write_atomic(written[-1], suspects.encode())
    _COMMAND.result(f"page of {megabytes(len(html))}: {output}")
    for path in written[1:]:
        _COMMAND.result(f"suspected labels: {path}")
    if settings.open:
        webbrowser.open(output.resolve().as_uri())
    return 0


def make_page(settings: Settings) -> tuple[str, str | None]:
    """The page's HTML, and the text of suspects.csv, None without runs.

    Raises:
        CacheError: no cache. PredictionsError: a folder that was given holds no predictions.
    """
    folders, notes = find_runs(settings.work, settings.name, settings.folders)
    runs, refused = read_runs(folders, settings.work)
    dataset = read_dataset(settings.cache or str(settings.work / "cache"))
    content, figures = Content(dataset, runs, settings.examples), Figures(settings.figures)
    limit = seconds_each(dataset.clips["seconds"].to_numpy()[content.played])
    with Players(dataset.samples, dataset.rate, content.played, limit) as players:
        sections = data_sections(content, figures) + run_sections(content, figures, notes + refused)
        data = data_for_script(content, players.sounds())
    html = render(
        title="Data and runs" if runs else "Data",
        subtitle=f"{dataset.place} · {datetime.now():%d %B %Y, %H:%M}",
        facts=facts(content),
        sections=[*sections, section("clips", "All clips", [])],
        names=dataset.clips["clip"].tolist(),
        data=data,
        footer="Written by python -m report. Everything is in this file: it works offline.",
    )
    if content.suspects is None:
        return html, None
    return html, content.suspects[["fname", "label", "suggested", "score"]].to_csv(index=False, lineterminator="\n")


if __name__ == "__main__":
    sys.exit(_COMMAND.run(main))
