import mmap
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cache.errors import CacheError
from cache.maps import ChunkMaps, map_limit
from cache.specification import RawSpecification

SHAPE = (50, 3)


@pytest.fixture
def chunks(tmp_path):
    """Twelve chunk files of float32 [50, 3]: a function from number to file, and the arrays."""
    arrays = np.random.default_rng(0).random((12, *SHAPE), np.float32)
    for number, array in enumerate(arrays):
        (tmp_path / str(number)).write_bytes(array.tobytes())
    return lambda number: tmp_path / str(number), arrays


def test_a_map_is_the_files_array(chunks):
    path, arrays = chunks
    maps = ChunkMaps(path, SHAPE, "float32")
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(maps[number], array)
        assert maps[number].dtype == np.float32


def test_maps_are_read_only_views_of_a_memory_map(chunks):
    array = ChunkMaps(chunks[0], SHAPE, "float32")[0]
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def test_a_map_is_opened_once(chunks):
    maps = ChunkMaps(chunks[0], SHAPE, "float32")
    assert maps[3] is maps[3]


def test_the_least_recently_used_map_is_dropped(chunks):
    opened = []

    def path(number):
        opened.append(number)
        return chunks[0](number)

    maps = ChunkMaps(path, SHAPE, "float32", limit=3)
    for number in (0, 1, 2, 0, 3, 0, 2, 1, 0):
        maps[number]
    assert opened == [0, 1, 2, 3, 1]


def test_an_array_outlives_its_place_among_the_maps(chunks):
    path, arrays = chunks
    maps = ChunkMaps(path, SHAPE, "float32", limit=1)
    handed_out = [maps[number] for number in range(12)]
    np.testing.assert_array_equal(handed_out, arrays)


def test_threads_share_maps(chunks):
    path, arrays = chunks
    maps = ChunkMaps(path, SHAPE, "float32", limit=2)
    numbers = np.random.default_rng(1).integers(0, 12, 4000).tolist()
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda number: float(maps[number].sum()), numbers))
    expected = [float(array.sum()) for array in arrays]
    assert sums == [expected[number] for number in numbers]


def test_a_missing_chunk_is_refused(chunks):
    maps = ChunkMaps(chunks[0], SHAPE, "float32")
    with pytest.raises(
        CacheError, match=r"/12: chunk must have 600 bytes, got no file; run `python -m cache verify`"
    ):
        maps[12]


@pytest.mark.parametrize("n_bytes", [0, 1, 599, 601, 1200])
def test_a_chunk_of_another_size_is_refused(chunks, n_bytes):
    chunks[0](0).write_bytes(bytes(n_bytes))
    maps = ChunkMaps(chunks[0], SHAPE, "float32")
    with pytest.raises(
        CacheError, match=rf"/0: chunk must have 600 bytes, got {n_bytes}; run .*verify`, then featurize"
    ):
        maps[0]


def test_a_chunk_that_was_refused_is_read_once_it_is_there(chunks):
    path, arrays = chunks
    data = path(0).read_bytes()
    path(0).unlink()
    maps = ChunkMaps(path, SHAPE, "float32")
    with pytest.raises(CacheError):
        maps[0]
    path(0).write_bytes(data)
    np.testing.assert_array_equal(maps[0], arrays[0])


@pytest.mark.parametrize(
    ("files", "maps"), [(1024, 256), (256, 64), (3, 1), (10**6, 1024), (resource.RLIM_INFINITY, 1024)]
)
def test_maps_leave_most_open_files_to_others(monkeypatch, files, maps):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, files))
    assert map_limit() == maps


_READ_ALL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import numpy as np
from pathlib import Path
from cache.store import Store
stores = [Store(Path(sys.argv[1])) for _ in range(2)]
length = stores[0].specification.chunk_length
order = np.random.default_rng(0).permutation(stores[0].n_chunks)
total = 0
for chunk in np.concatenate([order, order[::-1]]).tolist():
    for store in stores:
        total += int(store.read(chunk * length, (chunk + 1) * length).sum(dtype=np.int64))
print(stores[0].n_chunks, total)
"""


def test_more_than_256_chunks_are_read_under_a_limit_of_256_open_files(make_cache):
    tiny = RawSpecification(1)
    made = make_cache(seconds=[300 * 256.0], specifications=[tiny])
    result = subprocess.run(
        [sys.executable, "-c", _READ_ALL, made.path / tiny.name],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    expected = 4 * int(made.features[tiny.name].sum(dtype=np.int64))
    assert (result.stdout.split(), result.returncode) == (["300", str(expected)], 0), result.stderr
