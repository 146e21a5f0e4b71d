"""How each bad input is given to the command line, and what a refusal, or a notice, must say."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from commands import Command, Done

QUICK = ("--kind", "plain", "--epochs", "2", "--false-alarm-rate", "0.1")
"""Options of fits that are over at once."""

Content = bytes | str | Callable[[Path], object]
"""What lies at the place of a file: its bytes, its text, or what puts it there."""


@dataclass(frozen=True)
class Case:
    """One thing that somebody gives to Hourglass, and words that must be in the answer."""

    name: str
    content: Content
    says: tuple[str, ...] = ()
    file: str = "data.csv"
    verbs: tuple[str, ...] = ("fit", "detect with a model")

    def put(self, folder: Path) -> Path:
        path = folder / self.file
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content.encode() if isinstance(self.content, str) else self.content)
        return path


def pairs(cases: Sequence[Case]) -> dict[str, tuple[Case, str]]:
    """Each case with one of its verbs, which take turns, by name."""
    chosen = [(case, case.verbs[place % len(case.verbs)]) for place, case in enumerate(cases)]
    return {f"{case.name}, {verb}": (case, verb) for case, verb in chosen}


WORDS: dict[str, tuple[str, ...]] = {
    "fit": ("fit", "DATA", "-o", "OUT/new", *QUICK),
    "fit as sound": ("fit", "DATA", "-o", "OUT/new", "--modality", "audio", *QUICK),
    "fit as series": ("fit", "DATA", "-o", "OUT/new", "--modality", "series", *QUICK),
    "tune": ("tune", "DATA", "-o", "OUT/new", "--trials", "1", "--epochs", "1"),
    "detect": ("detect", "DATA", "-o", "OUT/scores.jsonl", *QUICK),
    "detect with a model": ("detect", "MODEL", "DATA", "-o", "OUT/scores.jsonl"),
    "encode": ("encode", "MODEL", "DATA", "-o", "OUT/codes.csv"),
    "map": ("encode", "MODEL", "DATA", "--plot", "OUT/map.html"),
    "decode": ("decode", "MODEL", "DATA", "-o", "OUT/values.csv"),
    "reconstruct": ("reconstruct", "MODEL", "DATA", "-o", "OUT/values.csv"),
    "denoise": ("denoise", "MODEL", "DATA", "-o", "OUT/values.csv"),
    "predict": ("predict", "MODEL", "DATA", "-o", "OUT/labels.csv"),
    "evaluate": ("evaluate", "MODEL", "DATA", "--label", "odd"),
    "finetune": ("finetune", "MODEL", "DATA", "--label", "odd", "-o", "OUT/new"),
    "probe": ("probe", "MODEL", "DATA", "--label", "odd"),
    "compress": ("compress", "DATA", "MODEL", "-o", "OUT/data.hgz"),
    "decompress": ("decompress", "DATA", "MODEL", "-o", "OUT/values.csv"),
    "prior": ("generate", "MODEL", "--prior", "normal", "--data", "DATA", "-o", "OUT/new.csv"),
    "interpolate": ("generate", "MODEL", "--interpolate", "DATA", "-o", "OUT/new.csv"),
    "inspect": ("inspect", "DATA"),
    "as a model": ("detect", "DATA", "OTHER", "-o", "OUT/scores.jsonl"),
}
"""The words of each verb; DATA is the bad input."""
OTHERS = ("fit as sound", "fit as series", "decompress", "inspect", "as a model")
READERS = tuple(verb for verb in WORDS if verb not in OTHERS)
"""Verbs that read a table."""


def given(
    hourglass: Command, verb: str, data: object, out: Path, model: Path | None = None, options: Sequence[object] = ()
) -> Done:
    """How a verb ends that is given some data."""
    places = {"DATA": str(data), "MODEL": str(model), "OTHER": __file__}
    words = [places.get(word, word.replace("OUT", str(out))) for word in WORDS[verb]]
    return hourglass(*words, *options)


def check_refused(done: Done, says: Sequence[str], out: Path, code: int = 3) -> None:
    """One block on stderr with what was got, where, and how to mend it; nothing else was done."""
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.count("error: ") == 1
    block = done.err[done.err.index("error: ") :]
    for words in (*says, "\nhint: "):
        assert words in block, block
    assert "Traceback" not in done.err
    assert "fault of Hourglass" not in done.err
    assert list(out.iterdir()) == []


def check_scored(done: Done, says: Sequence[str], out: Path, rows: int | None = None) -> np.ndarray:
    """Every row has a finite score, and what was odd was said; returns the scores."""
    assert done.code == 0, done.err
    for words in says:
        assert words in done.err, done.err
    lines = [json.loads(line) for line in (out / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = np.array([line["anomaly_score"] for line in lines], dtype=np.float64)
    assert np.isfinite(scores).all()
    assert rows is None or len(scores) == rows
    return scores


def rows_of(*cells: str, count: int = 120) -> str:
    """So many rows of a table as text: in each cell, `{i}` is the row and `{x:.3f}`, `{y:.3f}` what goes with it."""
    random = np.random.default_rng(0)
    x = random.normal(size=count)
    y = 2 * x + 0.1 * random.normal(size=count)
    return "".join(",".join(cells).format(i=i, x=x[i], y=y[i]) + "\n" for i in range(count))


def plain_table(count: int = 120) -> str:
    """A table that nothing is wrong with."""
    return "a,b\n" + rows_of("{x:.3f}", "{y:.3f}", count=count)


def zipped(content: str | bytes) -> bytes:
    """The content of a `.gz` file."""
    return gzip.compress(content.encode() if isinstance(content, str) else content, mtime=0)


def files_below(folder: Path) -> set[str]:
    """Every file and link in a folder and those below it."""
    return {os.path.relpath(os.path.join(here, name), folder) for here, _, names in os.walk(folder) for name in names}
