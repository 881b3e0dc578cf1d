"""Ten classes of synthetic sounds that differ as real ones do: by attack, decay, pitch, partials and noise.

Every sound is a function of a random generator and a number of samples. All are at 44.1 kHz, mono, of any
scale: `clip` sets the level. Some classes are near each other on purpose (whistle and chirp, rain and noise
burst, hum and bowed string), and the background noise hides the quiet ones.

Source: textbook synthesis. Modes of a bell after N. H. Fletcher and T. D. Rossing, The Physics of Musical
Instruments; the plucked string is K. Karplus and A. Strong, Computer Music Journal 7(2), 1983.
"""

import numpy as np
from scipy import signal

SAMPLE_RATE = 44_100

# Hum, prime, tierce, quint, nominal and the partials above them, as ratios to the prime.
BELL_RATIOS = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.67, 3.0, 4.0, 5.33])


def bell(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Inharmonic modes, struck once; the high ones die first."""
    ratios = BELL_RATIOS * rng.normal(1, 0.01, len(BELL_RATIOS))
    decay_s = rng.uniform(0.3, 2.5) / np.sqrt(ratios)
    weights = rng.uniform(0.2, 1, len(ratios)) / ratios
    time = _time(n_samples)
    angular = 2 * np.pi * _log_uniform(rng, 200, 1200) * ratios
    modes = (w * np.exp(-time / d) * np.sin(a * time) for w, d, a in zip(weights, decay_s, angular, strict=True))
    return sum(modes)


def plucked_string(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Karplus-Strong: a burst of noise runs round a delay line that averages neighbours."""
    period = round(SAMPLE_RATE / _log_uniform(rng, 110, 880))
    burst = np.zeros(n_samples)
    burst[:period] = rng.uniform(-1, 1, min(period, n_samples))
    feedback = np.zeros(period + 2)
    feedback[0] = 1
    feedback[period:] = -0.5 * rng.uniform(0.985, 0.999)
    return signal.lfilter([1.0], feedback, burst)


def bowed_string(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Sawtooth harmonics with vibrato, a slow attack and the hiss of the bow."""
    pitch = _log_uniform(rng, 150, 700)
    vibrato = 1 + rng.uniform(0.003, 0.012) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * _time(n_samples))
    n_harmonics = int(min(20, 16_000 // pitch))
    weights = rng.uniform(0.5, 1, n_harmonics) / np.arange(1, n_harmonics + 1)
    tone = _harmonics(_phase(pitch * vibrato), weights)
    hiss = 0.05 * _band_noise(rng, n_samples, 1500, 8000)
    return (tone + hiss) * _swell(n_samples, rng.uniform(0.08, 0.4), rng.uniform(0.05, 0.3))


def chirp(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Short sweeps of one sine, all up or all down, one after another."""
    n_sweep = int(rng.uniform(0.06, 0.35) * SAMPLE_RATE)
    sweep_octaves = rng.choice([-1, 1]) * rng.uniform(0.6, 2)
    pitch = _log_uniform(rng, 1200, 4000) * 2 ** (sweep_octaves * np.linspace(-0.5, 0.5, n_sweep))
    sweep = np.sin(_phase(pitch)) * np.hanning(n_sweep)
    return _repeat(rng, sweep, n_samples, rng.uniform(1.5, 5))


def noise_burst(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Noise through a band-pass filter, let off suddenly and dying away, as steam or a cymbal does."""
    low = _log_uniform(rng, 300, 5000)
    noise = _band_noise(rng, n_samples, low, min(18_000, low * rng.uniform(1.5, 4)))
    return noise * _decay(n_samples, rng.uniform(0.05, 0.8))


def clicks(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """A train of clicks of a few milliseconds, regular but for a little jitter."""
    n_click = int(0.02 * SAMPLE_RATE)
    ring = np.sin(2 * np.pi * _log_uniform(rng, 1500, 7000) * _time(n_click))
    click = ring * _decay(n_click, rng.uniform(0.0005, 0.004))
    return _repeat(rng, click, n_samples, rng.uniform(3, 14))


def hum(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Mains harmonics, 50 or 60 Hz and their multiples, slowly changing in loudness."""
    weights = rng.uniform(0, 1, 24) / np.arange(1, 25) ** rng.uniform(0.3, 1)
    weights[::2] *= rng.uniform(0.1, 1)
    tone = _harmonics(_phase(np.full(n_samples, rng.choice([50.0, 60.0]))), weights)
    wobble = np.sin(2 * np.pi * rng.uniform(0.3, 6) * _time(n_samples) + rng.uniform(0, 2 * np.pi))
    return tone * (1 + rng.uniform(0.1, 0.6) * wobble)


def drum(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Strokes on a skin: a sine that falls in pitch, and the rattle of a snare."""
    n_stroke = int(0.5 * SAMPLE_RATE)
    pitch = _log_uniform(rng, 50, 160) * (1 + rng.uniform(0.5, 2) * _decay(n_stroke, 0.03))
    skin = np.sin(_phase(pitch)) * _decay(n_stroke, rng.uniform(0.06, 0.25))
    snare = _band_noise(rng, n_stroke, 800, 9000) * _decay(n_stroke, rng.uniform(0.02, 0.1))
    return _repeat(rng, skin + rng.uniform(0, 0.5) * snare, n_samples, rng.uniform(1, 4))


def whistle(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """One sine that glides between a few notes, with breath around its pitch."""
    pitch = _log_uniform(rng, 700, 2500)
    notes = pitch * 2 ** (rng.integers(-4, 5, 5) / 12)
    glide = np.interp(np.linspace(0, 4, n_samples), np.arange(5), notes)
    vibrato = 1 + 0.01 * np.sin(2 * np.pi * rng.uniform(3, 7) * _time(n_samples))
    breath = rng.uniform(0.02, 0.3) * _band_noise(rng, n_samples, pitch * 0.8, pitch * 1.5)
    return (np.sin(_phase(glide * vibrato)) + breath) * _swell(n_samples, rng.uniform(0.02, 0.15), 0.1)


def rain(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """A steady hiss, and drops that fall at random times."""
    hiss = _band_noise(rng, n_samples, _log_uniform(rng, 200, 1500), _log_uniform(rng, 6000, 18_000))
    drops = (rng.random(n_samples) < rng.uniform(20, 200) / SAMPLE_RATE) * rng.exponential(1, n_samples)
    n_drop = int(0.03 * SAMPLE_RATE)
    ring = np.sin(2 * np.pi * _log_uniform(rng, 800, 5000) * _time(n_drop))
    splashes = signal.oaconvolve(drops, ring * _decay(n_drop, rng.uniform(0.001, 0.006)))[:n_samples]
    return hiss + rng.uniform(0.5, 4) * splashes


SOUNDS = {
    "Bell": bell,
    "Bowed_string": bowed_string,
    "Chirp": chirp,
    "Clicks": clicks,
    "Drum": drum,
    "Hum": hum,
    "Noise_burst": noise_burst,
    "Plucked_string": plucked_string,
    "Rain": rain,
    "Whistle": whistle,
}


def clip(sound: str, rng: np.random.Generator) -> np.ndarray:
    """Synthesise one clip of a class, of random length and level, in background noise.

    Args:
        sound: a key of SOUNDS.
        rng: the clip's own generator; the clip is a pure function of its state.
    Returns:
        int16 [n_samples], 0.3 to 6 s at 44.1 kHz, peak between -30 and -1 dB of full scale.
    """
    n_samples = int(rng.uniform(0.3, 6) * SAMPLE_RATE)
    foreground = SOUNDS[sound](rng, n_samples)
    # 3 to 40 dB below the sound. A first-order low-pass makes it anything from white to nearly brown.
    background = signal.lfilter([1.0], [1.0, -rng.uniform(0, 0.98)], rng.standard_normal(n_samples))
    background *= _rms(foreground) / _rms(background) * 10 ** (-rng.uniform(3, 40) / 20)
    mixture = foreground + background
    peak = 32_767 * 10 ** (rng.uniform(-30, -1) / 20)
    return np.round(mixture * (peak / np.abs(mixture).max())).astype(np.int16)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _time(n_samples: int) -> np.ndarray:
    """Seconds since the start of the sound."""
    return np.arange(n_samples) / SAMPLE_RATE


def _phase(frequency_hz: np.ndarray) -> np.ndarray:
    return 2 * np.pi / SAMPLE_RATE * np.cumsum(frequency_hz)


def _harmonics(phase: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over k of weights[k - 1] * sin(k * phase), as a polynomial in exp(i * phase)."""
    return np.polyval([*weights[::-1], 0], np.exp(1j * phase)).imag


def _decay(n_samples: int, decay_s: float) -> np.ndarray:
    return np.exp(-_time(n_samples) / decay_s)


def _swell(n_samples: int, attack_s: float, release_s: float) -> np.ndarray:
    """Rises from silence over attack_s and falls back to it over release_s."""
    time = _time(n_samples)
    return np.minimum(1, np.minimum(time / attack_s, time[::-1] / release_s))


def _band_noise(rng: np.random.Generator, n_samples: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Gaussian noise between two frequencies, of unit power."""
    band = signal.butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE, output="sos")
    noise = signal.sosfilt(band, rng.standard_normal(n_samples))
    return noise / _rms(noise)


def _repeat(rng: np.random.Generator, event: np.ndarray, n_samples: int, rate_hz: float) -> np.ndarray:
    """The event again and again, about rate_hz times a second, each time a little off in time and level."""
    n_events = int(n_samples / SAMPLE_RATE * rate_hz) + 1
    starts = (np.arange(n_events) + rng.uniform(0, 0.15, n_events)) * SAMPLE_RATE / rate_hz
    impulses = np.zeros(n_samples)
    impulses[np.minimum(starts.astype(int), n_samples - 1)] = rng.uniform(0.5, 1, n_events)
    return signal.oaconvolve(impulses, event)[:n_samples]


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))
