import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from cache import open_cache
from cache.windows.cut import plain_plan
from cache.windows.randomness import clip_keys
from train.input.augment import Augmentation
from train.recipe import DEFAULT, NOTEBOOK

N, SHAPE = 300, (100, 64)
KEYS = clip_keys([f"{number}.wav" for number in range(N)])
CLIPS = np.arange(N) + 10
LENGTHS = np.random.default_rng(0).integers(20, 500, N)
MASKED = dataclasses.replace(DEFAULT, time_mask=0.1)


def _plan(epoch=0, rows=None, kind="logmel", seed=1, recipe=MASKED, keep=None, **changes):
    keep = np.arange(N) if keep is None else keep
    recipe = dataclasses.replace(recipe, **changes)
    windows = SimpleNamespace(kind=kind, shape=SHAPE, lengths=np.concatenate([np.zeros(10, int), LENGTHS]))
    draws = Augmentation(recipe, seed, windows, CLIPS[keep], KEYS[keep])
    return draws(epoch, np.arange(len(keep)) if rows is None else rows)


def _equal(one, other):
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))


def test_plans_depend_on_seed_epoch_and_clip_alone():
    everything, partners = _plan(3)
    rows = np.array([7, 250, 3])
    some, their_partners = _plan(3, rows)
    for field in dataclasses.fields(some):
        assert np.array_equal(getattr(some, field.name), getattr(everything, field.name)[rows])
    assert np.array_equal(their_partners, partners[rows])
    assert not _equal(everything, _plan(4)[0])
    assert not _equal(everything, _plan(3, seed=2)[0])


def test_what_a_clip_gets_but_for_its_partner_is_the_same_in_every_fold():
    keep = np.arange(0, N, 2)
    everything, fold = _plan(3)[0], _plan(3, keep=keep)[0]
    for name in ("clips", "offsets", "shares", "gains", "flipped", "time_masks", "band_masks"):
        assert np.array_equal(getattr(everything, name)[keep], getattr(fold, name))


def test_partners_are_clips_that_are_trained_on_with_offsets_of_their_own():
    keep = np.arange(0, N, 2)
    plan, rows = _plan(0, keep=keep)
    assert np.array_equal(plan.partners, CLIPS[keep][rows])
    assert len(set(rows)) > 70  # of 150: they are drawn, not paired
    spans = LENGTHS[keep][rows] - SHAPE[0]
    assert (plan.partner_offsets >= np.minimum(spans, 0)).all()
    assert (plan.partner_offsets <= np.maximum(spans, 0)).all()


def test_shares_are_the_greater_side_of_a_beta_distribution():
    shares = np.concatenate([_plan(epoch, mixup=0.4)[0].shares for epoch in range(30)])
    drawn = np.random.default_rng(0).beta(0.4, 0.4, 100_000)
    assert shares.min() >= 0.5 and shares.max() <= 1
    quantiles = np.linspace(0.05, 0.95, 19)
    expected = np.quantile(np.maximum(drawn, 1 - drawn), quantiles)
    assert np.allclose(np.quantile(shares, quantiles), expected, atol=0.02)


def test_gains_are_uniform_in_db_both_ways():
    gains = np.concatenate([_plan(epoch, gain=6.0)[0].gains for epoch in range(20)])
    assert gains.dtype == np.float32
    assert -6 <= gains.min() < -5.9 and 5.9 < gains.max() <= 6
    assert abs(gains.mean()) < 0.2


def test_half_of_the_raw_windows_are_turned_in_polarity_and_no_frames():
    flipped = np.concatenate([_plan(epoch, kind="raw")[0].flipped for epoch in range(20)])
    assert 0.47 < flipped.mean() < 0.53
    assert not _plan(kind="logmel")[0].flipped.any()
    assert not _plan(kind="raw", polarity=False)[0].flipped.any()


def test_masks_lie_inside_the_window_and_are_no_longer_than_asked():
    plan = _plan(time_mask=0.2, band_mask=0.25)[0]
    for masks, length, most in ((plan.time_masks, 100, 20), (plan.band_masks, 64, 16)):
        widths = masks[..., 1] - masks[..., 0]
        assert masks.shape == (N, 2, 2)
        assert widths.min() == 0 and widths.max() == most
        assert masks.min() == 0 and masks.max() == length


@pytest.mark.parametrize("kind", ["raw", "mfcc"])
def test_only_log_mel_bands_are_hidden(kind):
    plan = _plan(kind=kind)[0]
    assert plan.band_masks.shape == (N, 0, 2)
    assert plan.time_masks.shape == (N, 2, 2)


def test_windows_cut_once_have_the_same_offsets_in_every_epoch():
    once = [_plan(epoch, windows="once")[0] for epoch in range(3)]
    assert np.array_equal(once[0].offsets, once[2].offsets)
    assert not np.array_equal(once[0].gains, once[2].gains)
    assert not np.array_equal(_plan(0)[0].offsets, _plan(2)[0].offsets)


def test_the_notebooks_windows_are_plain():
    for kind in ("raw", "mfcc", "logmel"):
        plan, rows = _plan(2, kind=kind, recipe=NOTEBOOK)
        assert np.array_equal(rows, np.arange(N))
        assert (plan.shares == 1).all() and not plan.gains.any() and not plan.flipped.any()
        assert plan.time_masks.shape[1] == plan.band_masks.shape[1] == 0


def test_plain_plan_change_nothing():
    plan = plain_plan(CLIPS, LENGTHS)
    assert (plan.shares == 1).all() and not plan.gains.any() and not plan.flipped.any()
    assert plan.time_masks.shape == plan.band_masks.shape == (N, 0, 2)


def test_some_of_the_plan_are_those_of_some_of_the_clips():
    rows = np.arange(N)
    assert _equal(_plan(2, rows)[0][3:70], _plan(2, rows[3:70])[0])


@pytest.mark.parametrize(("model", "kind", "options"), [("conv1d", "raw", {}), ("conv2d", "mfcc", {"mfcc": 20})])
def test_windows_of_the_cache_begin_where_the_trainers_do(work, dataset, model, kind, options):
    opened = dataset(model, seconds=0.4, quick=True, **options)
    usable = np.flatnonzero(opened.usable)
    draws = Augmentation(opened.settings, 7, opened.windows, usable, clip_keys(opened.train["clip"])[usable])
    windows = open_cache(work / "cache").windows(kind, seconds=0.4, seed=7)
    assert windows.rows.tolist() == usable.tolist() and windows.labels == opened.labels
    assert windows.label_ids.tolist() == opened.label_ids[usable].tolist()
    for epoch in (0, 3):
        plan, _ = draws(epoch, np.arange(len(usable)))
        assert windows.offsets(np.arange(len(usable)), epoch).tolist() == plan.offsets.tolist()
        plain = opened.windows.cut(plain_plan(usable, plan.offsets))
        assert np.array_equal(windows.batch(np.arange(len(usable)), epoch)[0], plain)
