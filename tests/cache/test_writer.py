import shutil

import pandas as pd
import pytest

from cache.errors import CacheError, DamagedError
from cache.folder import open_cache
from cache.mend import make_ready
from cache.plan import read_plan
from cache.specification import RawSpecification
from featurize.dataset import read_dataset
from featurize.report import plan_lines
from featurize.run import Options, run

TABLES = ["clips.parquet", "plan.parquet"]


def _flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[50] ^= 4
    path.write_bytes(data)


def _files(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("harm", [_flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", [*TABLES, "copies/clips.parquet", "copies/plan.parquet"])
def test_either_copy_of_a_table_mends_the_other(make_cache, name, harm):
    folder = make_cache().path
    before = _files(folder)
    harm(folder / name)
    assert _files(folder) != before
    make_ready(folder)
    assert _files(folder) == before


def test_a_sound_cache_is_left_as_it_is(make_cache):
    folder = make_cache().path
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    make_ready(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_copies_that_are_not_there_yet_are_made(make_cache):
    folder = make_cache().path
    before = _files(folder)
    shutil.rmtree(folder / "copies")
    make_ready(folder)
    assert _files(folder) == before


def test_a_clip_table_that_is_damaged_twice_is_removed_to_be_made_anew(make_cache):
    folder = make_cache().path
    for name in ("clips.parquet", "copies/clips.parquet"):
        _flip(folder / name)
    make_ready(folder)
    assert not (folder / "clips.parquet").exists()


def test_a_plan_that_is_damaged_twice_is_kept_and_refused(make_cache):
    folder = make_cache().path
    for name in ("plan.parquet", "copies/plan.parquet"):
        _flip(folder / name)
    make_ready(folder)
    with pytest.raises(
        DamagedError, match=r"plan\.parquet: damaged, .*; its copy in copies/ is not sound either: "
    ):
        read_plan(folder)


def test_a_foreign_table_is_not_overwritten(make_cache):
    folder = make_cache().path
    pd.DataFrame({"mine": [1]}).to_parquet(folder / "plan.parquet")
    mine = (folder / "plan.parquet").read_bytes()
    make_ready(folder)
    assert (folder / "plan.parquet").read_bytes() == mine
    with pytest.raises(CacheError, match="got a foreign file; move it away"):
        read_plan(folder)


def test_leftovers_are_swept_and_a_switch_is_finished(make_cache):
    folder, other = make_cache().path, make_cache("other", seconds=[5])
    expected = _files(other.path)
    (folder / "compact.partial" / "x.partial").mkdir(parents=True)
    (folder / "raw-100.zarr" / "y.partial").write_text("")
    other.path.rename(folder / "compact.done")
    make_ready(folder)
    assert _files(folder) == expected


def _lines_of_a_run(data, folder, limit=None) -> list[str]:
    lines = []
    run(
        read_dataset(data, limit),
        folder,
        [RawSpecification(100)],
        Options(),
        lambda work: lines.extend(plan_lines(work)),
    )
    return lines


@pytest.mark.parametrize("harm", [_flip, lambda path: path.unlink()])
def test_a_run_says_that_it_makes_the_clip_table_anew_and_forgets_clips(recorded, tmp_path, harm):
    folder = tmp_path / "cache"
    said = f"{folder}/clips.parquet: damaged or lost with its copy, made anew from the dataset; "
    said += "clips that the dataset does not list are forgotten"
    assert said not in _lines_of_a_run(recorded, folder)
    harm(folder / "clips.parquet")
    assert said not in _lines_of_a_run(recorded, folder)  # mended from its copy
    for name in ("clips.parquet", "copies/clips.parquet"):
        harm(folder / name)
    assert said in _lines_of_a_run(recorded, folder, limit=5)
    assert len(open_cache(folder).clips) == 5
    assert said not in _lines_of_a_run(recorded, folder)
