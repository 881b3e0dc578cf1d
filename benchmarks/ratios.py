"""Timing by turns: every case runs once a round, so that a machine whose speed drifts slows all of them alike.

What is printed is a ratio of two cases in the same round: its median over the rounds, and its range.
"""

import gc
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median


def header(*packages: str) -> str:
    """A line on the machine and the versions that a table was measured with."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}"


def by_turns(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each case once a round; a case returns how many items it did; seconds an item, by case."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            gc.collect()
            started = time.perf_counter()
            n_items = case()
            seconds[name].append((time.perf_counter() - started) / n_items)
    return seconds


def ratio(seconds: dict[str, list[float]], name: str, reference: str) -> str:
    """How many times the time of reference name takes, round by round: median (least to greatest)."""
    ratios = [a / b for a, b in zip(seconds[name], seconds[reference], strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table(title: str, heads: list[str], rows: list[list[str]]) -> str:
    """Plain text: a title, a line of heads, the rows; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in [heads, *rows]
    ]
    return "\n".join([title, "-" * len(lines[0]), lines[0], "-" * len(lines[0]), *lines[1:], ""])


def times(seconds: dict[str, list[float]], reference: str, unit: str) -> list[list[str]]:
    """Rows of a table of times against a reference: name, items a second, times the reference's time."""
    return [
        [name, f"{1 / median(values):,.1f} {unit}/s", ratio(seconds, name, reference)]
        for name, values in seconds.items()
    ]
