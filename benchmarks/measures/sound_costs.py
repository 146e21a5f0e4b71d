"""What denoising of recordings costs: time to train, time to denoise, memory on a recording of an hour."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from measures import Measure
from measures.sounds import HEARD, RATE, calls, noise, timed

HIGH_RATE = 48_000


def costs(fast: bool) -> Measure:
    """Training of the default model, then `hourglass denoise` on files: ten minutes of mono, an hour of stereo."""
    model, training = timed(fast, "clean")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.safetensors"
        model.save(path)
        minutes = (0.5, 1.0) if fast else (10, 60)
        mono, _ = _denoised(path, RATE, 1, minutes[0])
        stereo, memory = _denoised(path, HIGH_RATE, 2, minutes[1])
    threads = torch.get_num_threads()
    line = (
        f"{threads} threads: {training / 60:.1f} min to train; `denoise` on {minutes[0]:g} min of {RATE:,} Hz mono "
        f"{mono:.0f} times as fast as it plays, on {minutes[1]:g} min of {HIGH_RATE:,} Hz stereo {stereo:.0f} times, "
        f"{memory:.0f} MiB at the most"
    )
    wanted = "training within 25 min, 20 times as fast as it plays, under 1 GiB"
    values = {"training": training, "mono": mono, "stereo": stereo, "memory": memory}
    return Measure((), "", line, wanted, training <= 1500 and min(mono, stereo) >= 20 and memory < 1024, values)


def _denoised(model: Path, rate: int, channels: int, minutes: float) -> tuple[float, float]:
    """How many times faster than it plays the command denoises a file, and its largest memory in MiB so far."""
    source, result = model.with_name("noisy.wav"), model.with_name("clean.wav")
    sound = np.concatenate([*calls(True, False), *(noise(name, True) for name in HEARD)])
    step = np.column_stack([np.roll(sound, channel * RATE) for channel in range(channels)]).astype(np.float32) / 4
    left = round(minutes * 60 * rate)
    with soundfile.SoundFile(source, "w", rate, channels, "PCM_16") as file:
        while left:
            file.write(step[:left])
            left -= min(left, len(step))
    start = time.perf_counter()
    words = [str(Path(sys.executable).with_name("hourglass")), "denoise", str(model), str(source), "-o", str(result)]
    subprocess.run(words, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    result.unlink()
    return minutes * 60 / seconds, memory


MEASURES = {"sound-costs": costs}
