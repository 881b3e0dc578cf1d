import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ensemble.errors import PredictionsError
from ensemble.metrics import accuracy, map3


def _bytes(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_properties_say_what_the_folder_is_for(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[0, 2])
    assert folder.labels == ["Bell", "None", "Bark, loud", "Rain"]
    assert (len(folder.clips_train), len(folder.clips_test), folder.n_folds) == (12, 5, 3)
    assert folder.labels_index.tolist() == [0, 1, 2, 3] * 3
    assert (folder.finished, folder.missing) == ([0, 2], [1])
    assert folder.config["model"] == "conv1d"


def test_predictions_come_back_as_written_in_float64(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[])
    rng = np.random.default_rng(3)
    train, test = (rng.random((n, 4), dtype=np.float32) for n in (12, 5))
    folder.write_fold(1, train, test, {})
    for read, array, name in [
        (folder.train_predictions(1), train, "train_predictions_1.npy"),
        (folder.test_predictions(1), test, "test_predictions_1.npy"),
    ]:
        assert read.dtype == np.load(tmp_path / "p" / name).dtype == np.float64
        np.testing.assert_array_equal(read, array)
        np.testing.assert_array_equal(np.load(tmp_path / "p" / name), array)


def test_a_notebook_cell_multiplies_the_files_unchanged(tmp_path, make_predictions):
    """The notebook's own loop, but for the folder's name."""
    folder = make_predictions(tmp_path / "p")
    prediction = np.ones((5, 4))
    for i in range(3):
        prediction = prediction * np.load(f"{tmp_path}/p/test_predictions_{i}.npy")
    prediction = prediction ** (1.0 / 3)
    expected = np.prod([folder.test_predictions(i) for i in range(3)], axis=0) ** (1 / 3)
    np.testing.assert_allclose(prediction, expected, rtol=1e-14)


def test_marker_says_the_folds_scores_and_the_result(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    own, truth = folder.train_predictions(1)[folder.folds == 1], folder.labels_index[folder.folds == 1]
    expected = {
        "fold": 1, "n_clips": 4, "accuracy": accuracy(own, truth), "map3": map3(own, truth),
        "epochs": 5, "best_epoch": 3, "seconds": 1.5,
    }  # fmt: skip
    assert folder.result(1) == expected
    assert folder.write_fold(1, folder.train_predictions(1), folder.test_predictions(1), expected) == expected


def test_fold_has_its_own_submission(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    lines = (tmp_path / "p" / "predictions_0.csv").read_text(encoding="utf-8").splitlines()
    best = np.argsort(-folder.test_predictions(0)[0])[:3]
    assert lines[0] == "fname,label"
    assert lines[1].strip('"').replace('"', "") == "t0.wav," + " ".join(folder.labels[i] for i in best)
    assert len(lines) == 6


def test_oof_takes_each_clip_from_its_own_fold(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    for row, fold in enumerate(folder.folds[:-1]):
        np.testing.assert_array_equal(folder.oof()[row], folder.train_predictions(fold)[row])
    assert np.isnan(folder.oof()[-1]).all()


def test_oof_of_unfinished_folds_is_nan(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[2])
    assert np.isnan(folder.oof()).any(axis=1).tolist() == [fold != 2 for fold in folder.folds]


def test_oof_file_follows_the_folds(tmp_path, make_predictions):
    for finish in ([], [1], [0, 1, 2]):
        folder = make_predictions(tmp_path / str(len(finish)), finish=finish)
        if finish:
            np.testing.assert_array_equal(np.load(folder.path / "oof_predictions.npy"), folder.oof())
        else:
            assert not (folder.path / "oof_predictions.npy").exists()


def test_a_fold_without_its_marker_is_not_there(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    (folder.path / "finished_1.json").unlink()
    assert folder.finished == [0, 2]
    assert np.isnan(folder.oof()[folder.folds == 1]).all()


def test_fold_written_again_replaces_the_first(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    train, test = np.full((12, 4), 0.25), np.full((5, 4), 0.25)
    folder.write_fold(0, train, test, {})
    np.testing.assert_array_equal(folder.test_predictions(0), test)
    np.testing.assert_array_equal(np.load(folder.path / "oof_predictions.npy")[0], train[0])
    assert folder.result(0) == {"fold": 0, "n_clips": 4, "accuracy": 0.25, "map3": pytest.approx(11 / 24)}


def test_marker_is_written_last_and_removed_first(tmp_path, make_predictions, monkeypatch):
    folder = make_predictions(tmp_path / "p")
    seen = []

    def stop(path, array):
        seen.append((path.name, folder.finished))
        raise KeyboardInterrupt

    monkeypatch.setattr("ensemble.folder.write_array", stop)
    with pytest.raises(KeyboardInterrupt):
        folder.write_fold(1, folder.train_predictions(1), folder.test_predictions(1), {})
    assert seen == [("train_predictions_1.npy", [0, 2])]


@pytest.mark.parametrize("n_renames", range(5))
def test_fold_that_was_broken_off_at_any_file_is_not_there_and_can_be_written(
    tmp_path, make_predictions, monkeypatch, n_renames
):
    whole, broken = (make_predictions(tmp_path / name, finish=[0, 2]) for name in ("whole", "broken"))
    train, test = np.full((12, 4), 0.25), np.full((5, 4), 0.25)
    whole.write_fold(1, train, test, {})
    replace, renamed = os.replace, []

    def stop_after(source, target):
        if len(renamed) == n_renames:
            raise KeyboardInterrupt
        renamed.append(target)
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ensemble.files.os.replace", stop_after)
        broken.write_fold(1, train, test, {})
    assert broken.finished == [0, 2]
    assert np.isnan(broken.oof()[broken.folds == 1]).all()
    broken.write_fold(1, train, test, {})
    assert _bytes(broken.path) == _bytes(whole.path)


def test_folds_that_several_trainers_write_at_once_are_all_there(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", finish=[])
    train, test = np.full((12, 4), 0.25), np.full((5, 4), 0.25)
    with ThreadPoolExecutor(3) as trainers:
        list(trainers.map(lambda fold: folder.write_fold(fold, train, test, {}), range(3)))
    assert folder.finished == [0, 1, 2]
    np.testing.assert_array_equal(np.load(folder.path / "oof_predictions.npy"), folder.oof())


@pytest.mark.parametrize("part", ["train", "test"])
def test_nan_is_refused_and_nothing_is_written(tmp_path, make_predictions, part):
    folder = make_predictions(tmp_path / "p", finish=[])
    before = sorted(path.name for path in folder.path.iterdir())
    arrays = {"train": np.full((12, 4), 0.25), "test": np.full((5, 4), 0.25)}
    arrays[part][3] = np.nan
    clip = {"train": "03.wav", "test": "t3.wav"}[part]
    message = rf"{part}_predictions_0\.npy: row 3 \({clip}\) must be probabilities, got NaN; "
    with pytest.raises(PredictionsError, match=message):
        folder.write_fold(0, arrays["train"], arrays["test"], {})
    assert sorted(path.name for path in folder.path.iterdir()) == before


def test_finished_fold_without_its_file_is_named(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    (folder.path / "test_predictions_1.npy").unlink()
    message = r"test_predictions_1\.npy: file must be there, got none; remove that fold's finished_\*\.json"
    with pytest.raises(PredictionsError, match=message):
        folder.test_predictions(1)


def test_predictions_of_another_shape_are_refused(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    np.save(folder.path / "train_predictions_2.npy", np.ones((12, 3)))
    message = r"train_predictions_2\.npy: predictions must be floats of shape \(12, 4\).*got.*\(12, 3\)"
    with pytest.raises(PredictionsError, match=message):
        folder.train_predictions(2)
    with pytest.raises(PredictionsError, match=message):
        folder.oof()


def test_broken_marker_is_refused(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p")
    (folder.path / "finished_0.json").write_text("{")
    with pytest.raises(PredictionsError, match=r"finished_0\.json: file must be JSON, got a broken one"):
        folder.result(0)


def test_score_of_a_fold_without_clips_is_null(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", folds=np.full(12, -1))
    assert json.loads((folder.path / "finished_0.json").read_text())["accuracy"] is None
