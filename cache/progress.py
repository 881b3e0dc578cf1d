"""Progress of a long read: a bar with rate and time left on a terminal, nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


@contextmanager
def reading_progress(name: str, n_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error; yields a function that takes the bytes read so far."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=n_bytes)
        yield lambda done: progress.update(task, completed=done)
