"""Recordings cleaned file by file and block by block, at their own rate, length, channels, bit depth and tags."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.core.fitted import FittedModel
from hourglass.core.streams import Stream, audio_format, level_of
from hourglass.data.folders import replace_folder
from hourglass.data.listing import list_folder, notices_of
from hourglass.data.pictures import PICTURES
from hourglass.data.quality import noise_floor
from hourglass.data.sound import SOUNDS, sound_blocks, sound_info
from hourglass.data.sound_writing import SoundWriter
from hourglass.data.times import counted
from hourglass.errors import DataError, UnreadableError
from hourglass.interfaces.learning import Listener

HEARD = 60
"""Seconds, from the start of a recording, that are measured."""
_HELD = 1 << 19
"""Samples of all channels that are read at a time."""


@dataclass(frozen=True)
class SoundFiles:
    """Sound files that were named: one, or those of a folder."""

    folder: str
    names: list[str]
    single: bool

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)


def sound_files(path: str) -> SoundFiles | None:
    """The recordings at a path; None where it is no sound file and no folder of such."""
    if os.path.isdir(path):
        listing = list_folder(path, {"picture": PICTURES, "recording": SOUNDS})
        return SoundFiles(path, listing.names, False) if listing.noun == "recording" else None
    place = Path(path)
    return SoundFiles(str(place.parent), [place.name], True) if place.suffix.lower() in SOUNDS else None


@dataclass(frozen=True)
class Cleaned:
    """What became of the recordings."""

    files: list[dict[str, Any]] = field(default_factory=list)
    """Of each its name, seconds, and by how many dB its noise floor fell."""
    failed: list[str] = field(default_factory=list)
    """Those that could not be read: name and what is wrong."""
    _odd: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, seconds: float, drop: float, odd: list[str]) -> None:
        """Count one that is done."""
        self.files.append({"name": name, "seconds": round(seconds, 3), "noise_floor_drop": round(drop, 2)})
        for notice in odd:
            self._odd.setdefault(notice, []).append(name)

    @property
    def notices(self) -> list[str]:
        """What was odd; last, what failed."""
        said = notices_of(self._odd)
        if self.failed:
            how_many = counted(len(self.failed), "recording")
            said.append(f"left out {how_many} that cannot be read: {'; '.join(self.failed)}")
        return said

    def document(self) -> dict[str, Any]:
        """All of it as JSON values."""
        drops = [file["noise_floor_drop"] for file in self.files]
        whole = {"recordings": len(self.files), "seconds": round(sum(file["seconds"] for file in self.files), 3)}
        gained = {"noise_floor_drop": round(float(np.median(drops)), 2), "files": self.files}
        return {**whole, **gained, **({"failed": self.failed} if self.failed else {})}


def first_minute(path: str) -> tuple[np.ndarray, int]:
    """What is measured of a recording (frames, channels), and its rate."""
    rate = sound_info(path).rate
    return next(sound_blocks(path, HEARD * rate)), rate


def _floor(path: str) -> float:
    """The noise floor of a recording's first minute, in dB of full scale, the mean over its channels."""
    heard, rate = first_minute(path)
    return float(np.mean([noise_floor(channel, rate) for channel in heard.T]))


def clean(model: FittedModel, files: SoundFiles, output: str, listener: Listener) -> Cleaned:
    """Write each recording without its noise: one to a file, or all to a folder, under their own names.

    In a folder, those that cannot be read are left out and listed; `UnreadableError` where none can be.
    """
    cleaned = Cleaned()
    if Path(output).suffix:
        name = files.names[0]
        cleaned.add(name, *_clean_file(model, files.path(name), output, listener))
        return cleaned
    written: list[dict[str, str]] = []
    manifest = {"source": files.folder, "files": written, "failed": cleaned.failed}

    def attempt(target: Path, name: str) -> None:
        try:
            cleaned.add(name, *_clean_file(model, files.path(name), str(target), listener))
            written.append({"file": name, "name": name})
        except DataError as error:
            if files.single or error.where == str(target):  # no fault of this one
                raise
            cleaned.failed.append(f"{name}: {error.what}")

    def jobs() -> Iterator[tuple[str, Callable[[Path], None]]]:
        yield from ((name, partial(attempt, name=name)) for name in files.names)
        if not written:  # the list of files is complete only now
            what = f"none of its {counted(len(files.names), 'recording')} can be read; {cleaned.failed[0]}"
            raise UnreadableError(what, where=files.folder, how="see whether they are what their suffix says")

    replace_folder(output, jobs(), manifest)
    return cleaned


def _clean_file(model: FittedModel, source: str, target: str, listener: Listener) -> tuple[float, float, list[str]]:
    """Seconds, by how many dB the noise floor fell, and what was odd."""
    info = sound_info(source)
    frames = max(1, _HELD // info.channels)
    level = level_of(model, info.rate, info.channels, lambda: sound_blocks(source, frames))
    stream = Stream(model, info.rate, info.channels, level)
    odd = _lost(info.rate, audio_format(model).rate)
    done = 0
    with SoundWriter(target, info) as writer:
        for block in sound_blocks(source, frames, odd):
            writer.write(stream.feed(block))
            done += len(block)
            listener.progress(Path(source).name, done // info.rate, max(1, info.frames // info.rate))
        writer.write(stream.flush())
    return info.seconds, _floor(source) - _floor(target), [*odd, *writer.notices]


def _lost(rate: int, models: int) -> list[str]:
    """What is said of a recording of more frames a second than the model's."""
    what = f"of {rate:,} Hz goes through a model of {models:,} Hz: what lies above {models // 2:,} Hz is lost"
    return [what] if rate > models else []
