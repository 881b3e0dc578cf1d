import pytest

from train.recipe import DEFAULT, NOTEBOOK, recipe_for


def test_the_notebook_cuts_windows_of_frames_once():
    assert recipe_for("notebook", "conv1d").windows == "each-epoch"
    assert recipe_for("notebook", "conv2d").windows == "once"
    assert recipe_for("default", "conv2d") == DEFAULT


@pytest.mark.parametrize(("n_clips", "n_epochs"), [(0, 400), (16, 200), (256, 100), (8500, 42), (1_000_000, 13)])
def test_fewer_clips_get_more_epochs(n_clips, n_epochs):
    assert DEFAULT.n_epochs("conv2d", n_clips) == n_epochs


def test_epochs_and_step_size_are_the_nets():
    assert DEFAULT.n_epochs("conv1d", 256) == 150
    assert [recipe_for("default", net).learning_rate for net in ("conv1d", "mobilenet")] == [1e-3, 3e-3]
    assert recipe_for("notebook", "mobilenet").learning_rate == 1e-3


def test_epochs_that_are_given_are_those():
    assert NOTEBOOK.n_epochs("conv1d", 3) == 50
