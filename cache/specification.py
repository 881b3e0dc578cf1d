"""What a store holds, said completely: two stores with equal specifications hold equal numbers.

A specification also fixes a store's geometry. A group of slots holds at most `GROUP_SECONDS` of audio and at
most `GROUP_SLOTS` slots, and is one chunk of every store, so a chunk's length follows from the specification
alone. Each kind of feature is one class here, listed in `KINDS`.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xxhash

GROUP_SECONDS = 256
GROUP_SLOTS = 1024


def resampled_length(n_samples, sample_rate, new_rate: int):
    """Samples that soxr gives at most for n_samples of sample_rate (Hz): floor(n * new / old + 1/2).

    Integer arithmetic, elementwise on int64 arrays. soxr gives one less at exact ties. A rate of 0 stands for
    a recording that has none and gives 0.
    """
    rate = np.maximum(sample_rate, 1)
    return np.where(np.asarray(sample_rate) > 0, (2 * n_samples * new_rate + rate) // (2 * rate), 0)


class _Specification:
    """What the kinds share: a name, a form for JSON, an order of preference."""

    kind: ClassVar[str]

    @property
    def item_bytes(self) -> int:
        """Bytes of one sample or frame."""
        return int(np.prod(self.item_shape)) * np.dtype(self.dtype).itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a feature chunk's file."""
        return self.chunk_length * self.item_bytes

    def to_dict(self) -> dict:
        """The specification as plain values, `kind` included."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def hash(self) -> str:
        """Eight hexadecimal digits of the whole specification."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return f"{xxhash.xxh3_64_intdigest(text.encode()):016x}"[:8]

    def _named(self, name: str, **numbers) -> str:
        """Name the store: its numbers, and a hash where anything beside them differs from the defaults."""
        default = dataclasses.replace(type(self)(), **numbers)
        return f"{name}.zarr" if self == default else f"{name}-{self.hash()}.zarr"


@dataclass(frozen=True)
class RawSpecification(_Specification):
    """The waveform at one rate: mono, as int16 with a scale per clip (its peak), or as float32."""

    sample_rate: int = 16000
    dtype: str = "int16"
    channels: str = "mean"
    resampler: str = "soxr_hq"
    trim_db: float | None = None

    kind: ClassVar[str] = "raw"
    slot_value: ClassVar[str] = "scale"
    dimension_names: ClassVar[tuple[str, ...]] = ("time",)
    item_shape: ClassVar[tuple[int, ...]] = ()

    @property
    def name(self) -> str:
        """The store's folder name."""
        return self._named(f"raw-{self.sample_rate}", sample_rate=self.sample_rate)

    @property
    def chunk_length(self) -> int:
        """Samples in a chunk: 256 s, and half a sample of rounding for each slot."""
        return GROUP_SECONDS * self.sample_rate + GROUP_SLOTS // 2

    def capacity(self, n_samples, sample_rate):
        """Samples that a clip takes at most; int64, elementwise."""
        return resampled_length(n_samples, sample_rate, self.sample_rate)

    def serves(self, other: "_Specification") -> bool:
        """Whether a store of this specification holds what other asks for."""
        return self == other


class _Frames:
    """The geometry of features that come frame by frame, the first frame centred on the first sample."""

    @property
    def chunk_length(self) -> int:
        """Frames in a chunk: 256 s, and for each slot its first frame and half a sample of rounding."""
        return GROUP_SLOTS + (GROUP_SECONDS * self.sample_rate + GROUP_SLOTS // 2) // self.hop_length

    def capacity(self, n_samples, sample_rate):
        """Frames that a clip takes at most, none for a clip without samples; int64, elementwise."""
        resampled = resampled_length(n_samples, sample_rate, self.sample_rate)
        return np.where(resampled > 0, 1 + resampled // self.hop_length, 0)


@dataclass(frozen=True)
class MfccSpecification(_Frames, _Specification):
    """`librosa.feature.mfcc` of the whole clip with these arguments, time first.

    Source: librosa 0.11, `feature.mfcc`, `feature.melspectrogram` and `power_to_db` with their defaults.
    """

    n_mfcc: int = 40
    sample_rate: int = 44100
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    top_db: float = 80.0
    amin: float = 1e-10
    window: str = "hann"
    pad_mode: str = "constant"
    mel: str = "slaney"
    dct: str = "ortho"
    channels: str = "mean"
    resampler: str = "soxr_hq"
    trim_db: float | None = None

    kind: ClassVar[str] = "mfcc"
    dtype: ClassVar[str] = "float32"
    slot_value: ClassVar[str] = "silence"
    dimension_names: ClassVar[tuple[str, ...]] = ("time", "coefficient")

    @property
    def name(self) -> str:
        """The store's folder name."""
        numbers = {"n_mfcc": self.n_mfcc, "sample_rate": self.sample_rate}
        return self._named(f"mfcc-{self.n_mfcc}-{self.sample_rate}", **numbers)

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return (self.n_mfcc,)

    def serves(self, other: "_Specification") -> bool:
        """Whether a store of this specification holds what other asks for: its own, or fewer coefficients."""
        if not isinstance(other, MfccSpecification):
            return False
        return self.n_mfcc >= other.n_mfcc and dataclasses.replace(self, n_mfcc=other.n_mfcc) == other


@dataclass(frozen=True)
class LogmelSpecification(_Frames, _Specification):
    """Log-mel frames: what MFCCs are before their DCT, in dB, time first.

    Source: librosa 0.11, `power_to_db(feature.melspectrogram(...))` of the whole clip with their defaults.
    """

    n_mels: int = 64
    sample_rate: int = 44100
    n_fft: int = 2048
    hop_length: int = 512
    top_db: float = 80.0
    amin: float = 1e-10
    window: str = "hann"
    pad_mode: str = "constant"
    mel: str = "slaney"
    channels: str = "mean"
    resampler: str = "soxr_hq"
    trim_db: float | None = None

    kind: ClassVar[str] = "logmel"
    dtype: ClassVar[str] = "float32"
    slot_value: ClassVar[str] = "silence"
    dimension_names: ClassVar[tuple[str, ...]] = ("time", "band")

    @property
    def name(self) -> str:
        """The store's folder name."""
        numbers = {"n_mels": self.n_mels, "sample_rate": self.sample_rate}
        return self._named(f"logmel-{self.n_mels}-{self.sample_rate}", **numbers)

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return (self.n_mels,)

    def serves(self, other: "_Specification") -> bool:
        """Whether a store of this specification holds what other asks for."""
        return self == other


Specification = RawSpecification | MfccSpecification | LogmelSpecification
KINDS: dict[str, type] = {kind.kind: kind for kind in (RawSpecification, MfccSpecification, LogmelSpecification)}


def from_dict(values: object) -> Specification:
    """The specification that `to_dict` wrote, checked like input from outside.

    Raises:
        ValueError: a kind or a field that this version does not know, or a value of another type or out of range.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r:.40}")
    fields = {field.name: field.default for field in dataclasses.fields(KINDS[kind])}
    given = {name: value for name, value in values.items() if name != "kind"}
    if odd := sorted(map(str, given.keys() ^ fields.keys())):
        raise ValueError(f"fields of {kind} must be {', '.join(fields)}; {odd[0]!r:.40} is missing or unknown")
    for name, value in given.items():
        if name in _COUNTS:
            sound, rule = type(value) is int and 1 <= value <= _COUNTS[name], f"a count of 1 to {_COUNTS[name]}"
        elif name in _DECIBELS:
            sound = (type(value) in {int, float} and 0 < value < 1e6) or (name == "trim_db" and value is None)
            rule = "a number above 0"
        else:
            known = ("int16", "float32") if name == "dtype" else (fields[name],)
            sound, rule = isinstance(value, str) and value in known, " or ".join(known)
        if not sound:
            raise ValueError(f"{name} must be {rule}, got {value!r:.40}")
    return KINDS[kind](**given)


_COUNTS = {"sample_rate": 10**7, "n_mfcc": 1 << 14, "n_mels": 1 << 14, "n_fft": 1 << 22, "hop_length": 1 << 22}
_DECIBELS = {"top_db", "amin", "trim_db"}
