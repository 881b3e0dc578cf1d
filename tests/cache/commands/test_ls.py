from cache.fold import bring_up_to_date, read_receipts, store_files
from cache.receipts import Receipt, SlotResult, Status, read_receipt, write_receipt
from cache.specification import MfccSpecification, RawSpecification
from cache.store import Store

RAW, MFCC = RawSpecification(100), MfccSpecification(4, 2000)


def test_ls_says_what_is_there(run, made):
    code, out, err = run("ls")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "work/cache: 4 labelled and 2 unlabelled clips"
    assert lines[1].split() == ["store", "clips", "missing", "failed", "MB", "state"]
    assert lines[2].split()[:4] == ["mfcc-4-2000.zarr", "6", "0", "0"] and lines[2].endswith("  complete")
    assert lines[3].split()[:4] == ["raw-100.zarr", "6", "0", "0"] and lines[3].endswith("  complete")
    assert len(lines) == 4


def test_ls_counts_what_is_missing_and_failed(run, make_cache):
    made = make_cache("work/cache", without=[1, 5])
    store = made.path / RAW.name
    results = tuple(SlotResult(slot, "", Status.FAILED, reason="x") for slot in (0, 1, 2))
    write_receipt(store, Receipt(0, read_receipt(store, 0).checksums, results, {}))
    code, out, _ = run("ls")
    assert code == 0
    assert "raw-100.zarr                         4         2       3" in out  # by the receipts, folded yet or not
    assert out.count("incomplete: run featurize") == 2


def test_ls_names_a_store_that_it_refuses_and_goes_on(run, made):
    (made.path / MFCC.name / "zarr.json").write_text("{")
    (made.path / "raw-5.zarr").mkdir()
    code, out, _ = run("ls")
    refused = [line for line in out.splitlines() if "refused: " in line]
    assert code == 0 and len(refused) == 2
    assert "mfcc-4-2000.zarr/zarr.json: damaged or foreign metadata" in refused[0]
    assert "raw-5.zarr/zarr.json: missing" in refused[1]
    assert out.splitlines()[3].endswith("complete")


def test_ls_counts_what_a_killed_run_has_done(run, make_cache):
    """A run that is killed leaves receipts, and arrays by slot that say nothing of them."""
    made = make_cache("work/cache", without=[1])
    done = read_receipts(made.path / RAW.name)
    nothing = store_files(made.plan, RAW, {}, {})
    bring_up_to_date(made.path / RAW.name, nothing)
    assert len(done) == 3 and not Store(made.path / RAW.name).status.any()
    row = run("ls")[1].splitlines()[3]
    assert row.split()[:4] == ["raw-100.zarr", "5", "1", "0"] and row.endswith("  incomplete: run featurize")
