"""Any rate, width, container and channel count becomes one float32 channel, or a reason."""

import numpy as np
import pytest
import soundfile as sf

from featurize.decode import DecodeError, Header, decode, digest, read_header

RATE = 8000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / RATE)


def decoded(path):
    return decode(path, read_header(path))


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 1e-2),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-6),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "DOUBLE", 1e-7),
        ("a.wav", "ULAW", 2e-2),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
        ("a.ogg", "VORBIS", 5e-2),
        ("a.aiff", "PCM_16", 1e-4),
    ],
)
def test_every_width_and_container_decodes(tmp_path, name, subtype, tolerance):
    sf.write(tmp_path / name, TONE, RATE, subtype=subtype)
    recording = decoded(tmp_path / name)
    assert recording.samples.dtype == np.float32 and recording.sample_rate == RATE and not recording.truncated
    np.testing.assert_allclose(recording.samples, TONE, atol=tolerance)


def test_mp3_is_measured_by_decoding(tmp_path):
    sf.write(tmp_path / "a.mp3", TONE, RATE)
    header = read_header(tmp_path / "a.mp3")
    assert header.native_samples == len(decoded(tmp_path / "a.mp3").samples) >= len(TONE)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_every_rate_is_read_from_the_header(tmp_path, rate):
    sf.write(tmp_path / "a.wav", TONE, rate)
    assert read_header(tmp_path / "a.wav") == Header(rate, len(TONE))


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_stereo_is_the_mean_of_its_channels(tmp_path, subtype):
    left, right = TONE, 0.25 * TONE[::-1]
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype=subtype)
    np.testing.assert_allclose(decoded(tmp_path / "a.wav").samples, (left + right) / 2, atol=1e-4)


def test_a_recording_longer_than_a_block_is_read_whole(tmp_path):
    samples = np.random.default_rng(0).integers(-1000, 1000, (1 << 20) + 77).astype(np.int16)
    sf.write(tmp_path / "a.wav", samples, RATE)
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav").samples, samples / np.float32(32768))


def test_a_truncated_wav_is_used_as_far_as_it_goes(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-1000])
    recording = decoded(tmp_path / "a.wav")
    assert recording.truncated
    np.testing.assert_allclose(recording.samples, TONE[:-500], atol=1e-4)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_a_truncated_compressed_recording_is_used_as_far_as_it_goes(tmp_path, name):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 400_000)
    sf.write(tmp_path / name, noise, RATE)
    data = (tmp_path / name).read_bytes()
    header = read_header(tmp_path / name)
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    recording = decode(tmp_path / name, header)
    assert recording.truncated and 0.3 * len(noise) < len(recording.samples) < 0.7 * len(noise)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_wav_is_read_whole(tmp_path, size):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    recording = decoded(tmp_path / "a.wav")
    assert len(recording.samples) == len(TONE) and not recording.truncated


def test_zero_bytes_and_a_header_without_samples_are_empty(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    sf.write(tmp_path / "b.wav", np.empty(0), RATE)
    for name in ("a.wav", "b.wav"):
        recording = decoded(tmp_path / name)
        assert len(recording.samples) == 0 and not recording.truncated


def test_a_text_file_named_wav_is_refused_with_the_reason(tmp_path):
    (tmp_path / "a.wav").write_text("no sound at all\n" * 100)
    assert read_header(tmp_path / "a.wav") == Header(0, 0)
    with pytest.raises(DecodeError, match="not a recording that libsndfile can decode"):
        decoded(tmp_path / "a.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path, value):
    samples = TONE.copy()
    samples[17] = value
    sf.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(DecodeError, match="samples must be finite, got NaN or infinity"):
        decoded(tmp_path / "a.wav")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "a.wav", Header(8000, 10))


def test_a_rate_that_cannot_be_is_refused(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, 1)
    with pytest.raises(DecodeError, match="its sample rate must be at least 100 Hz, got 1"):
        decoded(tmp_path / "a.wav")


def test_a_recording_whose_header_could_not_be_read_before_is_not_taken_for_empty(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    with pytest.raises(DecodeError, match="its header could not be read when it was planned; touch it"):
        decode(tmp_path / "a.wav", Header(0, 0))


def test_what_is_sound_of_a_damaged_flac_is_kept(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 200_000)
    sf.write(tmp_path / "a.flac", noise, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    (tmp_path / "a.flac").write_bytes(data)
    assert len(decoded(tmp_path / "a.flac").samples) > 0.3 * len(noise)


def test_a_header_that_claims_days_costs_nothing(tmp_path):
    sf.write(tmp_path / "a.flac", TONE, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F  # STREAMINFO's 36-bit count of samples
    data[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(data)
    assert read_header(tmp_path / "a.flac").native_samples <= 2 * len(TONE)


def test_digest_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a") == "06b05ab6733a618578af5f94892f3950"  # xxh3-128 of "abc", xxHash's test vectors
