import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cache import CacheError, LogmelSpecification, MfccSpecification, RawSpecification, open_cache
from cache.storage import LocalStorage

ROOT = Path(__file__).parents[3]
RATE = 2000
KINDS = {"raw": (1000, 1), "mfcc": (2, 8), "logmel": (2, 3)}


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_dataset, noise):
    """A folder with a cache of 9 training clips, two of them without sound, and 3 test clips; 0.3 to 1.1 s long."""
    from featurize.datasets import read_dataset
    from featurize.run import Options, run

    folder = tmp_path_factory.mktemp("made")
    train = {f"{i}.wav": noise(0.3 + 0.1 * i, RATE, i) for i in range(9)} | {"3.wav": noise(0, RATE)}
    data = write_dataset(folder / "data", train, {f"t{i}.wav": noise(1, RATE, 50 + i) for i in range(3)})
    (data / "audio_train" / "5.wav").write_text("this is no recording")
    specifications = RawSpecification(RATE), MfccSpecification(8, RATE), LogmelSpecification(3, RATE)
    run(read_dataset(LocalStorage(data)), LocalStorage(folder / "cache"), specifications, Options())
    return folder / "cache"


@pytest.fixture
def cache(made):
    return open_cache(made)


@pytest.mark.parametrize(("kind", "shape"), KINDS.items())
def test_a_window_of_each_clip_with_sound_and_its_label_id(cache, kind, shape):
    windows = cache.windows(kind, seconds=0.5)
    assert windows.shape == shape and windows.labels == cache.labels == ["Bell", "None", "Rain drops"]
    assert windows.rows.tolist() == [0, 1, 2, 4, 6, 7, 8] and len(windows) == 7
    x, y = windows[:]
    assert x.shape == (7, *shape) and x.dtype == np.float32 and y.dtype == np.int64
    assert y.tolist() == windows.label_ids.tolist() == [0, 1, 2, 1, 0, 1, 2]


def test_waveforms_are_normalised_window_by_window(cache):
    x, _ = cache.windows("raw", seconds=0.2)[:]
    assert np.allclose(x.min(axis=1), -0.5) and np.allclose(x.max(axis=1), 0.5, atol=1e-3)


def test_windows_are_the_part_of_the_clip_at_the_offset(cache):
    windows = cache.windows("mfcc", seconds=0.3, n_mfcc=5)
    numbers = np.arange(len(windows))
    for window, row, offset in zip(windows[:][0], windows.rows, windows.offsets(numbers, 0), strict=True):
        frames = cache.mfcc(int(row), n_mfcc=5)
        if offset >= 0:
            assert np.array_equal(window, frames[offset : offset + len(window)])


def test_one_index_gives_a_window_and_many_give_a_batch(cache):
    windows = cache.windows("logmel", seconds=0.5)
    x, y = windows[:]
    for index in (0, 6, -1, np.int64(3)):
        window, label_id = windows[index]
        assert np.array_equal(window, x[index]) and label_id == y[index] and isinstance(label_id, int)
    for index in (slice(2, 5), [4, 0], np.array([6, 6]), y == 1, []):
        some, label_ids = windows[index]
        index = np.array(index, np.int64) if isinstance(index, list) else index
        assert np.array_equal(some, x[index]) and np.array_equal(label_ids, y[index])
    assert [label_id for _, label_id in windows] == y.tolist()
    some = windows.__getitems__([2, 0])
    assert [label_id for _, label_id in some] == [2, 0] and np.array_equal(some[1][0], x[0])
    with pytest.raises(IndexError):
        windows[7]


def test_what_was_given_is_never_changed_and_may_be(cache):
    windows = cache.windows("raw", seconds=0.5)
    x, y = windows[:]
    kept = x.copy(), y.copy()
    for _ in range(3):
        windows[:][0][:] = 7
        windows[:][1][:] = 7
    assert np.array_equal(x, kept[0]) and np.array_equal(y, kept[1]) and np.array_equal(windows[:][1], y)


def test_offsets_are_a_pure_function_of_seed_epoch_and_clip(cache):
    windows = cache.windows("raw", seconds=0.1)
    first = windows[:][0]
    windows.set_epoch(1)
    second = windows[:][0]
    assert not np.array_equal(first, second) and np.array_equal(windows[[2]][0], second[[2]])
    assert np.array_equal(windows.batch(np.arange(7), 0)[0], first)
    windows.set_epoch(0)
    assert np.array_equal(windows[:][0], first)
    some = cache.windows("raw", seconds=0.1, clips=["8.wav", "2.wav"])
    assert np.array_equal(some[:][0], first[[6, 2]])
    assert not np.array_equal(cache.windows("raw", seconds=0.1, seed=5)[:][0], first)


def test_a_window_in_the_middle_stays_there(cache):
    windows = cache.windows("raw", seconds=0.1, offset="middle")
    assert windows.offsets(np.arange(7), 0).tolist() == [(600 + 200 * i - 200) // 2 for i in (0, 1, 2, 4, 6, 7, 8)]
    first = windows[:][0]
    windows.set_epoch(3)
    assert np.array_equal(windows[:][0], first)


def test_labels_choose_clips_and_fix_the_order_of_ids(cache):
    windows = cache.windows("raw", labels=["Rain drops", "Siren", "Bell"])
    assert windows.rows.tolist() == [0, 2, 6, 8] and windows.label_ids.tolist() == [2, 0, 2, 0]


def test_clips_without_a_label_have_the_id_minus_one(cache):
    test = cache.windows("raw", split="test", labels=["Bell"])
    assert test.rows.tolist() == [9, 10, 11] and test[:][1].tolist() == [-1, -1, -1] and test[0][1] == -1
    assert len(cache.windows("raw", split=None)) == 10


def test_clips_are_chosen_by_name_row_or_mask(cache):
    assert cache.windows("raw", clips=["4.wav", 0]).rows.tolist() == [4, 0]
    assert cache.windows("raw", clips=cache.clips["label"] == "Bell").rows.tolist() == [0, 6]
    assert cache.windows("raw", clips=cache.clips.query("label == 'Bell'").reset_index()).rows.tolist() == [0, 6]
    with pytest.raises(CacheError, match=r"clip 't0\.wav' is in test; give split='test'"):
        cache.windows("raw", clips=["t0.wav"])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"labels": "Bell"}, r"labels must be a list of labels, got 'Bell'"),
        ({"labels": ["Bell", "Bell"]}, r"labels must differ, got Bell more than once"),
        (
            {"labels": ["Siren"]},
            r"raw-2000\.zarr: none of 9 chosen clips has sound and a label that is asked for; choose other",
        ),
        ({"clips": ["3.wav"]}, r"none of 1 chosen clips has sound"),
        ({"clips": []}, r"none of 0 chosen clips has sound"),
        ({"offset": "first"}, r'offset must be "random" or "middle", got \'first\''),
        ({"seed": -1}, r"seed must be a whole number of 0 to 2\*\*64 - 1, got -1"),
        ({"seed": 1.5}, r"seed must be a whole number of 0 to 2\*\*64 - 1, got 1\.5"),
        ({"labels": ["Bell", ""]}, r"labels must be words, got ''; cache\.labels has those of the training clips"),
        ({"seconds": 0}, r"seconds must be 0\.0005 to 3,600 for raw-2000\.zarr, got 0"),
        ({"seconds": float("nan")}, r"seconds must be .* got nan"),
        ({"seconds": 3601}, r"seconds must be .* got 3601"),
        ({"n_mels": 3}, r"numbers of raw features must be of sample_rate, got n_mels"),
        ({"sample_rate": 5}, r"must hold raw features for --sr 5"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_a_line(cache, wrong, says):
    with pytest.raises(CacheError, match=says):
        cache.windows("raw", **wrong)


def test_an_epoch_is_zero_or_more(cache):
    with pytest.raises(CacheError, match=r"epoch must be 0 or more, got -1"):
        cache.windows("raw").set_epoch(-1)


def test_they_tell_what_they_are(cache):
    assert repr(cache.windows("mfcc")) == "LabelledWindows(mfcc: 7 of 8 x 8, 3 labels, epoch 0)"


_SUM_PICKLED = """
import pickle, sys
windows = pickle.load(sys.stdin.buffer)
print(float(windows[:][0].sum(dtype="float64")), windows.epoch)
"""


def test_another_process_cuts_the_same_windows(cache):
    windows = cache.windows("raw", seconds=0.1)
    windows.set_epoch(4)
    expected = float(windows[:][0].sum(dtype=np.float64))
    pickled = pickle.dumps(windows)
    done = subprocess.run([sys.executable, "-c", _SUM_PICKLED], input=pickled, capture_output=True, cwd=ROOT)
    assert done.stdout.decode().split() == [str(expected), "4"], done.stderr


def test_threads_can_share_them(cache):
    windows = cache.windows("mfcc", seconds=0.3)
    x, _ = windows[:]
    with ThreadPoolExecutor(8) as pool:
        for number, window in enumerate(pool.map(lambda i: windows[i % 7][0], range(200))):
            assert np.array_equal(window, x[number % 7])


def test_pytorch_reads_them_in_spawned_workers(cache):
    torch = pytest.importorskip("torch")
    windows = cache.windows("logmel", seconds=0.5)
    x, y = windows[:]
    for options in ({}, {"num_workers": 2, "multiprocessing_context": "spawn"}):
        batches = list(torch.utils.data.DataLoader(windows, batch_size=3, **options))
        assert [len(batch) for batch, _ in batches] == [3, 3, 1]
        assert np.array_equal(torch.cat([batch for batch, _ in batches]).numpy(), x)
        assert np.array_equal(torch.cat([label_ids for _, label_ids in batches]).numpy(), y)


def test_a_cache_is_opened_without_numba():
    code = "import sys, cache, cache.__main__; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
