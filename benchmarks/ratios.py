"""Timing by turns: every case runs once a round, so that a machine whose speed drifts slows all of them alike.

What is printed is a ratio of two cases in the same round: its median over the rounds, and its range. What other
processes took of the machine meanwhile is printed too: a ratio with and without a second core is not the same.
"""

import gc
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median


def header(*packages: str) -> str:
    """A line on the machine and the versions that a table was measured with."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}\n"


def clocked(case: Callable[[], int]) -> Callable[[], float]:
    """A case that returns seconds an item, from one that returns how many items it did."""

    def timed() -> float:
        started = time.perf_counter()
        n_items = case()
        return (time.perf_counter() - started) / n_items

    return timed


def by_turns(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each case once a round; a case returns seconds an item. Returns them by case."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds):
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
        for name, case in cases.items():
            gc.collect()
            seconds[name].append(case())
    return seconds


def ratio(seconds: dict[str, list[float]], name: str, reference: str) -> str:
    """How many times the time of reference name takes, round by round: median (least to greatest)."""
    ratios = [a / b for a, b in zip(seconds[name], seconds[reference], strict=True)]
    return spread(ratios)


def spread(values: list[float], digits: int = 2) -> str:
    """Median (least to greatest)."""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def times(seconds: dict[str, list[float]], reference: str, unit: str) -> list[list[str]]:
    """Rows of a table of times against a reference: name, items a second, times the reference's time."""
    return [
        [name, f"{1 / median(values):,.1f} {unit}/s", ratio(seconds, name, reference)]
        for name, values in seconds.items()
    ]


def table(title: str, heads: list[str], rows: list[list[str]]) -> str:
    """Plain text: a title, a line of heads, the rows; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in [heads, *rows]]
    rule = "-" * len(lines[0])
    return "\n".join([title, rule, lines[0], rule, *lines[1:], ""])


class Bystanders:
    """What other processes take of the machine from here on; as text, a line to print below the tables.

    Linux alone says (/proc/stat); elsewhere the text is empty. Processes of ours that were not waited for count
    as others.
    """

    def __init__(self):
        self._started, self._busy = time.perf_counter(), _others_seconds()

    def __str__(self) -> str:
        if self._busy is None:
            return ""
        cores = (_others_seconds() - self._busy) / (time.perf_counter() - self._started)
        return f"Other processes kept {max(cores, 0):.2f} of {os.cpu_count()} cores busy meanwhile."


def _others_seconds() -> float | None:
    """Core-seconds since the machine's start that neither idled nor were ours."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    ours = sum(os.times()[:4])  # those of ended children included
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - ours
