import numpy as np
import pandas as pd
import pytest

from ensemble.predictions import PredictionsError, create_predictions, move_aside, open_predictions


def _bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_created_folder_holds_the_descriptive_files_alone(tmp_path, arguments):
    create_predictions(tmp_path / "deep" / "p", **arguments())
    names = {path.name for path in (tmp_path / "deep" / "p").iterdir()} - {".lock"}
    assert names == {"labels.json", "clips_train.csv", "clips_test.csv", "folds.csv", "config.json"}


def test_finished_folder_holds_the_notebooks_files_and_ours(tmp_path, make_predictions):
    make_predictions(tmp_path / "p", finish=[0])
    names = {path.name for path in (tmp_path / "p").iterdir()} - {".lock"}
    assert names == {
        "labels.json", "clips_train.csv", "clips_test.csv", "folds.csv", "config.json", "finished_0.json",
        "train_predictions_0.npy", "test_predictions_0.npy", "predictions_0.csv", "oof_predictions.npy",
    }  # fmt: skip


def test_creating_again_opens_what_is_there(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p", finish=[1])
    before = _bytes(tmp_path / "p")
    folder = create_predictions(str(tmp_path / "p"), **arguments(config={"git_revision": "other"}))
    assert folder.finished == [1]
    assert folder.config["git_revision"] == "0123"
    assert _bytes(tmp_path / "p") == before


def test_creation_that_was_broken_off_is_made_good(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p", finish=[])
    (tmp_path / "p" / "config.json").unlink()
    (tmp_path / "p" / "labels.json").write_text('["Be')
    assert create_predictions(tmp_path / "p", **arguments()).labels[0] == "Bell"
    assert (tmp_path / "p" / "config.json").exists()


def test_changed_setting_is_refused_by_name(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p")
    before = _bytes(tmp_path / "p")
    message = (
        r"p: learning_rate must be 0\.001, got 0\.1 and crops must be 5, got nothing; "
        r"go on as the folder was begun, keep the new one elsewhere \(--name\), "
        r"or let --force move this one aside$"
    )
    with pytest.raises(PredictionsError, match=message):
        create_predictions(tmp_path / "p", **arguments(config={"settings": {"learning_rate": 0.1, "seconds": 2.0}}))
    assert _bytes(tmp_path / "p") == before


@pytest.mark.parametrize("name", ["checkpoint_0.npz", "finished_0.json"])
def test_what_is_begun_is_not_lost_to_other_settings(tmp_path, make_predictions, arguments, name):
    make_predictions(tmp_path / "p", finish=[])
    (tmp_path / "p" / name).touch()
    before = _bytes(tmp_path / "p")
    with pytest.raises(PredictionsError, match="learning_rate must be 0.001, got 0.1"):
        create_predictions(tmp_path / "p", **arguments(config={"settings": {"learning_rate": 0.1}}))
    assert _bytes(tmp_path / "p") == before


def test_a_fold_at_work_is_not_lost_to_other_settings(tmp_path, make_predictions, arguments):
    folder = make_predictions(tmp_path / "p", finish=[])
    other = arguments(config={"settings": {"learning_rate": 0.1}})
    with folder.holding(0), pytest.raises(PredictionsError, match="learning_rate must be 0.001, got 0.1"):
        create_predictions(tmp_path / "p", **other)
    assert create_predictions(tmp_path / "p", **other).config["settings"] == {"learning_rate": 0.1}


def test_the_later_of_two_that_begin_at_the_same_time_is_refused(tmp_path, make_predictions, arguments):
    folder = make_predictions(tmp_path / "p", finish=[])
    create_predictions(tmp_path / "p", **arguments(config={"settings": {"learning_rate": 0.1}}))
    message = r"config.json must stay as this run found it, got another from a run that began at the same time"
    with pytest.raises(PredictionsError, match=message), folder.holding(0):
        pass


def test_a_damaged_description_is_replaced_where_nothing_needs_it(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p", finish=[])
    (tmp_path / "p" / "labels.json").write_text("[")
    assert create_predictions(tmp_path / "p", **arguments()).finished == []
    (tmp_path / "p" / "labels.json").write_text("[")
    (tmp_path / "p" / "checkpoint_0.npz").touch()
    with pytest.raises(PredictionsError, match="labels.json"):
        create_predictions(tmp_path / "p", **arguments())


def test_changed_clips_are_refused_by_row(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p")
    clips = pd.DataFrame({"fname": ["t0.wav", "new.wav"]})
    message = r"p: fname of clips_test\.csv, row 1, must be 't,1\.wav' \(of 5\), got 'new\.wav' \(of 2\); go on"
    with pytest.raises(PredictionsError, match=message):
        create_predictions(tmp_path / "p", **arguments(clips_test=clips))


def test_changed_folds_are_refused_by_row(tmp_path, make_predictions, arguments):
    make_predictions(tmp_path / "p")
    folds = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 1])
    message = r"row 11, must be '11\.wav \(no fold\)', got '11\.wav \(fold 1\)'; go on"
    with pytest.raises(PredictionsError, match=message):
        create_predictions(tmp_path / "p", **arguments(folds=folds))


def test_creating_over_the_notebooks_folder_is_refused(tmp_path, arguments):
    np.save(tmp_path / "test_predictions_0.npy", np.ones((5, 4)))
    message = r"must come with labels\.json and config\.json, got test_predictions_0\.npy .*let --force move"
    with pytest.raises(PredictionsError, match=message):
        create_predictions(tmp_path, **arguments())
    assert not (tmp_path / "labels.json").exists()


def test_opening_gives_what_was_written(tmp_path, make_predictions):
    written, read = make_predictions(tmp_path / "p"), open_predictions(str(tmp_path / "p"))
    np.testing.assert_array_equal(read.oof(), written.oof())
    assert (read.finished, read.labels, read.config) == ([0, 1, 2], written.labels, written.config)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(
        PredictionsError, match=r"p: predictions folder must be there, got nothing; run train first"
    ):
        open_predictions(tmp_path / "p")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "p").write_text("")
    with pytest.raises(PredictionsError, match=r"p: predictions folder must be there, got a file; run train first"):
        open_predictions(tmp_path / "p")


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match=r": folder must hold predictions, got none; run train first"):
        open_predictions(tmp_path)


def test_folder_of_the_notebook_is_refused(tmp_path):
    np.save(tmp_path / "test_predictions_0.npy", np.ones((5, 4)))
    message = (
        r": predictions must come with labels\.json and config\.json, got test_predictions_0\.npy "
        r"without them \(a folder that the notebook itself wrote\?\); make the folder with train"
    )
    with pytest.raises(PredictionsError, match=message):
        open_predictions(tmp_path)


def test_folder_without_a_finished_fold_is_refused(tmp_path, make_predictions):
    make_predictions(tmp_path / "p", finish=[])
    with pytest.raises(
        PredictionsError, match=r"p: folder must have a finished fold, got none; run train to its end"
    ):
        open_predictions(tmp_path / "p")


def test_marker_of_an_impossible_fold_is_refused(tmp_path, make_predictions):
    make_predictions(tmp_path / "p")
    (tmp_path / "p" / "finished_3.json").write_text("{}")
    with pytest.raises(
        PredictionsError, match=r"finished folds must be 0 to 2, got fold 3; remove finished_3\.json"
    ):
        open_predictions(tmp_path / "p")


def test_folder_without_labels_is_refused(tmp_path, make_predictions):
    make_predictions(tmp_path / "p")
    (tmp_path / "p" / "labels.json").unlink()
    with pytest.raises(
        PredictionsError, match=r"labels\.json: file must be there, got none; train into a new folder"
    ):
        open_predictions(tmp_path / "p")


def test_moving_aside_deletes_nothing(tmp_path, make_predictions):
    path = tmp_path / "p"
    for i in (1, 2, 3):
        make_predictions(path, seed=i)
        before = _bytes(path)
        new = move_aside(path)
        assert new == tmp_path / f"p.old-{i}"
        assert not path.exists()
        assert _bytes(new) == before
