import numpy as np
import pandas as pd
import pytest

from ensemble.combine import combined_test_predictions
from ensemble.leaderboard import leaderboard, leaderboard_table, not_scored
from ensemble.metrics import accuracy, map3

TEST = ["t0.wav", "t,1.wav", "None", "t3.wav", "t4 é.wav"]
IDS = np.array([0, 1, 2, 3, 0])  # of Bell, None, "Bark, loud", Rain, Bell


def labelled(labels=("Bell", "None", "Bark, loud", "Rain", "Bell"), usage=("",) * 5):
    return {"clips_test": pd.DataFrame({"fname": TEST, "label": labels, "usage": usage})}


def cells(probabilities, rows):
    scores = [f"{score(probabilities[rows], IDS[rows]):.4f}" for score in (accuracy, map3)]
    return str(len(rows)), *scores


@pytest.fixture
def probabilities():
    return np.random.default_rng(0).dirichlet(np.ones(4), 5)


def test_all_test_clips_are_scored_where_all_labels_are_known(tmp_path, make_predictions, probabilities):
    folder = make_predictions(tmp_path / "p", **labelled())
    assert leaderboard(folder, probabilities) == [("all", *cells(probabilities, [0, 1, 2, 3, 4]))]
    assert not_scored(folder) == []


def test_public_and_private_clips_are_scored_apart_in_any_case(tmp_path, make_predictions, probabilities):
    usage = ["Public", "private", "PUBLIC", "Ignored", ""]
    assert leaderboard(make_predictions(tmp_path / "p", **labelled(usage=usage)), probabilities) == [
        ("all", *cells(probabilities, [0, 1, 2, 4])),
        ("public", *cells(probabilities, [0, 2])),
        ("private", *cells(probabilities, [1])),
    ]


def test_ignored_unlabelled_and_unknown_clips_are_counted_and_not_scored(tmp_path, make_predictions, probabilities):
    labels, usage = ["", "None", "Siren", "None", ""], ["Ignored", "ignored", "Public", "Private", ""]
    folder = make_predictions(tmp_path / "p", **labelled(labels, usage))
    assert [row[:2] for row in leaderboard(folder, probabilities)] == [("all", "1"), ("private", "1")]
    assert not_scored(folder) == [
        "test clips that are not scored: 2 ignored, 1 unlabelled, 1 of labels that no net knows"
    ]


def test_a_leaderboard_of_ignored_clips_alone_is_the_note(tmp_path, make_predictions):
    folder = make_predictions(tmp_path / "p", **labelled(usage=["Ignored"] * 5))
    assert leaderboard_table([folder], {}) == ["test clips that are not scored: 5 ignored"]


def test_without_test_labels_there_is_nothing(tmp_path, make_predictions, probabilities):
    folder = make_predictions(tmp_path / "p")
    assert leaderboard(folder, probabilities) == leaderboard_table([folder], {}) == not_scored(folder) == []


def test_table_has_the_folders_and_their_mixes_part_by_part(tmp_path, make_predictions):
    usage = ["Public", "Public", "Public", "Private", "Private"]
    one = make_predictions(tmp_path / "a", seed=1, **labelled(usage=usage))
    two = make_predictions(tmp_path / "b", seed=2, config={"model": "conv2d"})  # of before labels were known
    lines = leaderboard_table([two, one], {"all 2": [1, 3]})
    assert lines[0] == "test     model     clips  accuracy   MAP@3  predictions"
    mix = combined_test_predictions([two, one], [1, 3])
    folders = [combined_test_predictions([folder], [1]) for folder in (two, one)]
    assert [tuple(line.split(maxsplit=5)) for line in lines[1:]] == [
        (part, model, *cells(made, rows), name)
        for part, rows in (("all", [0, 1, 2, 3, 4]), ("public", [0, 1, 2]), ("private", [3, 4]))
        for model, made, name in (
            ("conv2d", folders[0], "b"),
            ("conv1d", folders[1], "a"),
            ("ensemble", mix, "all 2"),
        )
    ]
    assert max(map(len, lines)) <= 80
