from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from train.settings import SettingsError, settings_for
from train.split import assign_folds, chosen_folds, missing_labels


def _dataset(targets, used=None, verified=None, **columns):
    labels = [f"label {number}" for number in range(max(targets) + 1)]
    train = pd.DataFrame({"clip": [f"{n}.wav" for n in range(len(targets))], **columns})
    usable = np.ones(len(targets), bool) if used is None else np.array(used)
    verified = np.ones(len(targets), bool) if verified is None else np.array(verified)
    return SimpleNamespace(
        train=train, labels=labels, label_ids=np.array(targets), usable=usable, verified=verified
    )


def test_folds_are_scikit_learns_unshuffled_stratified_folds():
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 15))
    folds = assign_folds(_dataset(targets.tolist()), settings_for("conv1d", folds=5))
    for fold, (_, held_out) in enumerate(StratifiedKFold(5).split(targets, targets)):
        assert np.flatnonzero(folds == fold).tolist() == held_out.tolist()


def test_strata_smaller_than_the_folds_give_way_to_labels():
    verified = [True, False] * 4
    folds = assign_folds(_dataset([0, 0, 0, 0, 1, 1, 1, 1], verified=verified), settings_for("conv1d", folds=4))
    assert np.bincount(folds).tolist() == [2, 2, 2, 2]


def test_clips_that_take_no_part_are_in_no_fold_and_do_not_shift_the_others():
    used = [True, False, True, True, True, False]
    folds = assign_folds(_dataset([0, 0, 1, 0, 1, 1], used), settings_for("conv1d", folds=2))
    assert folds[[1, 5]].tolist() == [-1, -1]
    without = assign_folds(_dataset([0, 1, 0, 1]), settings_for("conv1d", folds=2))
    assert folds[[0, 2, 3, 4]].tolist() == without.tolist()


def test_a_label_with_fewer_clips_than_folds_is_named():
    message = (
        r"label 'label 1': clips that take part must be at least 3, one for each fold, got 2; "
        r"lower --folds, or add clips of it"
    )
    with pytest.raises(SettingsError, match=message):
        assign_folds(_dataset([0, 0, 0, 0, 1, 1, 2, 2, 2]), settings_for("conv1d", folds=3))


def test_a_label_none_of_whose_clips_takes_part_is_named():
    with pytest.raises(SettingsError, match=r"label 'label 1': clips .* must be at least 2, .* got 0"):
        assign_folds(_dataset([0, 0, 1], [True, True, False]), settings_for("conv1d", folds=2))


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"folds": 3}, "lower --folds, or add clips of it"),
        ({"folds": 2, "quick": True, "limit": 3}, "raise or leave out --limit, or add clips of it"),
        ({"folds": 2}, "add clips of it"),
        ({"folds": 3, "verified_only": True}, "leave out --verified-only, or lower --folds, or add clips of it"),
    ],
)
def test_the_advice_for_a_label_with_too_few_clips_can_be_followed(changes, advice):
    with pytest.raises(SettingsError, match=rf"got 1; {advice}$"):
        assign_folds(_dataset([0, 0, 0, 1]), settings_for("conv1d", **changes))


def test_a_limit_that_leaves_one_label_is_named():
    message = r"labels must be at least 2, got only 'label 0'; raise or leave out --limit, or add clips of another"
    with pytest.raises(SettingsError, match=message):
        assign_folds(_dataset([0, 0, 0]), settings_for("conv1d", quick=True, limit=3))


def test_a_single_label_is_refused():
    message = r"the dataset: labels must be at least 2, got only 'label 0'; add clips of another"
    with pytest.raises(SettingsError, match=message):
        assign_folds(_dataset([0, 0, 0]), settings_for("conv1d", folds=2))


def test_a_columns_values_are_the_folds_in_natural_order():
    column = ["fold10", "fold2", "fold1", "fold2"]
    folds = assign_folds(_dataset([0, 1, 0, 1], part=column), settings_for("conv1d", fold_column="part"))
    assert folds.tolist() == [2, 1, 0, 1]


def test_numbers_in_a_column_are_ordered_as_numbers():
    folds = assign_folds(_dataset([0, 1, 0], part=["10", "9", "1"]), settings_for("conv1d", fold_column="part"))
    assert folds.tolist() == [2, 1, 0]


def test_any_column_may_hold_the_folds():
    dataset = _dataset([0, 1, 0], manually_verified=pd.array([1, 0, 1], "Int8"))
    assert assign_folds(dataset, settings_for("conv1d", fold_column="manually_verified")).tolist() == [1, 0, 1]


def test_a_column_need_not_name_folds_of_clips_that_take_no_part():
    dataset = _dataset([0, 1, 0], [True, True, False], part=["a", "b", ""])
    assert assign_folds(dataset, settings_for("conv1d", fold_column="part")).tolist() == [0, 1, -1]


def test_a_missing_column_is_refused():
    message = r"--fold-column must be a column of the dataset \(part\), got 'prat'"
    with pytest.raises(SettingsError, match=message):
        assign_folds(_dataset([0, 1], part=["a", "b"]), settings_for("conv1d", fold_column="prat"))


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_empty_value_names_its_clip(empty):
    message = r"1.wav: column 'part' must name a fold, got nothing; fill it in and run featurize again"
    with pytest.raises(SettingsError, match=message):
        assign_folds(_dataset([0, 1], part=["a", empty]), settings_for("conv1d", fold_column="part"))


def test_a_column_with_one_value_is_refused():
    message = r"--fold-column part: values must be at least 2, one for each fold, got only 'a'; name another column"
    with pytest.raises(SettingsError, match=message):
        assign_folds(_dataset([0, 1], part=["a", "a"]), settings_for("conv1d", fold_column="part"))


def test_a_column_needs_clips_that_take_part():
    dataset = _dataset([0, 1], [False, False], part=["a", "b"])
    with pytest.raises(SettingsError, match=r"--fold-column part: values must be at least 2, .* got none"):
        assign_folds(dataset, settings_for("conv1d", fold_column="part"))


def test_verified_and_unverified_clips_of_each_label_are_spread_evenly():
    random = np.random.default_rng(0)
    targets, verified = random.permutation(np.repeat(np.arange(2), 30)), random.uniform(size=60) < 0.4
    dataset = _dataset(targets.tolist(), verified=verified)
    folds = assign_folds(dataset, settings_for("conv1d", folds=3))
    for label in (0, 1):
        for kind in (True, False):
            counts = np.bincount(folds[(targets == label) & (verified == kind)], minlength=3)
            assert counts.max() - counts.min() <= 1
    plain = assign_folds(dataset, settings_for("conv1d", folds=3, strata="label"))
    assert plain.tolist() == assign_folds(_dataset(targets.tolist()), settings_for("conv1d", folds=3)).tolist()
    assert plain.tolist() != folds.tolist()


@pytest.mark.filterwarnings("error")
def test_a_kind_with_fewer_clips_than_folds_is_no_matter():
    dataset = _dataset([0, 1] * 6, verified=[False] + [True] * 11)
    counts = np.bincount(assign_folds(dataset, settings_for("conv1d", folds=4)))
    assert counts.tolist() == [3, 3, 3, 3]


def test_clips_of_one_group_share_a_fold():
    random = np.random.default_rng(0)
    targets, sources = random.integers(0, 3, 90), random.integers(0, 25, 90)
    dataset = _dataset(targets.tolist(), source=[f"s{number}" for number in sources])
    folds = assign_folds(dataset, settings_for("conv1d", folds=4, group_by="source"))
    assert all(len(set(folds[sources == source])) == 1 for source in set(sources))
    split = StratifiedGroupKFold(4)
    for fold, (_, held_out) in enumerate(split.split(targets, 2 * targets + 1, pd.factorize(sources)[0])):
        assert np.flatnonzero(folds == fold).tolist() == held_out.tolist()


def test_clips_without_a_group_are_groups_of_their_own():
    dataset = _dataset([0, 1] * 4, source=[""] * 8)
    assert (
        np.bincount(assign_folds(dataset, settings_for("conv1d", folds=4, group_by="source"))).tolist() == [2] * 4
    )


def test_too_few_groups_are_refused():
    dataset = _dataset([0, 1] * 4, source=["a", "b"] * 4)
    message = r"--group-by source: groups must be at least 3, one for each fold, got 2; lower --folds, or add clips of other groups"
    with pytest.raises(SettingsError, match=message):
        assign_folds(dataset, settings_for("conv1d", folds=3, group_by="source"))


def test_a_group_column_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match=r"--group-by must be a column of the dataset \(part\), got 'prat'"):
        assign_folds(_dataset([0, 1, 0, 1], part=list("abab")), settings_for("conv1d", folds=2, group_by="prat"))


def test_labels_that_a_fold_cannot_learn_are_found():
    dataset = _dataset([0, 0, 1, 1, 2, 2])
    assert missing_labels(dataset, np.array([0, 1, 0, 1, 1, 1])) == [(1, "label 2", 2)]
    assert missing_labels(dataset, np.array([0, 1, 0, 1, 0, 1])) == []
    assert missing_labels(dataset, np.array([0, 1, 0, 1, 0, -1])) == [(0, "label 2", 1)]


def test_all_folds_are_chosen_unless_some_are_named():
    folds = np.array([0, 1, 2, -1])
    assert chosen_folds(settings_for("conv1d"), folds) == [0, 1, 2]
    assert chosen_folds(settings_for("conv1d", fold=(2, 0, 2)), folds) == [0, 2]


def test_a_fold_that_does_not_exist_is_refused():
    with pytest.raises(SettingsError, match=r"--fold must be 0 to 2, as there are 3 folds, got 3"):
        chosen_folds(settings_for("conv1d", fold=(1, 3)), np.array([0, 1, 2]))
