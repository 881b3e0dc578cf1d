"""No file, whatever its bytes say, kills the process, hangs it, eats its memory or writes outside its stores.

Another process decodes, so that one that dies is reported with the bytes that it died of.
"""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
EXTENSIONS = ("wav", "flac", "ogg", "mp3", "aiff", "")
WRITTEN = [
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "DOUBLE"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "FLOAT"), ("AIFF", "PCM_16"),
    ("AU", "FLOAT"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip
U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
RATES = st.sampled_from([0, 1, 99, 100, 8000, 44100, 768_000, 2**31 - 1, 2**31, 2**32 - 1]) | U32
CHANNELS = st.sampled_from([0, 1, 2, 8, 1023, 1024, 1025, 0x7FFF, 0xFFFF]) | U16
SIZES = st.sampled_from([0, 1, 16, 36, 1000, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]) | U32
TAGS = st.sampled_from([0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x55, 0xFFFE]) | U16
GUID_END = bytes.fromhex("000000001000800000aa00389b71")


class Child:
    """The process that decodes, started again when it has died."""

    def __init__(self, folder: Path):
        self.folder, self._process = folder, None
        self._said = open(folder.with_suffix(".stderr"), "w+")

    def outcome(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        process = self._running()
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        said = process.stdout.readline()
        path.unlink()
        return said.strip() or self._end()

    def _running(self) -> subprocess.Popen:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("decoding_child.py")],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "OMP_NUM_THREADS": "1",
                    "ARROW_DEFAULT_MEMORY_POOL": "system",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,  # decoders talk: a pipe would fill up
                text=True,
            )
        return self._process

    def _end(self) -> str:
        process, self._process = self._process, None
        process.communicate()
        self._said.seek(0)
        return f"died with {process.returncode}: {self._said.read()[-1000:]}"

    def close(self) -> None:
        if self._process:
            self._process.communicate()
        self._said.close()


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    child = Child(tmp_path_factory.mktemp("fuzz"))
    yield child
    child.close()


@pytest.fixture(scope="module")
def recordings():
    """A real file of each format: a quarter of a second of a tone in noise."""
    t = np.arange(2000) / 8000
    sound = 0.4 * np.sin(2 * np.pi * 440 * t) + 0.05 * np.random.default_rng(3).standard_normal(len(t))
    written = {}
    for kind, subtype in WRITTEN:
        sf.write(file := io.BytesIO(), np.stack([sound, sound[::-1]], 1) if subtype == "PCM_24" else sound,
                 44100 if subtype == "GSM610" else 8000, format=kind, subtype=subtype)  # fmt: skip
        written[kind, subtype] = file.getvalue()
    return written


@st.composite
def lying_wavs(draw):
    """A wav any field of which may lie, one in six does."""

    def field(honest, lies):
        return draw(lies) if draw(st.integers(0, 5)) == 0 else honest

    tag, bits = draw(
        st.sampled_from([(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64), (6, 8), (7, 8), (0x11, 4)])
    )
    channels, rate = draw(st.sampled_from([1, 1, 2, 8, 1024])), draw(st.sampled_from([100, 8000, 44100, 768_000]))
    align = channels * bits // 8
    data = draw(st.binary(min_size=1, max_size=400)) * draw(st.sampled_from([1, 1, 30]))
    data += bytes(-len(data) % max(1, align))
    numbers = [field(channels, CHANNELS), field(rate, RATES), field(rate * align % 2**32, U32)]
    numbers += [field(align, U16), field(bits, st.sampled_from([0, 1, 8, 16, 24, 32, 64]) | U16)]
    extensible = draw(st.integers(0, 3)) == 0
    form = struct.pack("<HHIIHH", field(0xFFFE if extensible else tag, TAGS), *numbers)
    if extensible:
        form += struct.pack("<HHIH", field(22, U16), field(bits, U16), field(0, U32), field(tag, TAGS)) + GUID_END
    chunk = b"fmt " + struct.pack("<I", field(len(form), SIZES)) + form
    between = draw(st.sampled_from([b"", b"LIST\4\0\0\0INFO", b"fact\4\0\0\0\xff\xff\xff\xff", b"JUNK\1\0\0\0a\0"]))
    body = b"WAVE" + chunk + between + b"data" + struct.pack("<I", field(len(data), SIZES)) + data
    riff = field(b"RIFF", st.sampled_from([b"RF64", b"RIFX"]))
    return riff + struct.pack("<I", field(len(body), SIZES)) + body


MAGIC = st.sampled_from([b"", b"RIFF\xff\xff\xff\xffWAVE", b"fLaC", b"OggS\0\2", b"ID3\3\0", b"\xff\xfb\x90", b"FORM", b".snd", b"caff\0\1", b"riff"])  # fmt: skip


def check(child, extension, data):
    said = child.outcome(f"clip.{extension}" if extension else "clip", data)
    assert said[:1].isdigit() or said.startswith("-1"), f"{said}; its bytes: {data.hex()}"


def lying(child, data):
    check(child, "wav", data)


def random_bytes(child, magic, data, extension):
    check(child, extension, magic + data)


def flipped(child, recordings, kind, flips, cut):
    data = bytearray(recordings[kind])
    for place, bit in flips:
        data[place % len(data)] ^= 1 << bit
    check(child, kind[0].lower(), bytes(data[: cut or None]))


FLIPS = st.lists(st.tuples(st.integers(0, 199) | st.integers(0, 10**6), st.integers(0, 7)), max_size=12)
CUTS = st.just(0) | st.integers(1, 4000)
PROPERTIES = {
    "lying wav": (lying, {"data": lying_wavs()}),
    "random bytes": (
        random_bytes,
        {"magic": MAGIC, "data": st.binary(max_size=2000), "extension": st.sampled_from(EXTENSIONS)},
    ),
    "flipped": (flipped, {"kind": st.sampled_from(WRITTEN), "flips": FLIPS, "cut": CUTS}),
}


def fuzz(name, n_examples, **fixtures):
    """Try a property on so many examples, the same ones each time."""
    function, strategies = PROPERTIES[name]
    quiet = settings(max_examples=n_examples, deadline=None, derandomize=True, database=None, print_blob=False,
                     suppress_health_check=list(HealthCheck))  # fmt: skip
    if name != "flipped":
        fixtures.pop("recordings")
    quiet(given(**strategies)(lambda **drawn: function(**fixtures, **drawn)))()


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_few_broken_files(name, child, recordings):
    fuzz(name, 40, child=child, recordings=recordings)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_hundreds_of_broken_files(name, child, recordings):
    fuzz(name, 800, child=child, recordings=recordings)


def test_a_sound_recording_of_each_format_is_decoded(child, recordings):
    for (kind, subtype), data in recordings.items():
        said = child.outcome(f"clip.{kind.lower()}", data)
        assert said.endswith("OK OK OK OK"), (kind, subtype, said)
