"""Planning and opening a cache of a million clips, without audio: seconds and memory, each step in its own process.

    python benchmarks/plan.py [--clips 1000000] [--folder FOLDER]

The clips are made up, 10 s each; looks at files and headers are left out, as those are the disk's time. The steps:

    plan     into an empty cache: groups, offsets, jobs, tables and the store's metadata written
    again    over a complete cache with one store: receipts read and folded, nothing to do, the summary's lines
    open     the clip table and the raw store of that cache, as training opens them

Memory is the peak of the process: in total, above imports, and above imports and the dataset's own table.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages

from benchmarks.ratios import Bystanders, header, table

STEP = Path(__file__).with_name("planning.py")


def measured(step: str, cache: Path, n_clips: int) -> dict[str, float]:
    """A step's seconds and peaks."""
    command = [sys.executable, STEP, step, cache, "--clips", str(n_clips)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def row(step: str, figures: dict[str, float]) -> list[str]:
    """A step's line of the table."""
    above = [figures["peak"] - figures[base] for base in ("imports", "dataset")]
    return [step, f"{figures['seconds']:.2f}", *(f"{value:.0f}" for value in (figures["peak"], *above))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000, help="clips (default: 1,000,000)")
    parser.add_argument("--folder", type=Path, help="where to put the cache (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        cache, bystanders = Path(temporary) / "cache", Bystanders()
        print(header("numpy", "pandas", "pyarrow", "zarr"))
        rows = []
        for step in ("plan", "complete", "again", "open"):
            figures = measured(step, cache, arguments.clips)
            if step != "complete":  # the receipts that jobs would write
                rows.append(row(step, figures))
        heads = ["", "s", "peak MB", "above imports", "and dataset"]
        print(table(f"{arguments.clips:,} clips, one store", heads, rows))
        size = sum(path.stat().st_size for path in cache.glob("*.parquet"))
        print(f"{size / 1e6:.1f} MB of tables, {size / arguments.clips:.0f} bytes a clip.")
        print(bystanders)


if __name__ == "__main__":
    main()
