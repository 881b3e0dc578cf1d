"""Fixtures of the cache's tests: small caches, made with the cache's own functions and seeded numbers."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cache.layout import chunks_per_slot, n_chunks, pack, slot_starts
from cache.receipts import SlotResult, Status, begun_with, read_receipts
from cache.specification import MfccSpecification, RawSpecification, Specification
from cache.storage import Storage, open_storage
from cache.writer import CacheWriter, GroupWriter, writing

NATIVE_RATE = 100
SECONDS = (3.0, 0.0, 200.0, 100.0, 600.0, 7.5)  # groups 0, 0, 0, 1, 2 (three chunks) and 5
RAW = RawSpecification(sample_rate=100)
MFCC = MfccSpecification(n_mfcc=4, sample_rate=2000)


@dataclass(frozen=True)
class MadeCache:
    """A cache on disk, its plan, and the features that each of its stores was given, [time, ...] by store name."""

    path: Path
    plan: pd.DataFrame
    features: dict[str, np.ndarray]


@pytest.fixture
def make_plan() -> Callable[..., pd.DataFrame]:
    """A function that makes a plan of recordings of so many seconds at 100 Hz."""
    return _make_plan


@pytest.fixture
def make_cache(tmp_path) -> Callable[..., MadeCache]:
    """A function that makes a whole cache: folder, seconds of each clip, specifications, clips to leave out."""

    def make(name="cache", seconds=SECONDS, specifications=(RAW, MFCC), without=()) -> MadeCache:
        return write_cache(tmp_path / name, _make_plan(seconds), specifications, set(without))

    return make


def write_cache(place, plan: pd.DataFrame, specifications, without: set[int] = frozenset()) -> MadeCache:
    """Write a cache of a plan's recordings, all groups but those `without`, into a folder or a bucket."""
    with writing(place) as writer:
        writer.write_tables(_clip_table(len(plan)), plan)
        features = {s.name: _write_store(writer, plan, s, without) for s in specifications}
    return MadeCache(place, plan, features)


@pytest.fixture
def featurize() -> Callable:
    """A function that runs the featurizer, quietly: dataset folder, cache, specifications, options; what was to do."""
    from featurize.datasets import read_dataset
    from featurize.run import run
    from featurize.settings import Options

    def featurize(data: Path, cache: "Path | Storage", specifications=(RAW, MFCC), **options):
        dataset = read_dataset(open_storage(data))
        return run(dataset, open_storage(cache), specifications, Options(**options))[0]

    return featurize


@pytest.fixture
def recorded(tmp_path, write_dataset, noise) -> Path:
    """A dataset of six recordings of 100 s: three groups, 0 and 1, 2 and 3, 4 and 5."""
    clips = {f"clip {i}.wav": noise(100, NATIVE_RATE, seed=i) for i in range(6)}
    return write_dataset(tmp_path / "data", clips)


@pytest.fixture(name="run")
def run_command(monkeypatch, capsys, tmp_path):
    """A function that runs `python -m cache` in this process, in tmp_path: exit code, stdout, stderr."""

    from cache.__main__ import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["cache", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def made(make_cache):
    """A cache at the place where the commands look: work/cache."""
    return make_cache("work/cache")


def _make_plan(seconds: Sequence[float], native_rate: int = NATIVE_RATE) -> pd.DataFrame:
    native = np.round(np.array(seconds) * native_rate).astype(np.int64)
    rates = np.full(len(native), native_rate)
    return pd.DataFrame(
        {
            "file": [f"audio_train/clip {i}.wav" for i in range(len(native))],
            "size": 44 + 2 * native,
            "mtime_ns": np.arange(len(native)) + 1_700_000_000_000_000_000,
            "digest": [f"{i:032x}" for i in range(len(native))],
            "native_rate": rates,
            "native_samples": native,
            "group": pack(native, rates, 0),
        }
    )


def _clip_table(n_clips: int) -> pd.DataFrame:
    """The first two thirds are training clips."""
    n_train = n_clips - n_clips // 3
    rows = [
        (f"clip {i}.wav", "train", ("Glöckchen", "None", "Rain drops")[i % 3], (0, 1, pd.NA)[i % 3], i)
        if i < n_train
        else (f"clip {i}.wav", "test", "", pd.NA, i)
        for i in range(n_clips)
    ]
    clips = pd.DataFrame(rows, columns=["clip", "split", "label", "manually_verified", "slot"])
    return clips.astype({"manually_verified": "Int8", "slot": "int64"})


def _write_store(
    writer: CacheWriter, plan: pd.DataFrame, specification: Specification, without: set[int]
) -> np.ndarray:
    """Write chunks and receipts, all but those of the groups `without`; returns the whole feature array."""
    store, features = writer.storage / specification.name, _random_features(plan, specification)
    starts = slot_starts(plan, specification)
    capacity = specification.capacity(plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy())
    for group, slots in plan.groupby("group").groups.items():
        if group in without:
            continue
        first = group * specification.chunk_length
        offsets = {int(slot): int(starts[slot] - first) for slot in slots}
        group_writer = GroupWriter(store, specification, group, int(chunks_per_slot(plan)[slots].max()), offsets)
        results = []
        for slot in offsets:
            part = features[starts[slot] : starts[slot] + capacity[slot]]
            length, digits = group_writer.write(slot, _in_blocks(part))
            status, value = Status.OK if length else Status.EMPTY, float(np.float32(0.001 * (slot + 1)))
            results.append(result_of(plan, slot, status=status, length=length, value=value, checksum=digits))
        group_writer.commit(results, {"numpy": "2.0"})
    receipts = read_receipts(store)
    writer.update_store(specification, plan, receipts, begun_with(receipts))
    return features


def _in_blocks(features: np.ndarray, n: int = 7001) -> Iterator[np.ndarray]:
    return (features[first : first + n] for first in range(0, len(features), n))


def result_of(plan: pd.DataFrame, slot: int, **fields) -> SlotResult:
    """A slot's result, with what the plan says of its recording."""
    row = plan.iloc[slot]
    said = {name: int(row[name]) for name in ("size", "mtime_ns", "native_rate", "native_samples")}
    return SlotResult(slot, row["digest"], file=row["file"], **said, **fields)


def _random_features(plan: pd.DataFrame, specification: Specification) -> np.ndarray:
    """Seeded noise in every slot's place, zeros elsewhere."""
    random = np.random.default_rng(specification.sample_rate)
    features = np.zeros(
        (n_chunks(plan) * specification.chunk_length, *specification.item_shape), specification.dtype
    )
    native = plan["native_samples"].to_numpy(), plan["native_rate"].to_numpy()
    for start, capacity in zip(slot_starts(plan, specification), specification.capacity(*native), strict=True):
        place = features[start : start + capacity]
        place[:] = (
            random.integers(-32767, 32768, place.shape) if place.dtype == np.int16 else random.random(place.shape)
        )
    return features
