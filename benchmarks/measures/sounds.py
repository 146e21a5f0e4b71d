"""Denoising of recordings: calls of kept-back animals in noise, heard or never heard before.

Trained on: killer-whale calls S01 to S13, great tits of the nest 0415, forest clips KT08, humpback song, the clip
birds_10s. Kept back: killer-whale calls from S16 on, great tits of the nest 0416, a robin and a spinetail (species that
training does not hold). Of waves, rain, boat and white noise the first 60 % are trained on and what follows 65 % is
mixed in; wind, a hydrophone and S4A's nights and mornings are never heard. All at 22,050 frames a second, one channel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import soxr
from common import data

from hourglass import AudioAutoencoder
from hourglass.data.clearing import CLEAR, cleared
from hourglass.data.files import read
from hourglass.data.quality import own_snr
from hourglass.data.samples import Recordings
from hourglass.data.soundscapes import noise_and_calls, speeds, wiener
from hourglass.data.synthesis import CALLS, NOISES, call_clip, mixed
from measures import Measure
from measures.filters import gain, gate, tuned_gate

RATE = 22_050
KEPT_CALLS = ("S16", "S17", "S19", "S33", "S36", "S40", "S44")
HEARD, UNHEARD = ("waves", "rain", "boat", "white-noise"), ("wind", "hydrophone", "soundscape")
SPEEDS = (0.7, 0.85, 1.2, 1.45)
Clean = Callable[[np.ndarray], np.ndarray]


@cache
def clip(path: Path) -> np.ndarray:
    """A recording (samples,) at the common rate, one channel."""
    found = read(path)
    if not isinstance(found, Recordings):
        raise SystemExit(f"{path} is no recording")
    return np.asarray(soxr.resample(found.arrays[0].mean(axis=1), found.rates[0], RATE), dtype=np.float64)


def clips(pattern: str) -> Iterator[tuple[str, np.ndarray]]:
    """Names and signals of the recordings that a pattern finds."""
    yield from ((path.stem, clip(path)) for path in sorted(data("audio").glob(pattern)))


def recordings(signals: Sequence[np.ndarray], rate: int = RATE) -> Recordings:
    """Signals (samples,) as recordings."""
    table = pa.table({"name": [f"clip {place}" for place in range(len(signals))]})
    return Recordings([signal[:, None].astype(np.float32) for signal in signals], [rate] * len(signals), table)


def pieces(signal: np.ndarray, seconds: float) -> list[np.ndarray]:
    """A long signal cut into pieces of so many seconds; what is left over is dropped."""
    length = round(seconds * RATE)
    return [signal[start : start + length] for start in range(0, len(signal) - length + 1, length)]


@cache
def calls(kept: bool, fast: bool) -> list[np.ndarray]:
    """Calls to train on, or those kept back; `fast`: every eighth of them."""
    return _all_calls(kept)[:: 8 if fast else 1]


def _all_calls(kept: bool) -> list[np.ndarray]:
    orca = [
        signal for name, signal in clips("whales/orca-ford-osborne/*") if kept == any(k in name for k in KEPT_CALLS)
    ]
    tits = [signal for name, signal in clips("birds/great-tit/*") if kept == ("0416" in name)]
    if kept:
        robin = [signal for _, signal in clips("birds/robin/*.ogg")]
        return [*orca, *tits, *robin, *pieces(next(clips("birds/spinetail.flac"))[1], 3)]
    forest = [signal for _, signal in clips("soundscape/KT08*")]
    long = [next(clips(name))[1] for name in ("whales/humpback/*.ogg", "birds/birds_10s.flac")]
    return [*orca, *tits, *forest, *(piece for each in long for piece in pieces(each, 5))]


@cache
def noise(name: str, kept: bool) -> np.ndarray:
    """A stretch of noise to train on, or one kept back."""
    if name == "soundscape":
        return np.concatenate([signal for _, signal in clips("soundscape/S4A*")])
    signal = next(clips("noise/hydrophone/*.flac" if name == "hydrophone" else f"noise/{name}.ogg"))[1]
    return signal[round(0.65 * len(signal)) :] if kept else signal[: round(0.6 * len(signal))]


def mixtures(
    signals: Sequence[np.ndarray], names: Sequence[str], kept: bool, decibels: float, seed: int
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """For each noise, each call in a random stretch of it: (mixture, call)."""
    random, found = np.random.default_rng(seed), []
    for name in names:
        sound, pairs = noise(name, kept), []
        for signal in signals:
            start = random.integers(0, max(1, len(sound) - len(signal)))
            pairs.append((mixed(signal, sound[start:], decibels)[0], signal))
        found.append(pairs)
    return found


def trained(fast: bool, source: str = "clean") -> AudioAutoencoder:
    """The default model for sound, fitted to clean calls with recorded noise, or to noisy recordings alone."""
    return timed(fast, source)[0]


@cache
def timed(fast: bool, source: str) -> tuple[AudioAutoencoder, float]:
    """The model of `trained`, and the seconds that fitting it took."""
    model = AudioAutoencoder(seed=0, epochs=1 if fast else None)
    factors = () if fast else SPEEDS
    if source == "noisy":
        noisy = [pair[0] for pairs in mixtures(calls(False, fast), HEARD, False, 5.0, seed=7) for pair in pairs[::4]]
        found, heard, _ = noise_and_calls(recordings(noisy))
        told = speeds(found, factors)
    else:
        kinds = [*CALLS] * (1 if fast else 10)
        made = [call_clip(kind, 2.0, RATE, np.random.default_rng(seed)) for seed, kind in enumerate(kinds)]
        heard = recordings([noise(name, False)[: 20 * RATE if fast else None] for name in HEARD])
        told = speeds(cleared(recordings([*calls(False, fast), *made]))[0], factors)
    start = time.perf_counter()
    return model.fit(told, noise=heard), time.perf_counter() - start


def cleaner(model: AudioAutoencoder) -> Clean:
    """A model as a function of a signal."""
    return lambda signal: np.asarray(model.denoise(recordings([signal])).arrays[0][:, 0], dtype=np.float64)


@cache
def rivals(fast: bool) -> dict[str, Clean]:
    """The spectral gate with its defaults, and tuned once on training mixtures; the Wiener filter."""
    pairs = [pair for each in mixtures(calls(False, fast)[::2], HEARD, False, 0.0, seed=3) for pair in each]
    tuned = tuned_gate([mixture for mixture, _ in pairs], [signal for _, signal in pairs], RATE)
    return {"gate": gate(RATE, {}), "tuned gate": gate(RATE, tuned), "Wiener": lambda signal: wiener(signal, RATE)}


def gains(clean: Clean, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    return [gain(clean(mixture), mixture, signal) for mixture, signal in pairs]


def heard(fast: bool) -> Measure:
    """Calls of kept-back animals at 0 dB in other stretches of noise that training heard."""
    own = [own_snr(signal, RATE) for signal in calls(True, fast)]
    pairs = mixtures(calls(True, fast), HEARD, True, 0.0, seed=1)
    found = {name: [gains(clean, each) for each in pairs] for name, clean in _compared(fast).items()}
    medians = {name: float(np.median(each)) for name, each in found.items()}
    clear = {name: float(np.median(np.array(each)[:, np.array(own) >= CLEAR])) for name, each in found.items()}
    line = f"calls at 0 dB in noise heard before, median SI-SDR gain: {_words(medians)}; clear clips: {_words(clear)}"
    margins = medians["model"] - np.array(
        [3.0, medians["gate"] + 1.5, medians["tuned gate"] + 0.5, medians["Wiener"] + 0.5]
    )
    wanted = "3 dB (goal 6), 1.5 dB above the gate, .5 dB above the tuned gate and the Wiener filter"
    values = medians | {f"{name}, clear clips": value for name, value in clear.items()}
    return Measure((), "", line, wanted, bool((margins >= 0).all()), values)


def unheard(fast: bool) -> Measure:
    """The same calls in kinds of noise that training never heard."""
    pairs = mixtures(calls(True, fast), UNHEARD, True, 0.0, seed=2)
    found = {name: [gains(clean, each) for each in pairs] for name, clean in _compared(fast).items()}
    medians = {name: float(np.median(each)) for name, each in found.items()}
    by_kind = [f"{kind} {np.median(each):.1f}" for kind, each in zip(UNHEARD, found["model"], strict=True)]
    line = f"calls at 0 dB in noise never heard, median SI-SDR gain: {_words(medians)} (model: {', '.join(by_kind)})"
    reached = medians["model"] >= medians["tuned gate"]
    return Measure((), "", line, "not below the tuned gate", reached, medians)


def harmless(fast: bool) -> Measure:
    """What happens to clips that come in at 15 to 20 dB."""
    own = np.array([own_snr(signal, RATE) for signal in calls(True, fast)])
    found = []
    for level in (15.0, 17.5, 20.0):
        for pairs in mixtures(calls(True, fast), HEARD, True, level, seed=4):
            found.append(gains(cleaner(trained(fast)), pairs))
    each = np.array(found)
    share, clear = float(np.mean(each >= -0.5)), float(np.mean(each[:, own >= CLEAR] >= -0.5))
    line = (
        f"clips at 15 to 20 dB: median SI-SDR gain {np.median(each):+.1f} dB, {share:.0%} lose at most .5 dB "
        f"(of clear clips {clear:.0%})"
    )
    values = {"share": share, "share, clear clips": clear}
    return Measure((), "", line, "at least 95 % lose at most .5 dB", share >= 0.95, values)


def noisy_only(fast: bool) -> Measure:
    """A model that heard noisy recordings alone beside its twin that heard clean ones."""
    pairs = [pair for each in mixtures(calls(True, fast), HEARD, True, 0.0, seed=1) for pair in each]
    clean, noisy = (float(np.median(gains(cleaner(trained(fast, each)), pairs))) for each in ("clean", "noisy"))
    line = f"learned from noisy recordings alone: median SI-SDR gain {noisy:.1f} dB (from clean ones {clean:.1f} dB)"
    return Measure((), "", line, "within 1.5 dB", noisy >= clean - 1.5, {"noisy": noisy, "clean": clean})


def synthetic(fast: bool) -> Measure:
    """Made calls in made noise, all of parameters that training did not draw."""
    random = np.random.default_rng(11)
    made = [call_clip(kind, 2.0, RATE, random) for kind in [*CALLS] * (2 if fast else 25)]
    model = AudioAutoencoder(seed=0, epochs=1 if fast else None, training={"steps": 1_500}).fit(recordings(made))
    tested = [call_clip(kind, 2.0, RATE, random) for kind in [*CALLS] * 5]
    pairs = [(mixed(call, NOISES[name](len(call), RATE, random), 0.0)[0], call) for call in tested for name in NOISES][
        :: 20 if fast else 1
    ]
    found = {
        name: float(np.median(gains(each, pairs))) for name, each in (rivals(fast) | {"model": cleaner(model)}).items()
    }
    line = f"made calls in made noise at 0 dB, median SI-SDR gain: {_words(found)}"
    return Measure((), "", line, "at least 10 dB", found["model"] >= 10, found)


def recipe(fast: bool) -> Measure:
    """The recipe `spectrogram-denoising` on pairs of noisy and clean calls."""
    pairs = [pair for each in mixtures(calls(False, fast), HEARD, False, 0.0, seed=5) for pair in each]
    noisy, clean = (recordings(each) for each in zip(*pairs, strict=True))
    model = AudioAutoencoder(recipe="spectrogram-denoising", corruption="none", seed=0, epochs=1 if fast else 10)
    fitted = cleaner(model.fit(noisy, clean=clean))
    tested = [pair for each in mixtures(calls(True, fast), HEARD, True, 0.0, seed=1) for pair in each]
    found = float(np.median(gains(fitted, tested)))
    line = f"calls at 0 dB in noise heard before: median SI-SDR gain {found:+.1f} dB"
    return Measure((12,), "spectrogram-denoising", line, values={"gain": found})


def _compared(fast: bool) -> dict[str, Clean]:
    return {"model": cleaner(trained(fast)), **rivals(fast)}


def _words(medians: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in medians.items()) + " dB"


MEASURES = {
    "spectrogram-denoising": recipe,
    "sound-heard": heard,
    "sound-unheard": unheard,
    "sound-harmless": harmless,
    "sound-noisy-only": noisy_only,
    "sound-synthetic": synthetic,
}
