"""Raw sound from stdin to stdout, denoised as it comes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BufferedReader
from typing import cast

import numpy as np

from hourglass.core.checkpoints import load_model
from hourglass.core.streams import Stream, audio_format
from hourglass.data.sound_writing import as_integers
from hourglass.data.times import counted
from hourglass.errors import UsageError
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.operations import model_path
from hourglass.interfaces.options import Denoise

_BYTES = {"16": 2, "24": 3, "32": 4, "f32": 4}
_READ = 1 << 16


def denoise_pipe(request: Denoise, listener: Listener) -> None:
    """Read raw sound from stdin until it ends, and write it to stdout without its noise, as soon as that is certain."""
    if not request.model:
        raise UsageError("a pipe needs a fitted model", where="denoise", how="hourglass denoise MODEL -")
    if request.json or request.report or request.clean or request.output not in (None, "-"):
        how = "leave --json, --report, --clean and -o out"
        raise UsageError("what comes from stdin goes to stdout", where="denoise -", how=how)
    model = load_model(model_path(request.model), request.device or "auto")
    rate, channels, bits = request.rate or audio_format(model).rate, request.channels or 1, request.bits or "16"
    stream = Stream(model, rate, channels)
    listener.note(
        f"raw sound of {rate:,} Hz, {counted(channels, 'channel')}, {bits} bits, little-endian; "
        f"it comes out {stream.latency:.2f} s after it went in, or a little more"
    )
    for block in _blocks(channels, bits, listener):
        _put(stream.feed(block), bits)
    _put(stream.flush(), bits)


def _blocks(channels: int, bits: str, listener: Listener) -> Iterator[np.ndarray]:
    """Blocks (frames, channels) of float32, as they arrive."""
    frame = channels * _BYTES[bits]
    kept = b""
    stdin = cast(BufferedReader, sys.stdin.buffer)
    while arrived := stdin.read1(_READ):  # what is there, without waiting for more
        content = kept + arrived
        whole = len(content) - len(content) % frame
        kept = content[whole:]
        yield decoded(content[:whole], bits).reshape(-1, channels)
    if kept:
        listener.note(f"the last {len(kept)} bytes are no whole frame of {frame} bytes, and are left out")


def decoded(content: bytes, bits: str) -> np.ndarray:
    """Samples, full scale from -1 to 1, float32, of raw bytes.

    >>> decoded(bytes([0, 0x40]), "16"), decoded(bytes([0, 0, 0xC0]), "24")
    (array([0.5], dtype=float32), array([-0.5], dtype=float32))
    """
    if bits == "f32":
        return np.frombuffer(content, dtype="<f4").astype(np.float32)
    width = _BYTES[bits]
    padded = np.zeros((len(content) // width, 4), dtype=np.uint8)
    padded[:, 4 - width :] = np.frombuffer(content, dtype=np.uint8).reshape(-1, width)
    return (padded.view("<i4")[:, 0] / 2.0**31).astype(np.float32)


def encoded(samples: np.ndarray, bits: str) -> bytes:
    """Raw bytes of samples; whole numbers are rounded and held at full scale.

    >>> encoded(np.array([0.5, 2.0]), "16").hex(" ", 2)
    '0040 ff7f'
    """
    if bits == "f32":
        return samples.astype("<f4").tobytes()
    padded = np.ascontiguousarray(as_integers(samples, f"PCM_{bits}").astype("<i4").ravel())
    return padded.view(np.uint8).reshape(-1, 4)[:, 4 - _BYTES[bits] :].tobytes()


def _put(block: np.ndarray, bits: str) -> None:
    if len(block):
        sys.stdout.buffer.write(encoded(block, bits))
        sys.stdout.buffer.flush()
