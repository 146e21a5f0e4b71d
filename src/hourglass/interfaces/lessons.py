"""What a network is taught with: data as they are, noise to mix into them, clean twins, or noisy data alone."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from hourglass.core.corruptions import noise_deviation
from hourglass.core.kinds import Experiment
from hourglass.data.clearing import cleared
from hourglass.data.excerpts import excerpts
from hourglass.data.files import read
from hourglass.data.formats import Data
from hourglass.data.listing import twins_of
from hourglass.data.samples import Pictures, Recordings
from hourglass.data.sound import form_words
from hourglass.data.soundscapes import noise_and_calls, speeds
from hourglass.data.synthesis import NOISES
from hourglass.errors import DataError, UsageError
from hourglass.interfaces.options import Denoise, Detect, Fit, Learning
from hourglass.settings import did_you_mean

_SPEEDS = (0.8, 1.25)
"""Calls are also heard a third of an octave lower and slower, and higher and faster."""
_MADE_SECONDS = 30
_TILE = 64
_OF_PAIRS = {"audio": "mask", "image": "u-net", "series": "u-net", "table": "deep"}
_BLIND = {"image": "recorrupted", "series": "noise2void"}
_BLIND_TO_SPECKS = "noise2void"
_LOOKED_AT = 200
"""Pictures that are looked at to tell which noise they have."""
_MIXING = "noise"
"""The corruption that adds noise."""


@dataclass(frozen=True)
class Lesson:
    """What one fit is made of."""

    data: Data
    """What the network shall give back."""
    seen: Data | None = None
    """What it sees in the place of each sample, where that is not the sample itself."""
    noise: Data | None = None
    notices: Sequence[str] = ()
    for_denoising: bool = False
    """Whether denoising is what the model is for, so that a costly calibration of anomalies is not."""


def fitting(request: Learning, modality: str, data: Data) -> Learning:
    """The request with the kind that fits what there is to learn from, where none is asked for.

    Pairs need no corruption beside their own; noisy data alone are denoised by what is not noise in them; a table that
    is searched for anomalies is learned from as one that holds some.
    """
    if request.kind or request.recipe:
        return request
    if isinstance(request, Detect) and modality == "table" and request.normal is None:
        return request.replace(contaminated=True)
    if isinstance(request, Fit) and request.clean:
        return request.replace(kind=_OF_PAIRS[modality], set=("corruption=none", *request.set))
    if not isinstance(request, Denoise) or modality == "audio":
        return request
    if modality not in _BLIND:
        how = "give a fitted model: hourglass denoise MODEL DATA; or --modality series where rows follow one another"
        raise UsageError("the noise of a table cannot be told from the table alone", where="denoise", how=how)
    large = isinstance(data, Pictures) and min(min(each.shape[:2]) for each in data.arrays) > _TILE
    if large and request.size is None and request.tile is None:
        request = request.replace(tile=_TILE, set=(f"format.overlap={_TILE // 4}", *request.set))
    return request.replace(kind=_BLIND_TO_SPECKS if _has_specks(data) else _BLIND[modality])


def _has_specks(data: Data) -> bool:
    """Whether pictures have no noise but single wrong pixels: most of their neighbours are alike to the last digit."""
    if not isinstance(data, Pictures):
        return False
    looked_at = (np.atleast_3d(data.arrays[place]) for place in range(min(len(data), _LOOKED_AT)))
    maps = (torch.from_numpy(np.moveaxis(each, -1, 0)[None].astype(np.float32)) for each in looked_at)
    return not np.quantile([float(noise_deviation(each)) for each in maps], 0.25)


def lesson(request: Learning, plan: Experiment, data: Data) -> Lesson:
    """What to fit to: the data, and the noise or the twins that the request names or that are found in the data."""
    if isinstance(request, Fit) and request.clean:
        if request.noise:
            raise UsageError("both --noise and --clean were given", how="pairs have their own noise: leave one out")
        return _paired(data, request.clean)
    if isinstance(request, Fit) and request.noise:
        return _mixed(request.noise, plan, data)
    if isinstance(data, Recordings) and plan.corruption.name == _MIXING and not isinstance(request, Detect):
        return _noisy_only(data)
    return Lesson(data, for_denoising=isinstance(request, Denoise))


def _mixed(words: Sequence[str], plan: Experiment, data: Data) -> Lesson:
    if plan.corruption.name != _MIXING:
        what = f"the corruption {plan.corruption.name!r} mixes no recorded noise in, and some is given"
        raise UsageError(what, where="--noise", how=f"add --set corruption={_MIXING}, or leave the noise out")
    if not isinstance(data, Recordings):
        if len(words) > 1:
            what = f"got {len(words)} times noise, wanted one file or folder"
            raise UsageError(what, where="--noise", how="put them into one; only sound takes several")
        return Lesson(data, noise=read(words[0]))
    noise = _joined([_noise(word, data, plan.training.seed) for word in _words(words)])
    calls, notices = cleared(excerpts(data))
    return Lesson(speeds(calls, _SPEEDS), noise=excerpts(noise), notices=notices)


def _words(given: Sequence[str]) -> list[str]:
    """Paths as they are, names of made-up noise one by one."""
    return [word for text in given for word in ([text] if os.path.exists(text) else text.split(","))]


def _noise(word: str, data: Recordings, seed: int) -> Recordings:
    if word in NOISES:
        rate = max(data.rates, key=list(data.rates).count)
        sound = NOISES[word](_MADE_SECONDS * rate, rate, np.random.default_rng(seed))
        return Recordings([sound[:, None].astype(np.float32)], [rate], pa.table({"name": [word]}), word)
    if not os.path.exists(word):
        how = f"give a file, a folder, or a name; {did_you_mean(word, NOISES)}"
        raise UsageError(f"there is no file, folder or noise called {word!r}", where="--noise", how=how)
    found = read(word)
    if not isinstance(found, Recordings):
        raise DataError("holds no recordings, and is to be mixed into some", where=word, how="give recorded noise")
    return found


def _joined(several: Sequence[Recordings]) -> Recordings:
    arrays = [array for each in several for array in each.arrays]
    rates = [rate for each in several for rate in each.rates]
    table = pa.concat_tables([each.table.select(["name"]) for each in several])
    return Recordings(arrays, rates, table, "the noise", tuple(notice for each in several for notice in each.notices))


def _noisy_only(recordings: Recordings) -> Lesson:
    calls, noise, notices = noise_and_calls(excerpts(recordings))
    heard, quiet = (sum(map(operator.truediv, map(len, each.arrays), each.rates)) for each in (calls, noise))
    why = f"learning from noisy recordings alone, of which {max(heard - quiet, 0):,.1f} s hold calls"
    return Lesson(speeds(calls, _SPEEDS), noise=noise, notices=[f"{why}; --noise or --clean is better", *notices])


def _paired(noisy: Data, path: str) -> Lesson:
    clean = read(path)
    if type(clean) is not type(noisy):
        what = f"got {_words_for(clean)} for {_words_for(noisy)}"
        raise DataError(what, where=path, how="give the clean twin of each, of the same kind")
    if isinstance(clean, Recordings | Pictures) and isinstance(noisy, Recordings | Pictures):
        clean = _twins(noisy, clean)
    elif _shape(noisy) != _shape(clean):
        raise _unlike(_shape(clean), _shape(noisy), path)
    return Lesson(clean, seen=noisy, for_denoising=True)


def _words_for(data: Data) -> str:
    return {Recordings: "recordings", Pictures: "pictures", np.ndarray: "an array"}.get(type(data), "a table")


def _twins(noisy: Recordings | Pictures, clean: Recordings | Pictures) -> Recordings | Pictures:
    """The clean ones that have the names of the noisy ones, in their order; of one and one, whatever their names."""
    wanted, there = ([str(name) for name in data.table.column("name").to_pylist()] for data in (noisy, clean))
    rows = twins_of(wanted, there, clean.source)
    for row, place in enumerate(rows):
        if _form(noisy, row) != _form(clean, place):
            raise _unlike(_form(clean, place), _form(noisy, row), clean.where(place))
    arrays, table = [clean.arrays[row] for row in rows], clean.table.take(pa.array(rows))
    if isinstance(clean, Recordings):
        return dataclasses.replace(clean, arrays=arrays, rates=[clean.rates[row] for row in rows], table=table)
    return dataclasses.replace(clean, arrays=arrays, table=table)


def _form(data: Recordings | Pictures, row: int) -> str:
    """What must be the same of both, in words."""
    shape = data.arrays[row].shape
    if isinstance(data, Pictures):
        return f"{' x '.join(map(str, shape))} pixels"
    return form_words(shape[0], shape[1], data.rates[row])


def _shape(data: Data) -> str:
    return " x ".join(map(str, data.shape if isinstance(data, np.ndarray) else data.table.shape))


def _unlike(clean: str, noisy: str, where: str) -> DataError:
    what = f"has {clean}, and its noisy twin {noisy}"
    return DataError(what, where=where, how="cut or convert them so that they match number by number")
