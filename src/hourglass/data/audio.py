"""Recordings become spectrogram tiles (parts, bins, frames), and what a model says of tiles comes back to sound.

data -> Given (audio_forms.py)        recordings as arrays, whatever they came in: files, rows of samples, one signal
     -> Transform (spectrogram.py)    each channel at the model's rate, its level set to 1, as a spectrogram
     -> Tiling (audio_tiles.py)       tiles over time (and over frequency), which overlap
     -> view                          packed samples: real and imaginary parts, or magnitudes in dB, float32
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, final

import numpy as np
import pyarrow as pa
import torch

from hourglass.data.audio_forms import ROWS, Given, Origin, given
from hourglass.data.audio_places import Level, Placed, Span, check_alike
from hourglass.data.audio_tiles import BinNames, Tiling
from hourglass.data.formats import Data, Format, FormatSettings, Result, Rows, plain_values
from hourglass.data.limits import RATES
from hourglass.data.samples import Layout, Packed, Recordings, oddest_parts
from hourglass.data.spectrogram import Transform, length_at, of_length, resampled, usual_fft
from hourglass.data.times import counted
from hourglass.errors import ModelFileError, UsageError
from hourglass.settings import option

MAGNITUDE, COMPLEX = "magnitude", "complex"
USUAL_RATE = 16_000
"""Frames a second of recordings that do not say theirs."""
RANGE = 80.0
"""Decibels from the quietest magnitude that is told from silence (0) to the loudest of a recording (1)."""
_QUIETEST = 10 ** (-RANGE / 20)
_WIDTHS = {MAGNITUDE: 64, COMPLEX: 512}
_PARTS = {MAGNITUDE: ("",), COMPLEX: ("real part at ", "imaginary part at ")}


@dataclass(frozen=True)
class AudioSettings(FormatSettings):
    """How recordings are brought to one rate, transformed and cut into tiles."""

    name = "audio"

    view: str = option(
        MAGNITUDE, "what a tile holds: magnitudes in dB, or both parts of complex numbers", choices=(MAGNITUDE, COMPLEX)
    )
    power: float | None = option(
        None, "magnitudes are held as this power of their share of the loudest (default: in dB)", low=0.1, high=1
    )
    rate: int | None = option(
        None, "frames a second of the model (default: the commonest of the recordings)", low=RATES[0], high=RATES[1]
    )
    fft: int | None = option(None, "frames that a spectrum is taken of, an even power of 2 (default: of 23 ms)", low=8)
    bins: int | None = option(None, "height of a tile in bins of frequency (default: 64; complex: all)", low=1)
    frames: int | None = option(None, "width of a tile in spectra (default: 64; complex: 512)", low=1)
    overlap: float = option(0.25, "share that neighbouring tiles have in common, at least", low=0, high=0.9)
    columns: tuple[str, ...] | None = option(None, "a table's columns of samples (default: every column of numbers)")
    ignore: tuple[str, ...] | None = option(None, "columns of a table to leave out, such as a label")

    def fit(self, data: Data) -> AudioFormat:
        """Learn the rate from `Recordings`; rows of samples (n, samples), or one signal, are taken to have 16,000.

        Where there is a single recording, its tiles are what is judged later, one by one; else whole recordings are.
        """
        if self.power is not None and self.view == COMPLEX:
            how = "leave it out, or use --set format.view=magnitude"
            raise UsageError("complex numbers are held as they are", where="format.power", how=how)
        notices: list[str] = []
        rate = self.rate or _commonest_rate(data, notices)
        found = given(data, rate=rate, columns=self.columns, ignore=self.ignore or (), notices=notices)
        form = AudioFormat(self, rate, len(found.arrays) == 1 and found.origin.kind != ROWS, notices)
        notices.extend(form.oddities(found))
        return form

    def transform(self, rate: int) -> Transform:
        """The transform at a rate; `UsageError` where the size asked for is no power of 2."""
        fft = self.fft or usual_fft(rate)
        if fft & (fft - 1):
            raise UsageError(f"got {fft}, wanted a power of 2", where="format.fft", how=f"{usual_fft(rate)} is usual")
        return Transform(fft, fft // 4)

    def tiling(self, bins: int) -> Tiling:
        """How spectrograms of so many bins are cut."""
        height = self.bins or (bins if self.view == COMPLEX else min(64, bins))
        if height > bins:
            what = f"got tiles of {height:,} bins, and there are {bins:,} in all"
            raise UsageError(what, where="format.bins", how="ask for fewer, or for a larger --set format.fft")
        return Tiling(bins, height, self.frames or _WIDTHS[self.view], self.overlap)


def _commonest_rate(data: Data, notices: list[str]) -> int:
    if isinstance(data, Recordings) and len(data.rates):
        return Counter(int(rate) for rate in data.rates).most_common(1)[0][0]
    notices.append(f"taken to have {USUAL_RATE:,} frames a second: --set format.rate=N says otherwise")
    return USUAL_RATE


@final
@dataclass(eq=False)
class AudioFormat(Format):
    """Recordings as packed samples of shape (1, bins, frames), or (2, bins, frames) where complex, and back."""

    modality: ClassVar[str] = "audio"

    settings: AudioSettings
    rate: int
    """Frames a second that recordings are brought to."""
    by_tile: bool
    """Whether tiles are judged, one by one, and not recordings, each by its oddest tile."""
    notices: list[str]
    transform: Transform = field(init=False)
    tiling: Tiling = field(init=False)
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.transform = self.settings.transform(self.rate)
        self.tiling = self.settings.tiling(self.transform.fft // 2)  # without the highest bin: halves are even
        self.layout = Layout((len(_PARTS[self.settings.view]), self.tiling.height, self.tiling.width))

    def pack(self, data: Data) -> Packed:
        """The tiles of recordings. Those of another rate are brought to the model's, with a notice."""
        notices: list[str] = []
        found = self._given(data, notices)
        notices.extend(self.oddities(found))
        return self._packed(found, [Level.of(array) for array in found.arrays], notices)

    def pack_like(self, data: Data, places: Placed) -> Packed:
        """The tiles of other takes of the recordings packed at `places`, on the scale of those, not on their own."""
        found = self._given(data, [])
        check_alike(found.origin, places.origin)
        offsets = [Level.of(array).offset for array in found.arrays]
        levels = [dataclasses.replace(level, offset=own) for level, own in zip(places.levels, offsets, strict=True)]
        return self._packed(found, levels, [])

    def _given(self, data: Data, notices: list[str]) -> Given:
        settings = self.settings
        return given(data, rate=self.rate, columns=settings.columns, ignore=settings.ignore or (), notices=notices)

    def _packed(self, found: Given, levels: list[Level], notices: list[str]) -> Packed:
        origin = found.origin
        place = Placed(origin, [], [self.transform.frames(self._length(origin, each)) for each in range(len(origin))])
        counts = self._counts(place)
        samples = np.empty((sum(counts), *self.layout.shape), dtype=np.float32)
        ends = np.cumsum(counts)
        for recording, (array, level) in enumerate(zip(found.arrays, levels, strict=True)):
            spectra = self._spectra(level.taken_off(array), origin.rates[recording])
            if self.settings.view == MAGNITUDE:
                level = level.with_peak(spectra)
                place.spectra.append(spectra)
            place.levels.append(level)
            tiles = (self.tiles(self.tiling.piece(each, start), level.peak) for start, each in self._pieces(spectra))
            part = samples[ends[recording] - counts[recording] : ends[recording]]
            for first, tile in zip(range(0, len(part), len(self.tiling.lows)), tiles, strict=True):
                part[first : first + len(tile)] = tile
        if self.by_tile:
            together = max(origin.channels) * len(self.tiling.lows)
            return Packed(samples, place, notices, (self.tiling.reach + 1) * together - 1, ordered=True)
        return Packed(samples, place, notices, groups=np.repeat(np.arange(len(counts)), counts))

    def _length(self, origin: Origin, recording: int) -> int:
        """Frames of a recording at the model's rate."""
        return length_at(origin.lengths[recording], origin.rates[recording], self.rate)

    def _spectra(self, signal: np.ndarray, rate: int) -> list[np.ndarray]:
        """The spectrogram of each channel, the highest bin left out, of a recording (frames, channels)."""
        return [self.transform.forward(channel)[:-1] for channel in resampled(signal, rate, self.rate).T]

    def _pieces(self, spectra: list[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Where each stretch of each channel starts, stretch after stretch, and the spectrogram that it is of."""
        starts = self.tiling.starts(spectra[0].shape[1])
        return ((start, spectrogram) for start in starts for spectrogram in spectra)

    def _counts(self, place: Placed) -> list[int]:
        """How many tiles each recording has."""
        pairs = zip(place.frames, place.origin.channels, strict=True)
        return [self.tiling.count(frames) * channels * len(self.tiling.lows) for frames, channels in pairs]

    def tiles(self, piece: np.ndarray, peak: float = 1.0) -> np.ndarray:
        """Packed samples (bands, *layout.shape) of one stretch, complex (bins, frames); `peak`: that of its level."""
        if self.settings.view == COMPLEX:
            return self.tiling.bands(np.stack([piece.real, piece.imag]))
        shares = np.minimum(np.abs(piece) / np.float32(peak), 1)
        return self.tiling.bands(self._held(shares)[None])

    def piece(self, tiles: np.ndarray, seen: np.ndarray | None = None, peak: float = 1.0) -> np.ndarray:
        """The stretch, complex64 (bins, frames), that packed samples (bands, *layout.shape) stand for.

        `seen`: the stretch that was packed, whose phase is taken where samples hold magnitudes; without it 0.
        """
        values = self.tiling.unbanded(tiles)
        if self.settings.view == COMPLEX:
            return np.asarray(values[0] + 1j * values[1], dtype=np.complex64)
        phase = 0.0 if seen is None else np.angle(seen)
        return np.asarray(peak * self._shares(values[0]) * np.exp(1j * phase), dtype=np.complex64)

    def _held(self, shares: np.ndarray) -> np.ndarray:
        """What samples hold, 0 to 1, for magnitudes that are these shares of the loudest, 0 to 1."""
        if self.settings.power is not None:
            return np.asarray(shares ** np.float32(self.settings.power))
        return np.asarray(1 + 20 * np.log10(np.maximum(shares, np.float32(_QUIETEST))) / np.float32(RANGE))

    def _shares(self, held: np.ndarray) -> np.ndarray:
        """The shares of the loudest magnitude that samples hold."""
        held = np.clip(held, 0, 1)
        if self.settings.power is not None:
            return np.asarray(held ** (1 / self.settings.power))
        return np.where(held > 0, 10 ** ((held - 1) * (RANGE / 20)), 0)

    def rescaled(self, data: Data, chosen: np.ndarray) -> AudioFormat:
        """The same format: each recording is scaled by itself, and nothing else is."""
        return self

    def unpack(self, samples: np.ndarray, places: Any = None) -> Result:
        """Samples as sound of the rate, length and level of the recordings packed at `places`, in their form.

        Without `places` they stay tiles (n, parts, bins, frames), magnitudes in dB: nothing then says which phase they
        had and, where tiles are cut in frequency, what frequencies they are of.
        """
        samples = np.asarray(samples, dtype=np.float32).reshape(-1, *self.layout.shape)
        if not isinstance(places, Placed):
            return self._in_units(samples)
        parts = np.split(samples, np.cumsum(self._counts(places))[:-1])
        return places.origin.back([self._sound(part, places, recording) for recording, part in enumerate(parts)])

    def _sound(self, tiles: np.ndarray, places: Placed, recording: int) -> np.ndarray:
        """A recording (frames, channels) of its tiles."""
        origin, level, frames = places.origin, places.levels[recording], places.frames[recording]
        shape = (self.tiling.count(frames), origin.channels[recording], len(self.tiling.lows), *self.layout.shape)
        by_channel = np.moveaxis(tiles.reshape(shape), 1, 0)
        spectra = places.spectra[recording] if places.spectra else [None] * len(by_channel)
        length = self._length(origin, recording)
        signals = [
            self.transform.inverse(self.tiling.joined(self._joinable(each, seen, level.peak, frames), frames), length)
            for each, seen in zip(by_channel, spectra, strict=True)
        ]
        back = resampled(np.column_stack(signals), self.rate, origin.rates[recording])
        return level.put_back(of_length(back, origin.lengths[recording]))

    def _joinable(self, tiles: np.ndarray, seen: np.ndarray | None, peak: float, frames: int) -> Iterator[np.ndarray]:
        """The stretches of a channel, from tiles (times, bands, *layout.shape)."""
        for start, bands in zip(self.tiling.starts(frames), tiles, strict=True):
            yield self.piece(bands, None if seen is None else self.tiling.piece(seen, start), peak)

    def _in_units(self, samples: np.ndarray) -> np.ndarray:
        if self.settings.view == COMPLEX:
            return samples
        if self.settings.power is not None:
            return np.asarray(20 * np.log10(np.maximum(self._shares(samples), _QUIETEST)), dtype=np.float32)
        return (samples - 1) * np.float32(RANGE)

    def rows(self, scores: np.ndarray, places: Any) -> Rows:
        """A recording is as odd as its oddest tile; where tiles are judged, each is a row, known by its label."""
        scores = np.asarray(scores, dtype=np.float64)
        if isinstance(places, Placed) and not self.by_tile:
            counts = self._counts(places)
            scores = oddest_parts(scores, np.repeat(np.arange(len(counts)), counts))
        index = pa.array(np.arange(len(scores)))
        if isinstance(places, Placed) and self.by_tile:
            index = pa.array(self.labels(places), pa.string())
        elif isinstance(places, Placed) and places.origin.table is not None:
            index = places.origin.table.column("name").combine_chunks()
        return Rows(index, scores, np.ones(len(scores), dtype=bool))

    @property
    def is_cut_in_frequency(self) -> bool:
        """Whether a tile holds only some of the bins."""
        return self.tiling.height < self.tiling.bins

    def spans(self, places: Placed) -> list[Span]:
        """What stretch of which recording, and which frequencies, each sample stands for."""
        second, hertz = self.transform.hop / self.rate, self.rate / self.transform.fft
        height, width = self.tiling.height, self.tiling.width
        found: list[Span] = []
        for recording, (name, frames) in enumerate(zip(places.origin.names, places.frames, strict=True)):
            last = places.origin.seconds(recording)
            for start in self.tiling.starts(frames):
                times = min(start * second, last), min((start + width) * second, last)
                for channel in range(places.origin.channels[recording]):
                    ends = ((low * hertz, (low + height) * hertz) for low in self.tiling.lows)
                    found.extend(Span(name, channel + 1, *times, *each) for each in ends)
        return found

    def labels(self, places: Placed) -> list[str]:
        """Samples in words: `calls/a.wav, 0.00 s to 0.74 s`, with channel and frequencies where these differ."""
        several = max(places.origin.channels) > 1
        return [
            f"{span.name}, {span.start:.2f} s to {span.end:.2f} s"
            + (f", channel {span.channel}" if several else "")
            + (f", {span.low:,.0f} to {span.high:,.0f} Hz" if self.is_cut_in_frequency else "")
            for span in self.spans(places)
        ]

    def oddities(self, found: Given) -> list[str]:
        """What is accepted although odd, one sentence each."""
        origin = found.origin
        notices = []
        for rate, count in sorted(Counter(each for each in origin.rates if each != self.rate).items()):
            which = origin.names[list(origin.rates).index(rate)]
            some = (
                f"{count:,} of {counted(len(origin), 'recording')} (the first: {which})" if len(origin) > 1 else which
            )
            band = min(rate, self.rate) // 2
            fate = f"what lies above {band:,} Hz is lost" if rate > self.rate else f"nothing is above {band:,} Hz there"
            notices.append(f"{some} brought from {rate:,} to {self.rate:,} frames a second: {fate}")
        return notices

    def rows_in_units(self, samples: np.ndarray) -> list[list[Any]]:
        """Each sample's numbers: dB below the recording's loudest, or parts of complex numbers."""
        return plain_values(self._in_units(samples))

    def cell_names(self) -> Sequence[str]:
        """`1,250 Hz at 0.35 s`: from the tile's start, and from its lowest bin where tiles are cut in frequency."""
        above = " above its lowest" if self.is_cut_in_frequency else ""
        second, hertz = self.transform.hop / self.rate, self.rate / self.transform.fft
        return BinNames(_PARTS[self.settings.view], self.tiling.height, self.tiling.width, hertz, second, above)

    def document(self) -> dict[str, Any]:
        return {
            "settings": self.settings.as_json(),
            "rate": self.rate,
            "by_tile": self.by_tile,
            "notices": list(self.notices),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}

    @classmethod
    def restore(cls, document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Self:
        """The format that `document` describes; `ModelFileError` where that is none."""
        try:
            settings = AudioSettings.from_json(document["settings"])
            rate, by_tile = document["rate"], document["by_tile"]
            notices = [str(notice) for notice in document["notices"]]
            if not isinstance(settings, AudioSettings) or type(rate) is not int or type(by_tile) is not bool:
                raise ValueError("it has no rate")
            if not RATES[0] <= rate <= RATES[1] or settings.rate not in (None, rate) or tensors:
                raise ValueError("its rate is none")
            return cls(settings, rate, by_tile, notices)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"the format of sound is not described as it should be: {error!r}") from error
