from types import SimpleNamespace

import keras
import numpy as np
import pytest
import soundfile as sf

from cache import LogmelSpecification, MfccSpecification, RawSpecification
from tag.front_end import windows
from tag.nets import Net
from tag.recordings import featurized
from train.input.batches import CropBatches

RATE = 8000
SPECIFICATIONS = [
    RawSpecification(RATE),
    RawSpecification(RATE, dtype="float32", trim_db=30.0),
    LogmelSpecification(32, RATE, trim_db=40.0),
    MfccSpecification(20, RATE),
]


@pytest.fixture(params=SPECIFICATIONS, ids=lambda specification: specification.name)
def net(request):
    """A net that is not trained; it averages 3 windows of a second, of 12 MFCCs or all bands."""
    config = {
        "stores": [{"specification": request.param.to_dict()}],
        "settings": {"seconds": 1.0, "crops": 3, "mfcc": 12},
    }
    return Net(SimpleNamespace(config=config, path="predictions"))


@pytest.fixture
def graph(net):
    waveform = keras.Input((None,))
    model = keras.Model(waveform, windows(waveform, net.specification, net.length, net.width, net.crops))
    return lambda samples: tuple(map(np.asarray, model(samples)))


def clips() -> dict[str, np.ndarray]:
    """One of every sort, float32."""
    rng, window = np.random.default_rng(5), RATE
    noise = {n: rng.uniform(-0.5, 0.5, n) for n in (0, 1, 700, window, window + 1, window + 512, window + 1024)}
    time = np.arange(4 * window) / RATE
    tone = 0.4 * np.sin(2 * np.pi * 440 * time) * (time > 1)
    faint = rng.uniform(-1e-5, 1e-5, 3 * window)
    faint[window : window + 4000] += rng.uniform(-0.9, 0.9, 4000)
    odd = {"silent": np.zeros(2 * window), "tone": tone, "faint": faint, "loud": 3 * faint}
    return {str(name): samples.astype(np.float32) for name, samples in {**noise, **odd}.items()}


def test_windows_are_those_that_a_run_predicts(net, graph, tmp_path):
    of_name = clips()
    for name, samples in of_name.items():
        sf.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
    cache, reasons = featurized([tmp_path / f"{name}.wav" for name in of_name], [net.specification], tmp_path / "c")
    rows, expected = CropBatches(net.windows(cache), np.arange(len(of_name)), net.crops, 10**6)(0)
    assert not reasons
    for row, (name, samples) in enumerate(of_name.items()):
        cut, there = graph(samples[None])
        assert there.sum() == (rows == row).sum(), name
        assert np.abs(cut[there] - expected[rows == row]).max() < (1e-5 if net.width == 1 else 5e-3), name  # dB


def test_clips_of_a_batch_do_not_change_each_other(net, graph):
    of_name = clips()
    faint, tone = of_name["faint"], of_name["tone"][: 3 * RATE]
    batch = np.stack([faint, tone, 0 * tone])  # as many as crops
    together, there = graph(batch)
    for row, samples in enumerate(batch):
        alone, there_alone = graph(samples[None])
        assert np.array_equal(there[row], there_alone[0])
        assert np.abs(together[row] - alone[0])[there[row]].max() < 1e-3
