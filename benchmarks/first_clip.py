"""Seconds from the end of imports to the first decoded clip of a run, printed; there the run ends.

python benchmarks/first_clip.py [arguments of python -m featurize]
"""

import os
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's own names would hide the packages

from featurize.__main__ import main
from featurize.decode import Recording

IMPORTED = time.perf_counter()


def decode_and_stop(recording: Recording, decode=Recording.samples) -> None:
    """Decode a clip, print, and end the process."""
    decode(recording)
    print(time.perf_counter() - IMPORTED, flush=True)
    os._exit(0)


if __name__ == "__main__":
    Recording.samples = decode_and_stop
    main()
