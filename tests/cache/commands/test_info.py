import json

from cache.clips import write_clips
from cache.fold import bring_up_to_date, read_receipts, store_files
from cache.folder import open_cache
from cache.receipts import Receipt, SlotResult, Status, read_receipt, write_receipt
from cache.specification import RawSpecification

RAW = RawSpecification(100)


def test_info_says_everything_as_json(run, made):
    code, out, err = run("info", RAW.name)
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["specification"] == RAW.to_dict()
    assert facts["clips"] == {"pending": 0, "ok": 5, "truncated": 0, "empty": 1, "failed": 0}
    assert (facts["missing"], facts["chunks"], facts["failed"]) == (0, 6, {})
    assert facts["bytes"] == sum(
        path.stat().st_size for path in (made.path / RAW.name).rglob("*") if path.is_file()
    )


def test_info_gives_the_reasons_of_what_failed(run, made):
    store = made.path / RAW.name
    receipt = read_receipt(store, 1)
    results = (SlotResult(3, "", Status.FAILED, reason="ist keine Aufnahme – “kaputt”"),)
    write_receipt(store, Receipt(1, receipt.checksums, results, {}))
    _, out, _ = run("info", "raw-100")
    assert json.loads(out)["failed"] == {"clip 3.wav": "ist keine Aufnahme – “kaputt”"}


def test_info_counts_wasted_space(run, made):
    cache = open_cache(made.path)
    write_clips(made.path, cache.clips[~cache.clips["clip"].isin(["clip 3.wav", "clip 4.wav"])])
    _, out, _ = run("info", RAW.name)
    assert json.loads(out)["wasted"] == {
        "slots": 2,
        "slot_bytes": 2 * (10000 + 60000),  # int16, 100 s and 600 s at 100 Hz
        "padding_bytes": 2 * (6 * RAW.chunk_length - (300 + 20000 + 10000 + 60000 + 750)),
        "compact_wins_bytes": 2 * 5 * RAW.chunk_length,
    }


def test_info_of_a_dense_store_has_nothing_to_win(run, made):
    wasted = json.loads(run("info", RAW.name)[1])["wasted"]
    assert (wasted["slots"], wasted["slot_bytes"], wasted["compact_wins_bytes"]) == (0, 0, 0)


def test_info_counts_what_a_killed_run_has_done(run, make_cache):
    """A run that is killed leaves receipts, and arrays by slot that say nothing of them."""
    made = make_cache("work/cache", without=[1])
    done = read_receipts(made.path / RAW.name)
    bring_up_to_date(made.path / RAW.name, store_files(made.plan, RAW, {}, {}))
    facts = json.loads(run("info", RAW.name)[1])
    assert facts["wasted"]["padding_bytes"] == 2 * (5 * RAW.chunk_length - (300 + 20000 + 60000 + 750))
    assert facts["receipts"] == {"n": 3, "checksum": done.checksum}
    assert facts["clips"] == {"pending": 1, "ok": 4, "truncated": 0, "empty": 1, "failed": 0}
    assert (facts["missing"], facts["chunks"], facts["chunks_done"]) == (1, 6, 5)
