"""What a store holds, said completely: two stores with equal specifications hold equal numbers.

A specification also fixes a store's geometry. A group of slots holds at most `GROUP_SECONDS` of audio and at
most `GROUP_SLOTS` slots, and is one chunk of every store, so a chunk's length follows from the specification
alone. Each kind of feature is one class here, listed in `KINDS`.
"""

import json
import math
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import xxhash
from msgspec import Meta

GROUP_SECONDS = 256
GROUP_SLOTS = 1024
_Rate = Annotated[int, Meta(ge=1, le=10**7)]
_Bands = Annotated[int, Meta(ge=1, le=1 << 14)]
_Samples = Annotated[int, Meta(ge=1, le=1 << 22)]
_Positive = Annotated[float, Meta(gt=0, lt=1e6)]


def resampled_length(n_samples, sample_rate, new_rate: int):
    """Samples that soxr gives at most for n_samples of sample_rate (Hz): floor(n * new / old + 1/2).

    Integer arithmetic, elementwise on int64 arrays. soxr gives one less at exact ties. A rate of 0 stands for
    a recording that has none and gives 0.
    """
    rate = np.maximum(sample_rate, 1)
    return np.where(np.asarray(sample_rate) > 0, (2 * n_samples * new_rate + rate) // (2 * rate), 0)


class Specification(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """What the kinds share: a name, a form for JSON, an order of preference.

    Each kind says its tag, dtype, what a slot's value is, the names of its array's dimensions, the shape of one
    sample or frame (item_shape), and which numbers stand in its stores' names (named_by).
    """

    kind: ClassVar[str]
    slot_value: ClassVar[str]
    dimension_names: ClassVar[tuple[str, ...]]
    named_by: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str:
        """The store's folder name: its numbers, and a hash where anything beside them differs from the defaults."""
        numbers = {field: getattr(self, field) for field in self.named_by}
        name = "-".join([self.kind, *map(str, numbers.values())])
        return f"{name}.zarr" if self == type(self)(**numbers) else f"{name}-{self.hash()}.zarr"

    @property
    def item_bytes(self) -> int:
        """Bytes of one sample or frame."""
        return math.prod(self.item_shape) * np.dtype(self.dtype).itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a feature chunk's file."""
        return self.chunk_length * self.item_bytes

    def serves(self, other: "Specification") -> bool:
        """Whether a store of this specification holds what other asks for."""
        return self == other

    def to_dict(self) -> dict:
        """The specification as plain values, `kind` included."""
        return msgspec.to_builtins(self)

    def hash(self) -> str:
        """Eight hexadecimal digits of the whole specification."""
        return xxhash.xxh3_64_hexdigest(json.dumps(self.to_dict(), sort_keys=True).encode())[:8]


class RawSpecification(Specification, tag="raw"):
    """The waveform at one rate: mono, as int16 with a scale per clip (its peak), or as float32."""

    sample_rate: _Rate = 16000
    dtype: Literal["int16", "float32"] = "int16"
    channels: Literal["mean"] = "mean"
    resampler: Literal["soxr_hq"] = "soxr_hq"
    trim_db: _Positive | None = None

    kind: ClassVar[str] = "raw"
    slot_value: ClassVar[str] = "scale"
    dimension_names: ClassVar[tuple[str, ...]] = ("time",)
    item_shape: ClassVar[tuple[int, ...]] = ()
    named_by: ClassVar[tuple[str, ...]] = ("sample_rate",)

    @property
    def chunk_length(self) -> int:
        """Samples in a chunk: 256 s, and half a sample of rounding for each slot."""
        return GROUP_SECONDS * self.sample_rate + GROUP_SLOTS // 2

    def capacity(self, n_samples, sample_rate):
        """Samples that a clip takes at most; int64, elementwise."""
        return resampled_length(n_samples, sample_rate, self.sample_rate)


class _Frames(Specification):
    """Features that come frame by frame, the first frame centred on the first sample."""

    dtype: ClassVar[str] = "float32"
    slot_value: ClassVar[str] = "silence"

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return (getattr(self, self.named_by[0]),)

    @property
    def chunk_length(self) -> int:
        """Frames in a chunk: 256 s, and for each slot its first frame and half a sample of rounding."""
        return GROUP_SLOTS + (GROUP_SECONDS * self.sample_rate + GROUP_SLOTS // 2) // self.hop_length

    def capacity(self, n_samples, sample_rate):
        """Frames that a clip takes at most, none for a clip without samples; int64, elementwise."""
        resampled = resampled_length(n_samples, sample_rate, self.sample_rate)
        return np.where(resampled > 0, 1 + resampled // self.hop_length, 0)


class MfccSpecification(_Frames, tag="mfcc"):
    """`librosa.feature.mfcc` of the whole clip with these arguments, time first.

    Source: librosa 0.11, `feature.mfcc`, `feature.melspectrogram` and `power_to_db` with their defaults.
    """

    n_mfcc: _Bands = 40
    sample_rate: _Rate = 44100
    n_fft: _Samples = 2048
    hop_length: _Samples = 512
    n_mels: _Bands = 128
    top_db: _Positive = 80.0
    amin: _Positive = 1e-10
    window: Literal["hann"] = "hann"
    pad_mode: Literal["constant"] = "constant"
    mel: Literal["slaney"] = "slaney"
    dct: Literal["ortho"] = "ortho"
    channels: Literal["mean"] = "mean"
    resampler: Literal["soxr_hq"] = "soxr_hq"
    trim_db: _Positive | None = None

    kind: ClassVar[str] = "mfcc"
    dimension_names: ClassVar[tuple[str, ...]] = ("time", "coefficient")
    named_by: ClassVar[tuple[str, ...]] = ("n_mfcc", "sample_rate")

    def serves(self, other: Specification) -> bool:
        """Whether a store of this specification holds what other asks for: its own, or fewer coefficients."""
        if not isinstance(other, MfccSpecification) or self.n_mfcc < other.n_mfcc:
            return False
        return msgspec.structs.replace(self, n_mfcc=other.n_mfcc) == other


class LogmelSpecification(_Frames, tag="logmel"):
    """Log-mel frames: what MFCCs are before their DCT, in dB, time first.

    Source: librosa 0.11, `power_to_db(feature.melspectrogram(...))` of the whole clip with their defaults.
    """

    n_mels: _Bands = 64
    sample_rate: _Rate = 44100
    n_fft: _Samples = 2048
    hop_length: _Samples = 512
    top_db: _Positive = 80.0
    amin: _Positive = 1e-10
    window: Literal["hann"] = "hann"
    pad_mode: Literal["constant"] = "constant"
    mel: Literal["slaney"] = "slaney"
    channels: Literal["mean"] = "mean"
    resampler: Literal["soxr_hq"] = "soxr_hq"
    trim_db: _Positive | None = None

    kind: ClassVar[str] = "logmel"
    dimension_names: ClassVar[tuple[str, ...]] = ("time", "band")
    named_by: ClassVar[tuple[str, ...]] = ("n_mels", "sample_rate")


KINDS: dict[str, type[Specification]] = {
    kind.kind: kind for kind in (RawSpecification, MfccSpecification, LogmelSpecification)
}


def from_dict(values: object) -> Specification:
    """The specification that `to_dict` wrote, checked like input from outside.

    Raises:
        ValueError: a kind or a field that this version does not know, or a value of another type or out of range.
    """
    found = msgspec.convert(values, RawSpecification | MfccSpecification | LogmelSpecification)
    if missing := found.to_dict().keys() - values.keys():
        raise ValueError(f"Object misses field `{min(missing)}`")
    return found
