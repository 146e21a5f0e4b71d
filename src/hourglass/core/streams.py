"""Recordings through a model block by block: what comes may be endless, what is held is a few tiles of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import torch

from hourglass.core.chunks import single_precision
from hourglass.core.fitted import FittedModel
from hourglass.data.audio import MAGNITUDE, AudioFormat
from hourglass.data.audio_places import Level
from hourglass.data.spectrogram import length_at, of_length
from hourglass.data.streaming import Gauge, Resampling, Spectra, Synthesis, measured
from hourglass.errors import DataError, UsageError

_TILES = 4
"""Tiles that go through the network at a time: more take longer each, since they leave the cache."""


class Stream:
    """A recording given back by a model block by block, as `FittedModel.reconstruct` gives it back whole.

    What `feed` and `flush` return has, joined, as many frames as what was fed, and agrees with the whole to rounding
    where the recording's level is given (see `level_of`). Without it, each tile is scaled by the level so far.
    """

    def __init__(self, model: FittedModel, rate: int, channels: int, level: Level | None = None) -> None:
        form = audio_format(model)
        self.rate, self.channels, self._form = rate, channels, form
        self._level, self._gauge = level, Gauge(channels)
        self._offset = np.zeros(channels) if level is None else level.offset
        self._spectra = Spectra(rate, form.rate, channels, form.transform)
        self._tiles = _Tiles(model, form, channels)
        self._syntheses = [Synthesis(form.transform) for _ in range(channels)]
        self._out = Resampling(form.rate, rate, channels)
        self._given = self._inside = self._made = 0

    @property
    def latency(self) -> float:
        """Seconds after which a sample comes out again, at most, where blocks are short."""
        form = self._form
        own = (form.tiling.width - 1) * form.transform.hop + form.transform.fft
        return own / form.rate + self._spectra.resampling.latency + self._out.latency

    def feed(self, block: np.ndarray) -> np.ndarray:
        """What no later block changes once this one (frames, channels) is there, float32; often nothing.

        `DataError` for NaN or infinity.
        """
        if block.ndim != 2 or block.shape[1] != self.channels:
            what = f"got a block of shape {block.shape}, wanted (frames, {self.channels})"
            raise UsageError(what, where="stream", how="mono too has two dimensions: block[:, None]")
        if not np.isfinite(block).all():
            frame = self._given + int(np.argwhere(~np.isfinite(block))[0, 0])
            where = f"second {frame / self.rate:,.3f}"
            raise DataError("holds NaN or infinity, wanted finite numbers", where=where, how="cut the stretch out")
        self._gauge.hear(block)
        self._given += len(block)
        return self._passed(np.asarray(block - self._offset, dtype=np.float32), last=False)

    def flush(self) -> np.ndarray:
        """The rest, when no more blocks come."""
        return self._passed(np.empty((0, self.channels), dtype=np.float32), last=True)

    def _passed(self, block: np.ndarray, last: bool) -> np.ndarray:
        spectra = self._spectra.feed(block, last)
        joined = self._tiles.feed(spectra, self._level or self._gauge.level(), last)
        sound = np.column_stack([each.feed(one, last) for each, one in zip(self._syntheses, joined, strict=True)])
        if last:
            sound = of_length(sound, length_at(self._given, self.rate, self._form.rate) - self._inside)
        self._inside += len(sound)
        back = self._out.feed(sound, last)
        if last:
            back = of_length(back, self._given - self._made)
        self._made += len(back)
        return np.asarray(back + self._offset, dtype=np.float32)


class _Tiles:
    """Spectrograms (channels, bins, frames) through the network tile by tile, cross-faded like `Tiling.joined`."""

    def __init__(self, model: FittedModel, form: AudioFormat, channels: int) -> None:
        self._model, self._form, self._tiling = model, form, form.tiling
        self._pending = self._total = np.empty((channels, form.tiling.bins, 0), dtype=np.complex64)
        self._weight = np.empty(0, dtype=np.float32)
        self._cut = self._owed = 0
        self._peak = 0.0

    def feed(self, spectra: np.ndarray, level: Level, last: bool) -> np.ndarray:
        """The next frames of all channels, those that no later tile is faded into."""
        self._owed += spectra.shape[2]
        pieces = self._pieces(spectra, last)
        total, weight = self._faded(self._given_back(pieces, level))
        ready = min(len(weight), self._owed) if last else len(pieces) * self._tiling.stride
        self._owed -= ready
        self._total, self._weight = total[:, :, ready:], weight[ready:]
        return np.asarray(total[:, :, :ready] / weight[:ready])

    def _pieces(self, spectra: np.ndarray, last: bool) -> list[np.ndarray]:
        """The next stretches (channels, bins, width) that are complete, and `last` one that is not."""
        width, stride = self._tiling.width, self._tiling.stride
        stretch = np.concatenate([self._pending, spectra], axis=2)
        frames = stretch.shape[2]
        count = max(0, (frames - width) // stride + 1)
        if last and (frames - count * stride > width - stride or not self._cut + count):
            count += 1
        self._cut, self._pending = self._cut + count, stretch[:, :, count * stride :]
        starts = range(0, count * stride, stride)
        return [np.stack([self._tiling.piece(channel, start) for channel in stretch]) for start in starts]

    def _faded(self, pieces: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The stretches added where they overlap, onto what is left of those before, and the sum of their weights."""
        tiling = self._tiling
        more = (len(pieces) - 1) * tiling.stride + tiling.width - len(self._weight) if pieces else 0
        total = np.pad(self._total, ((0, 0), (0, 0), (0, more)))
        weight = np.pad(self._weight, (0, more))
        for start, piece in zip(range(0, len(weight), tiling.stride), pieces, strict=False):
            total[:, :, start : start + tiling.width] += piece * tiling.fade
            weight[start : start + tiling.width] += tiling.fade
        return total, weight

    def _given_back(self, pieces: list[np.ndarray], level: Level) -> list[np.ndarray]:
        """What the network makes of stretches (channels, bins, width)."""
        if not pieces:
            return []
        seen = np.stack(pieces) / np.float32(level.scale)
        self._peak = max(self._peak, float(np.abs(seen).max()) * level.scale)
        peak = max(level.peak, self._peak / level.scale)
        flat = seen.reshape(-1, *seen.shape[2:])
        tiles = np.stack([self._form.tiles(each, peak) for each in flat])
        made = self._reconstructed(tiles.reshape(-1, *self._form.layout.shape)).reshape(tiles.shape)
        back = [self._form.piece(bands, each, peak) for bands, each in zip(made, flat, strict=True)]
        return list(np.stack(back).reshape(seen.shape) * np.float32(level.scale))

    def _reconstructed(self, samples: np.ndarray) -> np.ndarray:
        """Packed samples given back. Not padded to whole chunks, as elsewhere: a stream may have a tile at a time."""
        network = self._model.network
        with torch.inference_mode(), single_precision():
            parts = torch.split(torch.from_numpy(samples).to(network.device), _TILES)
            return torch.cat([network.reconstruct(part) for part in parts]).cpu().numpy()


def audio_format(model: FittedModel) -> AudioFormat:
    """The format of a model of sound; `UsageError` where it is a model of something else."""
    if isinstance(model.format, AudioFormat):
        return model.format
    what = f"the model is for the modality {model.experiment.modality}, and sound needs one for audio"
    raise UsageError(what, where="model", how="give a model that was fitted to recordings")


def level_of(model: FittedModel, rate: int, channels: int, blocks: Callable[[], Iterable[np.ndarray]]) -> Level:
    """The level of a recording from a first pass over its blocks (frames, channels), so that it can be streamed."""
    form = audio_format(model)
    level = measured(blocks(), channels)
    if form.settings.view != MAGNITUDE:
        return level
    spectra = Spectra(rate, form.rate, channels, form.transform)
    pieces = (spectra.feed(level.taken_off(block)) for block in blocks())
    peaks = [float(np.abs(piece).max(initial=0)) for piece in pieces]
    rest = spectra.feed(np.empty((0, channels), dtype=np.float32), last=True)
    return dataclasses.replace(level, peak=max(*peaks, 0.0, float(np.abs(rest).max(initial=0))) or 1.0)
