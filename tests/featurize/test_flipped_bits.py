"""Any flipped bit of a cache is found by `cache verify` and repaired by the next featurize, byte for byte."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cache.__main__ import main
from cache.specification import MfccSpecification, RawSpecification

RAW = RawSpecification(sample_rate=100)
SPECIFICATIONS = (RAW, RawSpecification(50, "float32"), MfccSpecification(n_mfcc=2, sample_rate=1000))
KINDS = {  # of files, by what their paths have in them
    "chunk": "features/c/",
    "receipt": ".receipts/",
    "table": "s.parquet",
    "plan": "plan.parquet",
    "manifest": "manifest.json",
    "array by slot": "/c/0",
    "root": ".zarr/zarr.json",
    "features": "features/zarr.json",
    "metadata": "zarr.json",
}
pytestmark = [  # 128 mel bands in 500 Hz, clips of less than 2,048 samples
    pytest.mark.filterwarnings("ignore:Empty filters detected"),
    pytest.mark.filterwarnings("ignore:n_fft=2048 is too large"),
]


@pytest.fixture
def cache(tmp_path, write_dataset, noise, featurize):
    """A cache of a long, an empty, a silent and a broken clip, and of short ones."""
    data = tmp_path / "data"
    clips = {f"{i}.wav": noise(3 + i, 1000, seed=i) for i in range(3)}
    clips |= {"long.wav": noise(300, 100), "empty.wav": (np.empty(0), 1000), "silent.wav": (np.zeros(900), 1000)}
    write_dataset(data, clips | {"broken.wav": noise(1)}, {"test.wav": noise(200, 100, seed=7)})
    (data / "audio_train" / "broken.wav").write_text("no sound")
    featurize(data, tmp_path / "cache", SPECIFICATIONS)
    return tmp_path / "cache"


@pytest.fixture
def verify(cache, monkeypatch, capsys):
    """A function that runs `python -m cache verify`: exit code and lines."""

    def verify() -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["cache", "verify", "--cache", str(cache)])
        return main(), capsys.readouterr().out.splitlines()

    return verify


def _flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def _found_and_repaired(cache, featurize, file_bytes, verify, seed, n_flips):
    """Flip bits one after another, each kind of file in its turn."""
    random, before = np.random.default_rng(seed), file_bytes(cache)
    assert verify()[0] == 0
    for flip, kind in zip(range(n_flips), np.resize(list(KINDS), n_flips), strict=True):
        name = random.choice([name for name in before if KINDS[kind] in name])
        bit = int(random.integers(8 * len(before[name])))
        _flip(cache / name, bit)
        code, lines = verify()
        what = f"flip {flip}: bit {bit} of {name}"
        assert code == 1 and any(line.startswith(f"{cache / name}: ") for line in lines), (what, lines)
        featurize(cache.parent / "data", cache, (RAW,))
        after = file_bytes(cache)
        assert [name for name in before.keys() | after if before.get(name) != after.get(name)] == [], what
    assert verify()[0] == 0


@pytest.mark.slow
def test_sixty_flips(cache, featurize, file_bytes, verify):
    _found_and_repaired(cache, featurize, file_bytes, verify, seed=1, n_flips=64)


def test_a_flip_in_each_kind_of_file(cache, featurize, file_bytes, verify):
    _found_and_repaired(cache, featurize, file_bytes, verify, seed=3, n_flips=len(KINDS))


@pytest.mark.slow
def test_hundreds_of_flips(cache, featurize, file_bytes, verify):
    _found_and_repaired(cache, featurize, file_bytes, verify, seed=2, n_flips=300)


def test_a_flip_in_the_writers_files_is_harmless(cache, featurize, file_bytes, verify):
    before = file_bytes(cache)
    (cache / "writer.json").write_bytes(b"\xff{")
    (cache / "writer.lock").write_bytes(b"\x01")
    assert verify()[0] == 0
    featurize(cache.parent / "data", cache, (RAW,))
    assert file_bytes(cache) == before
