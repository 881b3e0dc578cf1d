import json
import os

import numpy as np
import pandas as pd
import pytest

from cache.receipts import signed, unsigned
from cache.storage import CacheError, DamagedError, LocalStorage
from cache.tables import CLIP_COLUMNS, CLIPS, MANIFEST, PLAN, counted, read_manifest, read_tables, write_tables

CLIP_TABLE = pd.DataFrame(
    {
        "clip": ["sub/a b.wav", "Glöckchen.wav", "a.wav"],
        "split": ["train", "train", "test"],
        "label": ["None", "Bell", ""],
        "manually_verified": pd.array([1, 0, pd.NA], dtype="Int8"),
        "license": ["CC0", "NA", ""],
        "slot": [2, 0, 1],
    }
)


@pytest.fixture
def plan(make_plan):
    return make_plan([3, 0, 600])


@pytest.fixture
def cache(tmp_path, plan):
    """A storage with tables of generation 4."""
    write_tables(LocalStorage(tmp_path), CLIP_TABLE, plan, 4)
    return LocalStorage(tmp_path)


def test_round_trip_keeps_order_columns_and_types(cache, plan):
    found = read_tables(cache)
    assert list(found.clips) == [*CLIP_COLUMNS, "license", "slot"] and found.generation == 4
    pd.testing.assert_frame_equal(found.clips, CLIP_TABLE, check_dtype=False)
    assert found.clips["manually_verified"].dtype == "Int8" and found.clips["slot"].dtype == np.int64
    pd.testing.assert_frame_equal(found.plan, plan, check_dtype=False)
    assert (found.plan.dtypes[["size", "mtime_ns", "native_rate", "native_samples", "group"]] == np.int64).all()


def test_texts_that_look_like_missing_values_stay_texts(cache):
    found = read_tables(cache).clips
    assert found["label"].tolist() == ["None", "Bell", ""] and found["license"].tolist() == ["CC0", "NA", ""]


def test_manually_verified_may_be_missing_everywhere(cache, plan):
    write_tables(cache, CLIP_TABLE.assign(manually_verified=pd.array([pd.NA] * 3, dtype="Int8")), plan, 4)
    found = read_tables(cache).clips["manually_verified"]
    assert found.isna().all() and found.dtype == "Int8"


def test_empty_tables_round_trip(cache, make_plan):
    write_tables(cache, CLIP_TABLE.head(0), make_plan([]), 0)
    assert len(read_tables(cache).plan) == len(read_tables(cache).clips) == 0


def test_pandas_opens_the_files(cache):
    assert pd.read_parquet(cache.path(CLIPS))["slot"].tolist() == [2, 0, 1]
    assert pd.read_parquet(cache.path(PLAN))["group"].tolist() == [0, 0, 1]
    assert cache.names() == [CLIPS, MANIFEST, PLAN]


def test_a_large_table_takes_little_room_and_round_trips(cache, make_plan):
    plan = make_plan([0.01] * 140_000)
    write_tables(cache, CLIP_TABLE, plan, 4)
    pd.testing.assert_frame_equal(read_tables(cache).plan, plan, check_dtype=False)


def _looks(cache):
    return {name: (cache.path(name).stat().st_ino, cache.path(name).stat().st_mtime_ns) for name in cache.names()}


def test_equal_tables_have_equal_bytes_and_are_not_written_again(cache, plan, tmp_path):
    before = _looks(cache)
    write_tables(cache, CLIP_TABLE.copy(), plan.copy(), 4)
    assert _looks(cache) == before
    other = LocalStorage(tmp_path / "other")
    write_tables(other, CLIP_TABLE, plan, 4)
    assert all(other.read(name) == cache.read(name) for name in before)


@pytest.mark.parametrize("name", [CLIPS, PLAN, MANIFEST])
def test_a_flipped_bit_is_refused(cache, name):
    data = bytearray(cache.read(name))
    for bit in range(0, 8 * len(data), 97):
        data[bit // 8] ^= 1 << bit % 8
        cache.path(name).write_bytes(data)
        with pytest.raises(DamagedError, match=rf"/{name}: damaged.*; run featurize to repair it"):
            read_tables(cache)
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("name", [CLIPS, PLAN, MANIFEST])
@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path), lambda path: path.write_bytes(b"")]
)
def test_what_is_no_table_is_refused_at_once(cache, name, make):
    cache.remove(name)
    make(cache.path(name))
    with pytest.raises(DamagedError, match=rf"/{name}: .*; run featurize to repair it"):
        read_tables(cache)


@pytest.mark.parametrize("name", [CLIPS, PLAN])
def test_a_missing_table_is_said(cache, name):
    cache.remove(name)
    with pytest.raises(DamagedError, match=rf"/{name}: missing; run featurize to repair it"):
        read_tables(cache)


def test_no_cache_is_said(tmp_path):
    with pytest.raises(CacheError, match=r"/nowhere: no cache here; run `python -m featurize` first"):
        read_tables(LocalStorage(tmp_path / "nowhere"))


@pytest.mark.parametrize("given", [".", "cache/raw-16000.zarr", "cache/clips.parquet"])
def test_a_cache_that_is_near_is_named(tmp_path, given):
    (tmp_path / "cache").mkdir()
    for name in (MANIFEST, CLIPS):
        (tmp_path / "cache" / name).touch()
    with pytest.raises(CacheError, match=rf"no cache here; there is one in {tmp_path}/cache$"):
        read_tables(LocalStorage(tmp_path / given))


@pytest.mark.parametrize("there", ["copies/x", CLIPS, PLAN])
def test_a_cache_of_an_older_version_is_refused(tmp_path, there):
    LocalStorage(tmp_path).write(there, b"")
    message = "made by an older version of earmark; move it away, or give another --cache, and run featurize again"
    with pytest.raises(CacheError, match=message) as raised:
        read_tables(LocalStorage(tmp_path))
    assert not isinstance(raised.value, DamagedError)


def _edit(cache, **fields) -> None:
    body = unsigned(cache.read(MANIFEST)) | fields
    del body["checksum"]
    cache.write(MANIFEST, signed(body))


@pytest.mark.parametrize("version", [1, 3, 10**30, "2", None])
def test_another_version_is_refused_as_such(cache, version):
    _edit(cache, version=version)
    with pytest.raises(CacheError, match=rf"manifest\.json: cache version must be 2, got {version}"[:55]) as raised:
        read_tables(cache)
    assert not isinstance(raised.value, DamagedError)


@pytest.mark.parametrize(
    "odd", [True, -1, 10**30, 1.0, "x", [], {}, {"clips": 1, "plan": "x"}, float("nan")], ids=str
)
@pytest.mark.parametrize("name", ["earmark", "generation", "clips", "plan", "next"])
def test_a_manifest_whose_fields_are_odd_is_refused(cache, name, odd):
    _edit(cache, **{name: odd})
    with pytest.raises(DamagedError, match=r"/(manifest\.json|clips\.parquet|plan\.parquet): damaged"):
        read_tables(cache)


def test_the_manifest_says_generation_and_checksums(cache):
    body = json.loads(cache.read(MANIFEST))
    assert {name: body[name] for name in ("earmark", "version", "generation", "next")} == {
        "earmark": "cache",
        "version": 2,
        "generation": 4,
        "next": None,
    }
    found = read_manifest(cache)
    assert (found.generation, found.checksums) == (4, {CLIPS: {body["clips"]}, PLAN: {body["plan"]}})


def test_a_clip_table_that_names_slots_beyond_the_plan_is_refused(cache, plan):
    write_tables(cache, CLIP_TABLE, plan.head(2), 4)
    with pytest.raises(DamagedError, match=r"/clips\.parquet: names slots that the plan does not have"):
        read_tables(cache)


class _Killed(BaseException):
    """As a kill that comes between two writes."""


class _Dying(LocalStorage):
    """A storage whose process is killed instead of writing for the n-th time."""

    left = 0

    def write(self, key, data, durable=False):
        self.left -= 1
        if self.left < 0:
            raise _Killed
        super().write(key, data, durable)


def _write_and_die(cache, n_writes, *tables) -> bool:
    dying = _Dying(cache.path())
    dying.left = n_writes
    try:
        write_tables(dying, *tables)
    except _Killed:
        return True
    return False


@pytest.mark.parametrize("n_writes", range(4))
@pytest.mark.parametrize("n_later", range(4))
def test_a_writer_that_is_killed_leaves_a_readable_cache(cache, plan, make_plan, n_writes, n_later):
    """Old or new tables, and a plan that has every slot that the clips name; also where the next writer is killed."""
    longer, longest = make_plan([3, 0, 600, 5]), make_plan([3, 0, 600, 5, 6])
    assert _write_and_die(cache, n_writes, CLIP_TABLE.assign(slot=[3, 0, 1]), longer, 4)
    found = read_tables(cache)
    assert (len(found.plan), found.clips["slot"].max()) in {(3, 2), (4, 2), (4, 3)} and found.generation == 4
    assert _write_and_die(cache, n_later, CLIP_TABLE.assign(slot=[4, 0, 1]), longest, 4)
    found = read_tables(cache)
    assert len(found.plan) > found.clips["slot"].max()
    write_tables(cache, CLIP_TABLE.assign(slot=[4, 0, 1]), longest, 4)
    assert read_tables(cache).clips["slot"].tolist() == [4, 0, 1] and len(read_manifest(cache).checksums[PLAN]) == 1


def test_a_first_writer_that_is_killed_leaves_no_cache(tmp_path, plan):
    for n_writes, says in ((0, "no cache here"), (1, "no whole cache here yet"), (2, "no whole cache here yet")):
        cache = LocalStorage(tmp_path / str(n_writes))
        assert _write_and_die(cache, n_writes, CLIP_TABLE, plan, 0)
        with pytest.raises(CacheError, match=says) as raised:
            read_tables(cache)
        assert not isinstance(raised.value, DamagedError)


def test_a_reader_beside_a_writer_sees_tables_that_belong_together(cache, plan, make_plan):
    """The writer replaces everything between the reader's looks at the manifest and at the tables."""
    longer, looks = make_plan([3, 0, 600, 5]), []

    class _Overtaken(LocalStorage):
        def read(self, key, n_bytes=None):
            looks.append(key)
            if len(looks) == 2:
                write_tables(cache, CLIP_TABLE.assign(slot=[3, 0, 1]), longer, 4)
            return super().read(key, n_bytes)

    found = read_tables(_Overtaken(cache.path()))
    assert len(found.plan) == 4 and found.clips["slot"].tolist() == [3, 0, 1]
    assert looks.count(MANIFEST) == 3


def test_a_reader_that_is_always_overtaken_gives_up(cache, plan, make_plan):
    class _Overtaken(LocalStorage):
        n = 3

        def read(self, key, n_bytes=None):
            data = super().read(key, n_bytes)
            if key == MANIFEST:
                self.n += 1
                write_tables(cache, CLIP_TABLE.assign(license=f"{self.n}"), plan, 4)
            return data

    with pytest.raises(CacheError, match="another process keeps writing the cache; try again later"):
        read_tables(_Overtaken(cache.path()))


def test_clips_are_counted_in_words():
    clips = pd.DataFrame({"split": ["train"] * 3 + ["test"] * 2, "label": ["a", "b", "a", "c", ""]})
    assert counted(clips) == "3 training clips of 2 labels and 2 test clips (1 labelled)"
    assert counted(clips[4:]) == "1 test clips" and counted(clips[:1]) == "1 training clips of 1 labels"
    assert counted(clips[:0]) == "no clips"
