import msgspec
import numpy as np
import pytest
import soxr

from cache.layout import pack
from cache.specification import (
    GROUP_SECONDS,
    GROUP_SLOTS,
    LogmelSpecification,
    MfccSpecification,
    RawSpecification,
    from_dict,
    resampled_length,
)

ODD_RATES = (1, 3, 7, 97, 8000, 11025, 12345, 16000, 22050, 44056, 44099, 44100, 48000, 95999, 192000, 768000)
SPECIFICATIONS = (
    RawSpecification(1),
    RawSpecification(16000),
    RawSpecification(44100, "float32"),
    MfccSpecification(),
    MfccSpecification(13, 16000),
    MfccSpecification(4, 2000, hop_length=1),
    MfccSpecification(1, 7, n_fft=64, hop_length=3),
)


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
@pytest.mark.parametrize("seed", range(4))
def test_no_packing_exceeds_its_chunks(specification, seed):
    random = np.random.default_rng(seed)
    rates = random.choice(ODD_RATES, 6000)
    seconds = np.where(random.random(6000) < 0.99, random.choice([0, 1e-4, 0.01, 0.3, 2, 30], 6000), 1000)
    samples = np.floor(seconds * random.random(6000) * rates).astype(np.int64)
    _check_fits(specification, samples, rates)


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
@pytest.mark.parametrize("rate", ODD_RATES)
def test_clips_that_all_round_up_fit_a_chunk(specification, rate):
    longest = GROUP_SECONDS * rate // GROUP_SLOTS
    near = np.arange(max(0, longest - 500), longest + 1)
    over = resampled_length(near, rate, specification.sample_rate) * rate - near * specification.sample_rate
    samples = np.full(3 * GROUP_SLOTS, near[np.argmax(over)])
    _check_fits(specification, samples, np.full(len(samples), rate))


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
def test_groups_of_exactly_256_seconds_fit_a_chunk(specification):
    for rate in ODD_RATES:
        total = GROUP_SECONDS * rate
        parts = np.full(min(GROUP_SLOTS, total), total // min(GROUP_SLOTS, total))
        parts[: total - parts.sum()] += 1
        groups = _check_fits(specification, parts, np.full(len(parts), rate))
        assert groups[0] == 0 and parts[groups == 0].sum() <= total


def _check_fits(specification, samples, rates) -> np.ndarray:
    """Every group's capacities together are at most its chunks: one, or as many as a long clip has 256 s."""
    groups = pack(samples, rates, 0)
    n_chunks = np.maximum(1, -(-samples // (GROUP_SECONDS * rates)))
    available = np.zeros(groups[-1] + 1, np.int64)
    np.maximum.at(available, groups, n_chunks * specification.chunk_length)
    used = np.bincount(groups, specification.capacity(samples, rates))
    assert (used <= available).all()
    assert (np.bincount(groups) <= GROUP_SLOTS).all()
    return groups


@pytest.mark.parametrize("native", [100, 6000, 7999, 8000, 11025, 44100, 48000, 192000])
@pytest.mark.parametrize("asked", [100, 8000, 16000, 22050, 44100])
def test_resampled_length_is_that_of_soxr_or_one_more_at_ties(native, asked):
    random = np.random.default_rng(native + asked)
    for n in [1, 2, 3, 5, 100, 441, *random.integers(1, native // 2, 8).tolist()]:
        found = len(soxr.resample(np.zeros(n, np.float32), native, asked, "HQ"))
        tie = (2 * n * asked) % (2 * native) == native
        expected = int(resampled_length(n, native, asked))
        assert found == expected or (tie and found == expected - 1), n


def test_soxr_gives_one_less_at_some_exact_ties():
    assert int(resampled_length(100, 6000, 22050)) == 368
    assert len(soxr.resample(np.zeros(100, np.float32), 6000, 22050, "HQ")) in (367, 368)


def test_resampled_length_rounds_to_the_nearest_and_ties_up():
    assert resampled_length(np.array([0, 1, 2, 3, 441]), 44100, 16000).tolist() == [0, 0, 1, 1, 160]
    assert resampled_length(np.array([1, 3]), 2, 1).tolist() == [1, 2]


def test_resampled_length_is_exact_for_years_of_audio():
    n = 10 * 365 * 24 * 3600 * 44100
    assert int(resampled_length(n, 44100, 16000)) == 10 * 365 * 24 * 3600 * 16000


def test_a_recording_without_a_rate_has_no_length():
    assert resampled_length(np.array([5, 0]), np.array([0, 0]), 16000).tolist() == [0, 0]
    assert MfccSpecification().capacity(np.array([5]), np.array([0])).tolist() == [0]


def test_capacity_of_mfcc_is_librosas_number_of_frames():
    specification = MfccSpecification(sample_rate=16000)
    assert specification.capacity(np.array([0, 1, 511, 512, 16000]), 16000).tolist() == [0, 1, 1, 2, 32]


def test_names_say_the_numbers_and_hash_the_rest():
    assert RawSpecification().name == "raw-16000.zarr"
    assert RawSpecification(8000).name == "raw-8000.zarr"
    assert MfccSpecification().name == "mfcc-40-44100.zarr"
    assert MfccSpecification(20, 16000).name == "mfcc-20-16000.zarr"
    assert RawSpecification(16000, "float32").name == "raw-16000-0e412442.zarr"
    assert MfccSpecification(hop_length=256).name == "mfcc-40-44100-554a0b0c.zarr"


def test_every_field_that_is_not_in_the_name_changes_it():
    for default in (RawSpecification(), MfccSpecification(), LogmelSpecification()):
        for name in default.__struct_fields__:
            value = getattr(default, name)
            changed = value + "x" if isinstance(value, str) else 60 if value is None else value * 2
            assert msgspec.structs.replace(default, **{name: changed}).name != default.name, name


def test_hash_depends_on_values_alone():
    assert MfccSpecification(40, 44100).hash() == MfccSpecification().hash()
    assert len({s.hash() for s in SPECIFICATIONS}) == len(SPECIFICATIONS)


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda s: s.name)
def test_dict_round_trip(specification):
    assert from_dict(specification.to_dict()) == specification


RAW, MFCC = RawSpecification().to_dict(), MfccSpecification().to_dict()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({**RAW, "kind": "chroma"}, "Invalid value 'chroma' - at `$.kind`"),
        ({}, "missing required field `kind`"),
        ([], "Expected `object`, got `array`"),
        (None, "Expected `object`, got `null`"),
        ({**RAW, "kind": ["raw"]}, "Expected `str`, got `.*` - at `$.kind`"),
        ({**RAW, "bits": 24}, "unknown field `bits`"),
        ({"kind": "raw", "sample_rate": 100}, "misses field `channels`"),
        ({**RAW, "sample_rate": "100"}, "Expected `int`, got `str` - at `$.sample_rate`"),
        ({**RAW, "sample_rate": True}, "Expected `int`, got `bool` - at `$.sample_rate`"),
        ({**RAW, "sample_rate": 100.0}, "Expected `int`, got `float` - at `$.sample_rate`"),
        ({**RAW, "sample_rate": 0}, "Expected `int` >= 1 - at `$.sample_rate`"),
        ({**RAW, "sample_rate": 10**300}, "Expected `int` <= 10000000 - at `$.sample_rate`"),
        ({**RAW, "dtype": "object"}, "'object' - at `$.dtype`"),
        ({**RAW, "dtype": None}, "`$.dtype`"),
        ({**RAW, "channels": "left"}, "'left' - at `$.channels`"),
        ({**RAW, "trim_db": float("nan")}, "Expected `float` > 0.0 - at `$.trim_db`"),
        ({**RAW, "trim_db": False}, "got `bool` - at `$.trim_db`"),
        ({**MFCC, "n_mfcc": -1}, "Expected `int` >= 1 - at `$.n_mfcc`"),
        ({**MFCC, "top_db": None}, "got `null` - at `$.top_db`"),
        ({**MFCC, "amin": "1e-10"}, "got `str` - at `$.amin`"),
        ({**MFCC, "hop_length": [512]}, "`$.hop_length`"),
    ],
    ids=str,
)
def test_fields_are_checked_like_input_from_outside(values, says):
    with pytest.raises(ValueError, match=says.replace("$.", r"\$\.")):
        from_dict(values)


def test_more_coefficients_serve_fewer_and_nothing_else():
    forty = MfccSpecification()
    assert forty.serves(MfccSpecification(20)) and forty.serves(forty)
    assert not MfccSpecification(20).serves(forty)
    assert not forty.serves(MfccSpecification(20, 16000))
    assert not forty.serves(MfccSpecification(20, hop_length=256))
    assert not forty.serves(RawSpecification())


def test_raw_serves_itself_alone():
    assert RawSpecification().serves(RawSpecification(16000))
    assert not RawSpecification().serves(RawSpecification(8000))
    assert not RawSpecification().serves(RawSpecification(dtype="float32"))
    assert not RawSpecification().serves(MfccSpecification())


def test_chunk_lengths_are_pinned():
    """They are the format's geometry: a change makes every cache foreign."""
    assert RawSpecification().chunk_length == 4_096_512
    assert MfccSpecification().chunk_length == 23_075
    assert RawSpecification(100).chunk_length == 26_112
