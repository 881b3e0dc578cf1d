"""A page is filled slot by slot, keeps what was done, and counts once committed."""

import numpy as np
import pytest

from cache import MfccSpecification, RawSpecification, Status
from cache.receipts import checksum, read_receipt
from featurize.page import Page, Target, computed_by
from featurize.waveform import Waveform

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)


def waveform(n=200, rate=100, level=0.5):
    return Waveform(np.full(n, level, np.float32), rate)


def test_a_committed_page_has_chunk_and_receipt(tmp_path):
    page = Page(Target(tmp_path / "raw-100.zarr", RAW), group=3, n_chunks=1)
    page.fill(7, "d", slice(10, 210), waveform())
    receipt = page.commit()
    data = (tmp_path / "raw-100.zarr/features/c/3").read_bytes()
    assert receipt == read_receipt(tmp_path / "raw-100.zarr", 3) and receipt.checksums == (checksum(data),)
    assert len(data) == RAW.chunk_length * 2 and receipt.versions == computed_by()
    samples = np.frombuffer(data, np.int16)
    assert (samples[10:210] == 32767).all() and not samples[:10].any() and not samples[210:].any()


def test_a_page_of_several_chunks_writes_each(tmp_path):
    page = Page(Target(tmp_path / "raw-100.zarr", RAW), group=3, n_chunks=2)
    page.fill(7, "d", slice(0, RAW.chunk_length + 5), waveform(RAW.chunk_length + 5))
    assert len(page.commit().checksums) == 2
    assert np.frombuffer((tmp_path / "raw-100.zarr/features/c/4").read_bytes(), np.int16)[:6].tolist() == [
        32767
    ] * 5 + [0]


@pytest.mark.parametrize("specification", [RAW, MFCC])
def test_a_failed_slot_leaves_silence_and_its_reason(tmp_path, specification):
    page = Page(Target(tmp_path / "x.zarr", specification), 0, 1)
    page.fail(2, "", slice(0, 50), "broken", retry=True)
    result = page.commit().slots[0]
    assert (result.status, result.length, result.reason, result.retry) == (Status.FAILED, 0, "broken", True)
    assert not page.features.any()


def test_features_that_are_not_finite_fail(tmp_path):
    page = Page(Target(tmp_path / "x.zarr", MFCC), 0, 1)
    page.fill(0, "d", slice(0, 1), Waveform(np.full(10, 1e30, np.float32), 2000))
    assert page.results[0].status == Status.FAILED and "not finite" in page.results[0].reason
    assert not page.features.any()


def test_a_clip_too_short_for_one_sample_is_empty(tmp_path):
    page = Page(Target(tmp_path / "x.zarr", RAW), 0, 1)
    page.fill(0, "d", slice(0, 0), Waveform(np.ones(1, np.float32), 44100))
    assert page.results[0].status == Status.EMPTY


def committed(tmp_path):
    page = Page(Target(tmp_path / "raw-100.zarr", RAW), 0, 1)
    page.fill(0, "d", slice(0, 200), waveform())
    page.fail(1, "", slice(200, 400), "Input/output error", retry=True)
    return page.commit()


def test_what_was_done_is_kept_and_what_is_to_be_tried_again_is_not(tmp_path):
    receipt = committed(tmp_path)
    page = Page(Target(tmp_path / "raw-100.zarr", RAW, receipt), 0, 1)
    assert list(page.results) == [0] and (page.features[:200] == 32767).all()


def test_nothing_is_kept_of_a_damaged_chunk(tmp_path):
    receipt = committed(tmp_path)
    chunk = tmp_path / "raw-100.zarr/features/c/0"
    chunk.write_bytes(b"\x01" + chunk.read_bytes()[1:])
    page = Page(Target(tmp_path / "raw-100.zarr", RAW, receipt), 0, 1)
    assert not page.results and not page.features.any()
