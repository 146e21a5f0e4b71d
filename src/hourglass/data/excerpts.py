"""Parts of long recordings: training needs minutes of sound, and a season in the field brings days of it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import pyarrow as pa

from hourglass.data.samples import Recordings
from hourglass.data.sound import SoundInfo, sound_blocks, sound_info
from hourglass.errors import DataError, UnreadableError

MOST_SAMPLES = 3 << 22
"""Samples to learn from, of all channels together: 9 minutes at 22 kHz. As tiles, and at other speeds too, they take a
gigabyte, and ten passes over them about 2,000 steps."""
_SECONDS = 10
Piece = TypeVar("Piece")


def excerpts(recordings: Recordings, most: int = MOST_SAMPLES) -> Recordings:
    """The recordings; or evenly spread stretches of ten seconds, where they hold more than `most` samples."""
    share = most / max(sum(array.size for array in recordings.arrays), 1)
    if share >= 1:
        return recordings
    pieces = (
        (row, piece)
        for row, (array, rate) in enumerate(zip(recordings.arrays, recordings.rates, strict=True))
        for piece in np.split(array, range(_SECONDS * rate, len(array), _SECONDS * rate))
    )
    rows, arrays = zip(*_spread(pieces, share), strict=True)
    notices = (*recordings.notices, _said(share))
    rates, table = [recordings.rates[row] for row in rows], recordings.table.take(pa.array(rows))
    return dataclasses.replace(recordings, arrays=list(arrays), rates=rates, table=table, notices=notices)


def read_excerpts(folder: str, names: list[str], most: int = MOST_SAMPLES) -> Recordings:
    """The recordings in files of a folder; or such stretches of them, of which no more than `most` samples are held.

    Files that cannot be read are left out and listed; `UnreadableError` where none can be.
    """
    failed: list[str] = []
    infos: dict[str, SoundInfo] = {}
    for name in names:
        try:
            infos[name] = sound_info(os.path.join(folder, name))
        except DataError as error:
            failed.append(f"{name}: {error.what}")
    share = most / max(sum(info.frames * info.channels for info in infos.values()), 1)
    kept = list(_spread(_pieces(folder, infos, share >= 1, failed), share))
    if not kept:
        what = f"none of its {len(names):,} recordings can be read; {failed[0]}"
        raise UnreadableError(what, where=folder, how="see whether they are what their suffix says")
    read, arrays = zip(*kept, strict=True)
    notices = (_said(share),) if share < 1 else ()
    rates, table = [infos[name].rate for name in read], pa.table({"name": read})
    return Recordings(list(arrays), rates, table, folder, notices, tuple(failed))


def _spread(pieces: Iterable[Piece], share: float) -> Iterator[Piece]:
    """Evenly spread ones that make up a share of all; at least the first."""
    for place, piece in enumerate(pieces):
        if math.ceil((place + 1) * share) > math.ceil(place * share):
            yield piece


def _pieces(
    folder: str, infos: dict[str, SoundInfo], whole: bool, failed: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    for name, info in infos.items():
        try:
            for piece in sound_blocks(os.path.join(folder, name), info.frames if whole else _SECONDS * info.rate):
                yield name, piece
        except DataError as error:
            failed.append(f"{name}: {error.what}")


def _said(share: float) -> str:
    return f"more sound than training needs: learning from stretches of {_SECONDS} s that are {share:.0%} of it"
