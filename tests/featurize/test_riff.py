"""A wav's sizes are held against the file."""

import struct

import numpy as np
import pytest
import soundfile as sf

from featurize.riff import wav_data, with_sizes

N = 1000


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.linspace(-0.5, 0.5, N), 8000)
    return path


def patch_data_size(path, size):
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)


def test_a_sound_wav_is_neither_truncated_nor_streamed(wav):
    found = wav_data(wav)
    assert (found.n_samples, found.truncated, found.streamed) == (N, False, False)


def test_a_file_that_ends_early_is_truncated(wav):
    wav.write_bytes(wav.read_bytes()[: -N // 2])
    found = wav_data(wav)
    assert found.truncated and found.n_samples == N - N // 4


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_wav_has_the_samples_that_are_there(wav, size):
    patch_data_size(wav, size)
    found = wav_data(wav)
    assert found.streamed and not found.truncated and found.n_samples == N
    wav.write_bytes(with_sizes(wav.read_bytes(), found))
    assert sf.info(wav).frames == N


def test_a_header_without_samples_is_empty_not_streamed(tmp_path):
    sf.write(tmp_path / "a.wav", np.empty(0), 8000)
    assert not wav_data(tmp_path / "a.wav").streamed and wav_data(tmp_path / "a.wav").n_samples == 0


def test_an_empty_data_chunk_before_other_chunks_is_empty(tmp_path):
    sf.write(tmp_path / "a.wav", np.empty(0), 8000)
    with open(tmp_path / "a.wav", "ab") as file:
        file.write(b"LIST" + struct.pack("<I", 6) + b"INFO  ")
    assert not wav_data(tmp_path / "a.wav").streamed


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"fLaC" + bytes(40), b"RIFF\0\0\0\0WAVEfmt "])
def test_other_files_have_no_data_chunk(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert wav_data(tmp_path / "a") is None
