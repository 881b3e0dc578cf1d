"""The recordings that benchmarks run on: yours (--data), or real ones of the folder shared/ by the checkout."""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "shared" / "tools" / "esc10_dataset.py"
CLIPS_A_COPY = 400


def recordings(data: Path | None, folder: Path, n_clips: int) -> Path:
    """A dataset of at least n_clips clips; made in folder unless data names one, and read once.

    Exits with 0 and one line where there are no recordings to be had.
    """
    if data is None:
        if not TOOL.is_file():
            print("skipped: needs the real recordings of ../shared, which are not here; name your own with --data")
            sys.exit(0)
        data = folder / "data"
        copies = -(-n_clips // CLIPS_A_COPY)
        command = [sys.executable, TOOL, data, "--copies", str(copies)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for path in data.rglob("*"):
        if path.is_file():
            path.read_bytes()
    return data
