"""Writes recordings: block by block into the container that the file's suffix names, in the bit depth of the input."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hourglass.data.folders import replace_folder
from hourglass.data.samples import Recordings
from hourglass.data.sound import BITS, BLOCK, SOUNDS, SoundInfo, reason
from hourglass.data.writing import replacing
from hourglass.errors import DataError, UsageError

_CONTAINERS = {
    ".wav": ("WAV", "WAVEX", "RF64"),
    ".rf64": ("RF64",),
    ".w64": ("W64",),
    ".flac": ("FLAC",),
    ".ogg": ("OGG",),
    ".oga": ("OGG",),
    ".opus": ("OGG",),
    ".mp3": ("MP3",),
    ".aif": ("AIFF",),
    ".aiff": ("AIFF",),
    ".aifc": ("AIFF",),
}
"""What a file of each suffix may be inside; the first where the input was none of them."""
_NEXT_BEST = {
    "DOUBLE": ("FLOAT", "PCM_24"),
    "FLOAT": ("PCM_24",),
    "PCM_32": ("PCM_24",),
    "PCM_U8": ("PCM_S8",),
    "PCM_S8": ("PCM_U8",),
}
"""What loses the least where a container cannot hold a sample as the input did."""
_HELD_AS_FLOATS = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_III")
_LARGEST_WAV = (1 << 32) - (1 << 20)
"""A WAV file counts its bytes in 32 bits; beyond that it is written as RF64."""


class SoundWriter:
    """Writes one recording block by block; the file takes its place when all is well, and else there is none.

    The container is that of the path's suffix; rate, channels, bit depth and tags are those of `info`. What the
    container cannot hold is said in `notices`, which is complete once the file is closed. Samples of full scale reach
    from -1 to 1; whole numbers are rounded to the nearest and held at full scale.
    """

    def __init__(self, path: str | Path, info: SoundInfo) -> None:
        self.path, self.info = str(path), info
        self.container, self.subtype = _form_of(self.path, info)
        self.frames = 0
        self.notices: list[str] = []
        if self.subtype != info.subtype:
            self.notices.append(f"is written as {self.subtype}, since {self.container} has no {info.subtype}")

    def __enter__(self) -> Self:
        self._held = self._writing()
        self._held.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._held.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with replacing(Path(self.path)) as handle:
            self._file = self._opened(handle.name)
            try:
                yield
            finally:
                self._close()
            if not self.frames:
                how = "give a recording of at least one sample"
                raise DataError("cannot be written: there is no sound to write", where=self.path, how=how)
            self._compare_tags(handle.name)

    def _opened(self, temporary: str) -> Any:
        import soundfile

        info = self.info
        try:
            file = soundfile.SoundFile(temporary, "w", info.rate, info.channels, self.subtype, format=self.container)
        except (RuntimeError, ValueError, TypeError) as error:
            what = f"{self.container} cannot hold {info.channels} channels of {info.rate:,} Hz: {reason(error)}"
            raise UsageError(what, where=self.path, how="end the name in .wav or .flac") from error
        for name, value in info.tags.items():
            with contextlib.suppress(RuntimeError):  # found missing, and said, at the end
                setattr(file, name, value)
        return file

    def write(self, block: np.ndarray) -> None:
        """Add a block (frames, channels); `DataError` where it holds NaN or infinity, or the disk is full."""
        if block.ndim != 2 or block.shape[1] != self.info.channels:
            what = f"got a block of shape {block.shape}, wanted (frames, {self.info.channels})"
            raise UsageError(what, where=self.path, how="mono is block[:, None]")
        # libsndfile's Vorbis encoder keeps what it is given at once on the stack.
        for start in range(0, len(block), BLOCK):
            self._write_some(block[start : start + BLOCK])

    def _write_some(self, block: np.ndarray) -> None:
        if not np.isfinite(block).all():
            how = "np.nan_to_num(sound) makes its numbers finite"
            raise DataError("cannot be written: the sound holds NaN or infinity", where=self.path, how=how)
        floats = self.subtype in _HELD_AS_FLOATS
        try:
            self._file.write(np.asarray(block, np.float32) if floats else as_integers(block, self.subtype))
        except (RuntimeError, AssertionError) as error:  # the latter where fewer frames were taken than given
            raise self._failed(error) from error
        self.frames += len(block)

    def _close(self) -> None:
        try:
            self._file.close()
        except RuntimeError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DataError:
        what = f"cannot be written: {reason(error) or 'less was taken than given'}"
        return DataError(what, where=self.path, how="see whether the disk is full")

    def _compare_tags(self, temporary: str) -> None:
        import soundfile

        with soundfile.SoundFile(temporary) as written:
            kept = written.copy_metadata()
        # libsndfile adds its own name to that of the software.
        lost = [name for name, value in self.info.tags.items() if not kept.get(name, "").startswith(value)]
        if lost:
            self.notices.append(f"loses tags that {self.container} cannot hold as they are: {', '.join(lost)}")


def as_integers(block: np.ndarray, subtype: str) -> np.ndarray:
    """Samples as whole numbers of the subtype's bits, rounded and held at full scale, in the upper bits of int32.

    libsndfile itself cuts the fraction off, which makes silence of half of all small numbers.
    """
    bits = BITS.get(subtype, 16)
    full = 2 ** (bits - 1)
    whole: np.ndarray = np.clip(np.rint(block.astype(np.float64) * full), -full, full - 1).astype(np.int32)
    return whole << (32 - bits)


def _form_of(path: str, info: SoundInfo) -> tuple[str, str]:
    """Container and subtype, in libsndfile's words."""
    import soundfile

    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _CONTAINERS:
        known = ", ".join(_CONTAINERS)
        raise UsageError(f"the suffix {suffix!r} is no recording's", where=path, how=f"end the name in one of {known}")
    container = info.container if info.container in _CONTAINERS[suffix] else _CONTAINERS[suffix][0]
    if container.startswith("WAV") and info.frames * info.channels * BITS.get(info.subtype, 32) // 8 > _LARGEST_WAV:
        container = "RF64"
    if suffix == ".opus":
        return container, "OPUS"
    wanted = (info.subtype, *_NEXT_BEST.get(info.subtype, ()))
    held = (subtype for subtype in wanted if soundfile.check_format(container, subtype))
    return container, next(held, str(soundfile.default_subtype(container)))


def write_recordings(recordings: Recordings, path: str | Path, infos: Sequence[SoundInfo] | None = None) -> list[str]:
    """Write one recording to a file, or all to a folder (a path without suffix), each under its own name.

    `infos`: what each input said of itself, for its bit depth and tags; without them each container's usual ones. A
    name without a known suffix gets `.wav`. The folder has `_manifest.json` that says which file came from which.
    Returns what was lost, one sentence for each file.
    """
    found = infos or [_plain_info(array, rate) for array, rate in zip(recordings.arrays, recordings.rates, strict=True)]
    names = [str(name) for name in recordings.table.column("name").to_pylist()]
    notices: list[str] = []
    if Path(path).suffix:
        if len(recordings) != 1:
            how = f"write them to a folder: -o {Path(path).with_suffix('')}"
            raise UsageError(f"got {len(recordings):,} recordings, and a file holds one", where=str(path), how=how)
        _write_one(Path(path), recordings.arrays[0], found[0], names[0], notices)
        return notices
    files = [name if Path(name).suffix.lower() in SOUNDS else f"{name}.wav" for name in names]
    manifest = {
        "source": recordings.source,
        "files": [{"file": file, "name": name} for file, name in zip(files, names, strict=True)],
        "failed": list(recordings.failed),
    }
    jobs = zip(files, recordings.arrays, found, names, strict=True)
    contents = (
        (file, partial(_write_one, array=array, info=info, name=name, notices=notices))
        for file, array, info, name in jobs
    )
    replace_folder(path, contents, manifest)
    return notices


def _plain_info(array: np.ndarray, rate: int) -> SoundInfo:
    return SoundInfo(len(array), int(rate), array.shape[1], "WAV", "PCM_16")


def _write_one(path: Path, array: np.ndarray, info: SoundInfo, name: str, notices: list[str]) -> None:
    with SoundWriter(path, info) as writer:
        writer.write(array)
    notices.extend(f"{name} {notice}" for notice in writer.notices)
