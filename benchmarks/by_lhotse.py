"""The same two features by lhotse, as its documentation has it; `pip install lhotse` for this row.

MFCCs of 40 coefficients into one NumPy file a clip, and the waveform at 16 kHz into one wav a clip; its worker
processes are started in each of the two steps, as for its users. Recordings must be at 44.1 kHz.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from benchmarks.kernels import MFCC_RATE, N_MELS, N_MFCC, RATE

AVAILABLE = find_spec("lhotse") is not None


def by_lhotse(paths: list[Path], folder: Path, n_jobs: int) -> int:
    """Compute and store both features of the recordings in an empty folder."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch's threads, in worker processes too: with more they are far slower
    # imported here: it is optional, and takes seconds
    from lhotse import CutSet, Mfcc, MfccConfig, NumpyFilesWriter, Recording, RecordingSet

    shutil.rmtree(folder, ignore_errors=True)
    recordings = (Recording.from_file(path, recording_id=str(number)) for number, path in enumerate(paths))
    cuts = CutSet.from_manifests(recordings=RecordingSet.from_recordings(recordings)).to_eager()
    extractor = Mfcc(MfccConfig(sampling_rate=MFCC_RATE, num_ceps=N_MFCC, num_filters=N_MELS))
    cuts.compute_and_store_features(
        extractor, folder / "mfcc", num_jobs=n_jobs, storage_type=NumpyFilesWriter, progress_bar=False
    )
    cuts.resample(RATE).save_audios(folder / "raw", num_jobs=n_jobs, progress_bar=False)
    return len(paths)
