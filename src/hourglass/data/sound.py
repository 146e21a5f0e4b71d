"""Sound files as arrays (frames, channels): whole, or block by block in bounded memory.

What the header claims is held against the bytes there are before anything is decoded: a kilobyte can claim gigabytes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from hourglass.data.limits import check_density, check_size, check_sound
from hourglass.data.opening import opened
from hourglass.data.riff import sample_bytes
from hourglass.data.samples import Recordings
from hourglass.data.times import counted
from hourglass.errors import DataError, UnreadableError

SOUNDS = {
    ".wav": "a WAV recording",
    ".rf64": "a WAV recording",
    ".w64": "a Wave64 recording",
    ".flac": "a FLAC recording",
    ".ogg": "an Ogg recording",
    ".oga": "an Ogg recording",
    ".opus": "an Ogg recording",
    ".mp3": "an MP3 recording",
    ".aif": "an AIFF recording",
    ".aiff": "an AIFF recording",
    ".aifc": "an AIFF recording",
}
"""What each suffix promises."""
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""Bits of a sample, where a file holds plain integers."""
BLOCK = 1 << 16
"""Frames that are decoded or encoded at a time."""
_UNKNOWN = 1 << 62
"""From here on a number of frames means that the file does not say."""
_LARGEST_PAGE = 65_307
"""Bytes of an Ogg page, at most."""
_COPY = "take it from a copy, or save what is there as a new file, for example with: ffmpeg -i FILE NEW.wav"


@dataclass(frozen=True)
class SoundInfo:
    """What a sound file says of itself."""

    frames: int
    """One frame is one sample of every channel. An MP3 may only estimate how many it has."""
    rate: int
    """Frames a second."""
    channels: int
    container: str
    """libsndfile's word for the kind of file: WAV, FLAC, OGG."""
    subtype: str
    """libsndfile's word for how a sample is held: PCM_16, FLOAT, VORBIS."""
    tags: dict[str, str] = field(default_factory=dict)
    """Title, artist, date, comment and so on, where the file has them."""

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def sound_info(path: str | Path) -> SoundInfo:
    """What a sound file says of itself, once its claims have been held against its size; nothing is decoded.

    `UnreadableError` for a file that is damaged, cut short, empty, or claims what no recorder makes.
    """
    with _open(str(path)) as (_, info, _notices):
        return info


def sound_blocks(path: str | Path, frames: int, notices: list[str] | None = None) -> Iterator[np.ndarray]:
    """The recording in a file, `frames` frames at a time: arrays (frames, channels) of float32, the last one shorter.

    A full-scale file reaches from -1 to 1. Errors as those of `read`; damage is found when its block is reached. What
    is accepted although odd is added to `notices` after the last block.
    """
    with _open(str(path)) as (file, info, odd):
        yield from _blocks(file, info, str(path), frames, odd)
    if notices is not None:
        notices.extend(odd)


def read_sound(path: str) -> tuple[np.ndarray, int, list[str]]:
    """A whole recording (frames, channels) of float32, its rate, and what was accepted although odd."""
    with _open(path) as (file, info, notices):
        check_size(4 * info.frames * info.channels, os.path.getsize(path), path)
        array = np.empty((info.frames, info.channels), dtype=np.float32)
        there = 0
        for block in _blocks(file, info, path, BLOCK, notices):
            array[there : there + len(block)] = block
            there += len(block)
    return array[:there], info.rate, notices


def one_recording(array: np.ndarray, rate: int, notices: list[str], path: str) -> Recordings:
    """A single file as `Recordings`, under its own name."""
    name = os.path.basename(path)
    table = pa.table({"name": [name], "folder": ["."]})
    return Recordings([array], [rate], table, path, tuple(f"{name} {notice}" for notice in notices))


def form_words(frames: int, channels: int, rate: int) -> str:
    """What two takes of the same sound must have in common.

    >>> form_words(8000, 1, 16000)
    '8,000 frames of 1 channel at 16,000 Hz'
    """
    return f"{frames:,} frames of {counted(channels, 'channel')} at {rate:,} Hz"


@contextlib.contextmanager
def _open(path: str) -> Iterator[tuple[Any, SoundInfo, list[str]]]:
    """libsndfile's view of a file, what the file says of itself, and what is odd about that."""
    import soundfile

    with opened(path, _promised(path)) as handle:
        size = os.fstat(handle.fileno()).st_size
        try:
            file = soundfile.SoundFile(path)
        except (RuntimeError, ValueError) as error:
            what = f"cannot be decoded: {reason(error)}"
            how = "it is damaged, or in a code that is not known here: save it as plain WAV or as FLAC"
            raise UnreadableError(what, where=path, how=how) from error
        # Left to itself it seeks after every block, which puts a click into MP3, whose frames lean on those before.
        file.seekable = lambda: False
        with file:
            info = SoundInfo(
                file.frames, file.samplerate, file.channels, file.format, file.subtype, file.copy_metadata()
            )
            _check_claims(info, sample_bytes(handle, size), size, path)
            yield file, info, _unfinished(handle, size, info)


def _promised(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SOUNDS:
        what = f"has the suffix {suffix!r}, which is no recording"
        raise UnreadableError(what, where=path, how=f"known: {', '.join(SOUNDS)}")
    return SOUNDS[suffix]


def reason(error: Exception) -> str:
    """What libsndfile found wrong, without the path."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def _check_claims(info: SoundInfo, claim: tuple[int, int] | None, size: int, path: str) -> None:
    """Refuse a file by its header: rate, channels, and more sound than its bytes can hold."""
    check_sound(info.rate, info.channels, path)
    if info.frames >= _UNKNOWN:
        how = "decode and save it again, for example with: ffmpeg -i FILE NEW.flac"
        raise UnreadableError("does not say how long it is, as files written to a pipe may", where=path, how=how)
    claimed, there = claim or (0, 0)
    if there < claimed and (not info.frames or (whole := info.frames * claimed // there) > info.frames):
        raise _cut_short(info, info.frames, whole, path) if info.frames else _nothing(f"claims {claimed:,} bytes", path)
    if not info.frames:
        follow = f", though {there:,} bytes follow: perhaps it was never closed" if there else ""
        raise _nothing(f"tells of no samples{follow}", path)
    check_density(4 * info.frames * info.channels, size, path)


def _cut_short(info: SoundInfo, there: int, whole: int, path: str) -> UnreadableError:
    what = f"is cut short: {there / info.rate:,.2f} of {whole / info.rate:,.2f} seconds are there"
    return UnreadableError(what, where=path, how=_COPY)


def _nothing(header: str, path: str) -> UnreadableError:
    return UnreadableError(f"holds no sound: its header {header}", where=path, how=_COPY)


def _unfinished(handle: BinaryIO, size: int, info: SoundInfo) -> list[str]:
    """An Ogg file says nowhere how long it is; but its last page says that it is the last."""
    if info.container != "OGG":
        return []
    handle.seek(max(0, size - _LARGEST_PAGE))
    tail = handle.read()
    page = tail.rfind(b"OggS")
    flags = tail[page + 5 : page + 6] if page >= 0 else b""
    return [] if flags and flags[0] & 4 else ["has no end: it may be cut short"]


def _blocks(file: Any, info: SoundInfo, path: str, frames: int, notices: list[str]) -> Iterator[np.ndarray]:
    """Every block, checked; what is odd about all of them is added to `notices` at the end."""
    oddities = _Oddities(info)
    there = 0
    while len(block := _decoded(file, info, path, frames, there)):
        oddities.see(block, there, path)
        there += len(block)
        yield block
    # Where no header says how long an MP3 is, libsndfile estimates it from its first frames.
    slack = max(info.frames // 50, 4608) if info.container == "MP3" else 0
    if there + slack < info.frames or not there:
        raise _cut_short(info, there, info.frames, path)
    notices.extend(oddities.notices())


def _decoded(file: Any, info: SoundInfo, path: str, frames: int, there: int) -> np.ndarray:
    try:
        return np.asarray(file.read(frames, dtype="float32", always_2d=True))
    except RuntimeError as error:
        seconds = f"{there / info.rate:,.2f} of {info.seconds:,.2f} seconds"
        what = f"is damaged or cut short after {seconds}: {reason(error)}"
        raise UnreadableError(what, where=path, how=_COPY) from error


class _Oddities:
    """What is odd about a recording, gathered block by block: clipping, a constant offset, silence."""

    clipped_share = 1e-4
    """More than this share of samples in runs at full scale is no chance."""
    offset_share = 0.1
    """A mean beyond this share of the sound's own deviation, and of more than `offset_least`, is no chance."""
    offset_least = 1e-3

    def __init__(self, info: SoundInfo) -> None:
        self.full_scale = 1.0 - 2.0 ** (1 - BITS.get(info.subtype, 16))
        self.rate = info.rate
        self.count = self.clipped = 0
        self.sums = np.zeros(info.channels)
        self.squares = np.zeros(info.channels)

    def see(self, block: np.ndarray, there: int, path: str) -> None:
        """Count one block, which begins `there` frames from the start; `DataError` where it holds NaN or infinity."""
        numbers = block.astype(np.float64)
        sums = numbers.sum(axis=0)
        if not np.isfinite(sums).all():
            raise self._not_finite(block, there, path)
        self.count += len(block)
        self.sums += sums
        self.squares += (numbers**2).sum(axis=0)
        at_the_end = np.abs(block[1:]) >= self.full_scale
        self.clipped += int(np.count_nonzero(at_the_end & (block[1:] == block[:-1])))

    def _not_finite(self, block: np.ndarray, there: int, path: str) -> DataError:
        frame, channel = np.argwhere(~np.isfinite(block))[0]
        place = f"at second {(there + frame) / self.rate:,.3f} of channel {channel + 1}"
        how = "save it again from its source, or cut the damaged stretch out"
        return DataError(f"holds {block[frame, channel]} {place}, wanted finite numbers", where=path, how=how)

    def notices(self) -> list[str]:
        """One phrase each, without numbers, so that files of a folder can share it."""
        means = self.sums / self.count
        deviations = np.sqrt(np.maximum(self.squares / self.count - means**2, 0.0))
        offset = np.abs(means) > np.maximum(self.offset_least, self.offset_share * deviations)
        silent = self.squares == 0
        found = []
        if self.clipped > self.clipped_share * self.count * len(means):
            found.append("is clipped: it has runs of samples at full scale")
        if offset.any():
            found.append("has a constant offset (DC)")
        if silent.any():
            found.append("is silent: every sample is zero" if silent.all() else "has a silent channel")
        return found
