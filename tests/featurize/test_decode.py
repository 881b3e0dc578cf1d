"""Any rate, width, container and channel count becomes one float32 channel, or a reason."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
import xxhash

from featurize.decode import DecodeError, Header, ReadError, Recording, read_header

RATE = 8000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / RATE)


def decoded(source, header=None):
    """All samples of a path or bytes, and whether data was missing; both ways of reading agree."""
    with Recording(source, header or read_header(source)) as recording:
        samples = recording.samples().copy()
        truncated = recording.truncated
        blocks = [np.empty(0, np.float32), *(block.copy() for block in recording.blocks())]
        np.testing.assert_array_equal(np.concatenate(blocks), samples)
        assert recording.truncated == truncated and samples.dtype == np.float32
        return samples, truncated


def written(samples=TONE, rate=RATE, **form):
    """The bytes of a recording."""
    sf.write(file := io.BytesIO(), samples, rate, **form)
    return file.getvalue()


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
    samples, truncated = decoded(tmp_path / name)
    assert not truncated
    np.testing.assert_allclose(samples, TONE, atol=tolerance)


def test_mp3_is_measured_by_decoding(tmp_path):
    sf.write(tmp_path / "a.mp3", TONE, RATE)
    header = read_header(tmp_path / "a.mp3")
    assert header.native_samples == len(decoded(tmp_path / "a.mp3")[0]) >= len(TONE)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_every_rate_is_read_from_the_header(tmp_path, rate):
    sf.write(tmp_path / "a.wav", TONE, rate)
    assert read_header(tmp_path / "a.wav") == Header(rate, len(TONE))


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_stereo_is_the_mean_of_its_channels(tmp_path, subtype):
    left, right = TONE, 0.25 * TONE[::-1]
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype=subtype)
    np.testing.assert_allclose(decoded(tmp_path / "a.wav")[0], (left + right) / 2, atol=1e-4)


def test_a_recording_longer_than_a_block_is_read_whole(tmp_path):
    samples = np.random.default_rng(0).integers(-1000, 1000, (1 << 20) + 77).astype(np.int16)
    sf.write(tmp_path / "a.wav", samples, RATE)
    np.testing.assert_array_equal(decoded(tmp_path / "a.wav")[0], samples / np.float32(32768))


def test_a_truncated_wav_is_used_as_far_as_it_goes(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-1000])
    samples, truncated = decoded(tmp_path / "a.wav")
    assert truncated
    np.testing.assert_allclose(samples, TONE[:-500], atol=1e-4)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_a_truncated_compressed_recording_is_used_as_far_as_it_goes(tmp_path, name):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 400_000)
    sf.write(tmp_path / name, noise, RATE)
    data = (tmp_path / name).read_bytes()
    header = read_header(tmp_path / name)
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    samples, truncated = decoded(tmp_path / name, header)
    assert truncated and 0.3 * len(noise) < len(samples) < 0.7 * len(noise)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_wav_is_read_whole(tmp_path, size):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    samples, truncated = decoded(tmp_path / "a.wav")
    assert len(samples) == len(TONE) and not truncated


def test_zero_bytes_and_a_header_without_samples_are_empty(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    sf.write(tmp_path / "b.wav", np.empty(0), RATE)
    for name in ("a.wav", "b.wav"):
        samples, truncated = decoded(tmp_path / name)
        assert len(samples) == 0 and not truncated


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
    with pytest.raises(ReadError, match="^No such file or directory$"):
        Recording(tmp_path / "a.wav", Header(8000, 10))


def test_a_rate_that_cannot_be_is_refused(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, 1)
    with pytest.raises(DecodeError, match="its sample rate must be at least 100 Hz, got 1"):
        decoded(tmp_path / "a.wav")


def test_a_recording_whose_header_could_not_be_read_before_is_not_taken_for_empty(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    with pytest.raises(DecodeError, match="its header could not be read when it was planned; touch it"):
        decoded(tmp_path / "a.wav", Header(0, 0))


def test_what_is_sound_of_a_damaged_flac_is_kept(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 200_000)
    sf.write(tmp_path / "a.flac", noise, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 5000] = bytes(5000)
    (tmp_path / "a.flac").write_bytes(data)
    assert len(decoded(tmp_path / "a.flac")[0]) > 0.3 * len(noise)


def test_a_header_that_claims_days_costs_nothing(tmp_path):
    sf.write(tmp_path / "a.flac", TONE, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x0F  # STREAMINFO's 36-bit count of samples
    data[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(data)
    assert read_header(tmp_path / "a.flac").native_samples <= 2 * len(TONE)


def test_digest_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with Recording(tmp_path / "a", Header(0, 0)) as recording:
        assert recording.digest == "06b05ab6733a618578af5f94892f3950"  # xxh3-128 of "abc", xxHash's test vectors


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_several_channels_are_averaged(subtype):
    channels = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 5))
    samples, _ = decoded(written(channels, format="WAV", subtype=subtype))
    np.testing.assert_allclose(samples, channels.mean(axis=1), atol=1e-4)


def test_the_digest_is_that_of_the_bytes_that_were_decoded(tmp_path):
    for data in (written(format="WAV"), written(format="FLAC")):
        (tmp_path / "a").write_bytes(data)
        for source in (tmp_path / "a", data):
            with Recording(source, read_header(source)) as recording:
                assert recording.digest == xxhash.xxh3_128_hexdigest(data)
                (tmp_path / "a").write_bytes(b"another recording")  # too late
                np.testing.assert_allclose(recording.samples(), TONE, atol=1e-4)
            (tmp_path / "a").write_bytes(data)


def test_a_file_that_is_not_held_in_memory_is_decoded_alike_and_must_not_change(tmp_path, monkeypatch):
    monkeypatch.setattr("featurize.decode.HELD_BYTES", 100)
    for form in ({"format": "WAV"}, {"format": "FLAC"}, {"format": "WAV", "subtype": "FLOAT"}):
        data = written(**form)
        (tmp_path / "a").write_bytes(data)
        samples, truncated = decoded(tmp_path / "a")
        np.testing.assert_array_equal(samples, decoded(data)[0])
        with Recording(tmp_path / "a", read_header(data)) as recording:
            assert recording.digest == xxhash.xxh3_128_hexdigest(data)
            os.utime(tmp_path / "a", ns=(0, 1))
            with pytest.raises(ReadError, match="changed while it was read; run featurize again"):
                recording.samples()


def test_a_read_error_of_a_file_that_is_not_held_is_not_taken_for_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("featurize.decode.HELD_BYTES", 100)
    (tmp_path / "a.flac").write_bytes(written(np.random.default_rng(0).uniform(-1, 1, 100_000), format="FLAC"))

    class Failing(io.FileIO):
        fails = False

        def readinto(self, buffer):
            if Failing.fails and self.tell() > 50_000:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    monkeypatch.setattr("builtins.open", lambda file, *_, **__: Failing(file))
    with Recording(tmp_path / "a.flac", read_header(tmp_path / "a.flac")) as recording:
        assert len(recording.samples()) == 100_000
        Failing.fails = True
        with pytest.raises(ReadError, match="^Input/output error$"):
            list(recording.blocks())


@pytest.mark.parametrize("n_samples", [100, 4096, 220_544])
def test_a_flac_whose_header_leaves_the_length_out_is_read_to_its_last_sample(n_samples):
    noise = np.random.default_rng(0).integers(-1000, 1000, n_samples).astype(np.int16)
    data = bytearray(written(noise, format="FLAC"))
    data[21] &= 0xF0  # STREAMINFO's 36-bit count of samples
    data[22:26] = bytes(4)
    samples, truncated = decoded(bytes(data))
    np.testing.assert_array_equal(samples, noise / np.float32(32768))
    assert not truncated


@pytest.mark.parametrize("name", ["x.raw", "x.wav", "x", "x.mp3", "x.a name of another format"])
def test_a_recording_is_known_by_its_content_not_by_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(written(format="FLAC"))
    np.testing.assert_allclose(decoded(tmp_path / name)[0], TONE, atol=1e-4)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypisom", "MP4, M4A or MOV"),
        (b"\x1aE\xdf\xa3\x01", "Matroska or WebM"),
        (b"RIFF\n\0\0\0AVI LIST", "AVI"),
        (b"0&\xb2u\x8ef\xcf\x11", "WMA or WMV"),
        (b"\xff\xf1\x50\x80", "AAC"),
        (b"#!AMR\n", "AMR"),
    ],
)
def test_what_phones_and_cameras_make_is_named_with_what_converts_it(tmp_path, head, kind):
    (tmp_path / "x").write_bytes(head + bytes(10_000))
    with pytest.raises(
        DecodeError, match=f"^{kind}, which libsndfile cannot decode; convert it, .* ffmpeg -i FILE"
    ):
        decoded(tmp_path / "x")


def test_samples_without_a_header_are_refused_alone(tmp_path):
    (tmp_path / "x.raw").write_bytes(np.arange(1000, dtype="<i2").tobytes())
    assert read_header(tmp_path / "x.raw") == Header(0, 0)
    with pytest.raises(DecodeError, match="not a recording that libsndfile can decode"):
        decoded(tmp_path / "x.raw")


@pytest.mark.parametrize(
    ("name", "reason"), [("a" * 300, "File name too long"), ("a\0b", "not a name that a file can have")]
)
def test_a_name_that_no_file_can_have_is_an_os_error(tmp_path, name, reason):
    with pytest.raises(OSError, match=reason):
        read_header(tmp_path / name)
    with pytest.raises(ReadError, match=reason):
        Recording(tmp_path / name, Header(8000, 1))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_is_refused_at_once(tmp_path, make):
    make(tmp_path / "a.wav")
    with pytest.raises(ReadError, match="not a regular file"):
        Recording(tmp_path / "a.wav", Header(8000, 1))


@pytest.mark.parametrize("form", [{"subtype": "VORBIS"}, {"subtype": "OPUS"}])
def test_an_ogg_that_was_cut_is_marked_truncated(form):
    data = written(0.5 * np.random.default_rng(0).standard_normal(200_000), 48000, format="OGG", **form)
    assert not decoded(data)[1]
    for cut in (len(data) // 2, len(data) - 1, data.rindex(b"OggS"), data.rindex(b"OggS") + 20):
        samples, truncated = decoded(data[:cut])
        assert truncated and len(samples) > 60_000


def test_real_ogg_recordings_are_whole(real_recordings):
    assert not any(decoded(path)[1] for path in real_recordings[::20])


def test_an_rf64_that_was_cut_is_marked_truncated():
    data = written(format="RF64", subtype="PCM_16")
    assert decoded(data)[1] is False
    samples, truncated = decoded(data[:-1000])
    assert truncated and len(samples) == len(TONE) - 500


SILENCE = """
import io, re, numpy as np, soundfile as sf
from featurize.decode import Header, Recording, read_header
with sf.SoundFile(file := io.BytesIO(), "w", {rate}, 1, "PCM_16", format="FLAC") as out:
    for _ in range({blocks}):
        out.write(np.zeros(1 << 20, np.int16))
data = file.getvalue()
with Recording(data, read_header(data)) as recording:
    try:
        said = sum(map(len, recording.blocks()))
    except ValueError as error:
        said = error
peak_kb = int(re.search("VmHWM: *(.*) kB", open("/proc/self/status").read())[1])  # ru_maxrss counts the parent's too
print(len(data), said, peak_kb // 1024, sep="|")
"""


@pytest.mark.parametrize(
    ("rate", "said"), [(8000, str(60 << 20)), (100, "it must be at most 168 h long, got more; cut it into parts")]
)
def test_a_small_flac_of_much_silence_is_streamed_or_refused(rate, said):
    script = SILENCE.format(rate=rate, blocks=60)
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    n_bytes, found, megabytes = out.strip().split("|")
    assert int(n_bytes) < 500_000 and found == said and int(megabytes) < 300
