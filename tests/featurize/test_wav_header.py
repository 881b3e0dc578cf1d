"""A wav's sizes are held against the file."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from featurize.wav_header import HEAD_BYTES, head_with_sizes, read_wav

N = 1000


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.linspace(-0.5, 0.5, N), 8000)
    return path


def data_of(source):
    """What the header claims; source is a path or bytes."""
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return read_wav(file, size)


def plain(data):
    """Rate and samples per channel of a plain wav."""
    found = read_wav(io.BytesIO(data[:HEAD_BYTES]), len(data))
    return (found.rate, found.n_samples) if found and found.is_plain else None


def patch_data_size(path, size):
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)


def test_a_sound_wav_is_neither_truncated_nor_streamed(wav):
    found = data_of(wav)
    assert (found.n_samples, found.truncated, found.streamed) == (N, False, False)


def test_a_file_that_ends_early_is_truncated(wav):
    wav.write_bytes(wav.read_bytes()[: -N // 2])
    found = data_of(wav)
    assert found.truncated and found.n_samples == N - N // 4


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_wav_has_the_samples_that_are_there(wav, size):
    patch_data_size(wav, size)
    found = data_of(wav)
    assert found.streamed and not found.truncated and found.n_samples == N
    before = wav.read_bytes()
    head = head_with_sizes(io.BytesIO(before), found)
    assert sf.SoundFile(io.BytesIO(head + before[len(head) :])).frames == N and len(head) == found.offset


def test_a_header_without_samples_is_empty_not_streamed(tmp_path):
    sf.write(tmp_path / "a.wav", np.empty(0), 8000)
    assert not data_of(tmp_path / "a.wav").streamed and data_of(tmp_path / "a.wav").n_samples == 0


def test_an_empty_data_chunk_before_other_chunks_is_empty(tmp_path):
    sf.write(tmp_path / "a.wav", np.empty(0), 8000)
    with open(tmp_path / "a.wav", "ab") as file:
        file.write(b"LIST" + struct.pack("<I", 6) + b"INFO  ")
    assert not data_of(tmp_path / "a.wav").streamed


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"fLaC" + bytes(40), b"RIFF\0\0\0\0WAVEfmt "])
def test_other_files_have_no_data_chunk(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert data_of(tmp_path / "a") is None


ZEROS = 4 << 30  # bytes that a recorder reserved, as a hole of the file


@pytest.mark.parametrize(
    ("start", "n_samples"),
    [
        (b"RIFF\0\0\0\0WAVE", None),
        (b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16), None),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16) + b"data\0\0\0\0",
            ZEROS // 2 - 22,
        ),
    ],
    ids=["no format", "no data", "data of size 0"],
)
def test_a_wav_preallocated_with_zeros_is_not_walked_8_bytes_at_a_time(tmp_path, start, n_samples):
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(start)
        file.truncate(ZEROS)
    read = []

    class Counting(io.FileIO):
        def read(self, n=-1):
            read.append(n)
            return super().read(n)

    with Counting(tmp_path / "a.wav") as file:
        found = read_wav(file, ZEROS)
    assert (found and found.n_samples) == n_samples and len(read) < 10 and max(read) < 100


def test_a_streamed_wav_of_more_than_4_gb_is_read_as_far_as_a_header_can_say(tmp_path):
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(wav_bytes(n=1)[:40] + b"\xff" * 4)
        file.truncate(5 << 30)
    found = data_of(tmp_path / "a.wav")
    assert found.streamed and found.truncated and found.n_samples == 0xFFFFFFFF // 2


def test_chunks_without_end_are_not_walked_to_the_end():
    assert data_of(b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * 20_000 + b"data\4\0\0\0abcd") is None


@pytest.fixture
def rf64(tmp_path):
    sf.write(tmp_path / "a.rf64", np.zeros(N), 8000, format="RF64", subtype="PCM_16")
    return tmp_path / "a.rf64"


def test_an_rf64_is_held_against_the_sizes_of_its_ds64_chunk(rf64):
    data = bytearray(rf64.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff" * 4  # as writers of long files leave it; libsndfile fills it in for short ones
    data[4:8] = b"\xff" * 4
    for cut, truncated in ((len(data), False), (len(data) - 100, True)):
        found = data_of(bytes(data[:cut]))
        assert (found.truncated, found.streamed, found.n_samples) == (truncated, False, (cut - found.offset) // 2)


WIDTHS = {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24", 32: "PCM_32"}


def wav_bytes(tag=1, channels=1, rate=8000, bits=16, n=100, before=b"", behind=b"", fmt_more=b""):
    """A wav of n samples per channel, noise, with chunks before and behind its samples."""
    block = channels * bits // 8
    noise = np.random.default_rng(n).integers(0, 256, n * block, np.uint8).tobytes()
    if tag == 3:
        noise = np.random.default_rng(n).uniform(-1, 1, n * channels).astype(f"<f{bits // 8}").tobytes()
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + fmt_more
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + chunk(b"data", noise) + behind
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def by_libsndfile(path):
    try:
        info = sf.info(path)
    except sf.LibsndfileError:
        return None
    return info.samplerate, info.frames


@pytest.mark.parametrize("before", [b"", chunk(b"LIST", b"INFOISFT" + bytes(18))], ids=["bare", "after a list"])
@pytest.mark.parametrize(("channels", "rate", "n"), [(1, 44100, 1), (2, 48000, 999), (6, 16000, 12345)])
@pytest.mark.parametrize(("tag", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_a_plain_wav_is_read_as_libsndfile_reads_it(tmp_path, tag, bits, channels, rate, n, before):
    path = tmp_path / "a.wav"
    n += (n * channels * bits // 8) % 2  # else the samples are padded
    path.write_bytes(wav_bytes(tag, channels, rate, bits, n, before))
    assert plain(path.read_bytes()) == by_libsndfile(path) == (rate, n)


@pytest.mark.parametrize("subtype", WIDTHS.values())
def test_what_libsndfile_writes_is_plain(tmp_path, subtype):
    sf.write(tmp_path / "a.wav", np.zeros((50, 2)), 22050, subtype=subtype)
    assert plain((tmp_path / "a.wav").read_bytes()) == (22050, 50)


EXTENSIBLE = struct.pack("<HHI", 22, 16, 4) + b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
NOT_PLAIN = {
    "nothing": b"",
    "its name alone": b"RIFF",
    "another format": b"fLaC" + bytes(90),
    "A-law": wav_bytes(tag=6, bits=8),
    "extensible": wav_bytes(tag=0xFFFE, fmt_more=EXTENSIBLE),
    "a longer format": wav_bytes(fmt_more=b"\0\0"),
    "12 bits": wav_bytes(bits=12),
    "no channel": wav_bytes(channels=0),
    "no rate": wav_bytes(rate=0),
    "junk before": wav_bytes(before=chunk(b"JUNK", bytes(28))),
    "an odd list": wav_bytes(before=chunk(b"LIST", b"INFOx")),
    "a long list": wav_bytes(before=chunk(b"LIST", bytes(4000))),
    "chunks behind": wav_bytes(behind=chunk(b"LIST", b"INFO")),
    "padded samples": wav_bytes(bits=8, n=101),
    "no samples": wav_bytes(n=0),
    "cut short": wav_bytes()[:-10],
    "half a sample": wav_bytes(bits=32, n=100).replace(struct.pack("<I", 400), struct.pack("<I", 398))[:-2],
    "more than it says": wav_bytes() + b"xx",
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_about_any_other_file_libsndfile_is_asked(data):
    assert plain(data) is None


def test_headers_that_lie_are_never_read_otherwise_than_by_libsndfile(tmp_path):
    random, found = np.random.default_rng(0), 0
    for turn in range(600):
        tag, bits = ((1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64))[turn % 6]
        data = bytearray(wav_bytes(tag, int(random.integers(1, 9)), int(random.integers(1000, 96000)), bits))
        for _ in range(random.integers(0, 3)):
            data[random.integers(0, 48)] = random.choice([0, 1, 2, 3, 8, 16, 18, 40, 255, random.integers(256)])
        (tmp_path / "a.wav").write_bytes(data)
        read = plain(bytes(data))
        assert read is None or read == by_libsndfile(tmp_path / "a.wav"), data[:48].hex()
        found += read is not None
    assert found > 200
