"""What denoising of recordings costs: time to train, time to denoise, memory on a recording of an hour."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from common import HOURGLASS, process

from hourglass import AudioAutoencoder
from measures import Measure
from measures.sounds import HEARD, RATE, calls, noise, recordings, timed

HIGH_RATE = 48_000


def training(fast: bool) -> Measure:
    """Training of the default model."""
    minutes = timed(fast, "clean")[1] / 60
    line = f"{torch.get_num_threads()} threads: {minutes:.1f} min to train the default model for sound"
    return Measure((), "", line, "at most 25 min", minutes <= 25, {"minutes": minutes})


def denoising(fast: bool) -> Measure:
    """`hourglass denoise` on ten minutes of mono and an hour of stereo; what the model has learned does not matter."""
    model = AudioAutoencoder(seed=0, epochs=1).fit(recordings(calls(False, True)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.safetensors"
        model.save(path)
        minutes = (0.5, 1.0) if fast else (10, 60)
        mono, _ = _denoised(path, RATE, 1, minutes[0])
        stereo, memory = _denoised(path, HIGH_RATE, 2, minutes[1])
    line = (
        f"{torch.get_num_threads()} threads: `denoise` on {minutes[0]:g} min of {RATE:,} Hz mono {mono:.0f} times as "
        f"fast as it plays, on {minutes[1]:g} min of {HIGH_RATE:,} Hz stereo {stereo:.0f} times, {memory:.0f} MiB"
    )
    reached = min(mono, stereo) >= 20 and memory < 1024
    values = {"mono": mono, "stereo": stereo, "memory": memory}
    return Measure((), "", line, "20 times as fast as it plays, under 1 GiB", reached, values)


def _denoised(model: Path, rate: int, channels: int, minutes: float) -> tuple[float, float]:
    """How many times faster than it plays the command denoises a file, and its largest memory in MiB."""
    source, result = model.with_name("noisy.wav"), model.with_name("clean.wav")
    sound = np.concatenate([*calls(True, False), *(noise(name, True) for name in HEARD)])
    step = np.column_stack([np.roll(sound, channel * RATE) for channel in range(channels)]).astype(np.float32) / 4
    left = round(minutes * 60 * rate)
    with soundfile.SoundFile(source, "w", rate, channels, "PCM_16") as file:
        while left:
            file.write(step[:left])
            left -= min(left, len(step))
    cost = process(HOURGLASS, "denoise", str(model), str(source), "-o", str(result))
    result.unlink()
    return minutes * 60 / cost.wall, cost.memory


MEASURES = {"sound-training": training, "sound-denoising": denoising}
