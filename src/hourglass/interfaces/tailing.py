"""Lines of data from stdin to stdout, judged as they come: `tail -f data.csv | hourglass detect MODEL -`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, cast

import numpy as np

from hourglass.core.checkpoints import load_model
from hourglass.core.fitted import Reason
from hourglass.core.watching import Verdicts, Watch
from hourglass.data.formulas import neutralised_word
from hourglass.data.lines import SOURCE, Block, Line, LineReader, Wanted
from hourglass.errors import DataError, UnreadableError, UsageError
from hourglass.interfaces.console import Console, complain
from hourglass.interfaces.operations import model_path
from hourglass.interfaces.options import Detect
from hourglass.interfaces.results import MOST_REASONS, with_share
from hourglass.interfaces.words import counted

_READ, _LONGEST_LINE, _TOGETHER = 1 << 20, 1 << 20, 4_096
_ONLY_FOR_FILES = ("report", "save", "map", "false_discovery_rate")


@dataclass
class Tail:
    """What was done until stdin ended, or until it was interrupted."""

    rows: int = 0
    anomalies: int = 0
    broken: int = 0
    interrupted: bool = False

    def summary(self) -> str:
        """It in one sentence."""
        found = f"{self.anomalies:,} {'anomaly' if self.anomalies == 1 else 'anomalies'} in {counted(self.rows, 'row')}"
        left_out = f"; {counted(self.broken, 'broken line')} left out" if self.broken else ""
        return f"{'interrupted after' if self.interrupted else 'found'} {found}{left_out}"


def detect_pipe(request: Detect, console: Console) -> Tail:
    """Judge each line of stdin as it comes; write a line for each to stdout at once.

    The first line names the columns. A broken line is told on stderr and left out; in a series without times it counts
    as a missing step.
    """
    _check(request)
    model = load_model(model_path(str(request.model)), request.device or "auto")
    wanted = Wanted.by(model.format)
    watch = Watch(model, request.false_alarm_rate, request.threshold, request.adapt, request.anomaly_likelihood)
    for notice in watch.notices:
        console.note(notice)
    teller = _Teller(watch, wanted.time is not None, request.json, request.reasons)
    tail = Tail()
    try:
        _follow(tail, watch, wanted, teller)
    except KeyboardInterrupt:
        tail.interrupted = True
    return tail


def _check(request: Detect) -> None:
    if not request.model:
        raise UsageError("a pipe needs a fitted model", where="detect", how="hourglass detect MODEL -")
    named = [f"--{name.replace('_', '-')}" for name in _ONLY_FOR_FILES if getattr(request, name) is not None]
    if named or request.output not in (None, "-"):
        what = "what comes from stdin is judged line by line, and goes to stdout"
        raise UsageError(what, where="detect -", how=f"leave {', '.join(named) or '--output'} out")


def _follow(tail: Tail, watch: Watch, wanted: Wanted, teller: _Teller) -> None:
    reader: LineReader | None = None
    for lines in _lines():
        if reader is None:
            reader, headed = LineReader.of(lines[0], wanted)
            lines = lines[1:] if headed else lines
        blank = reader.width > 1  # a blank line of a single column is a missing cell
        rows = [line for line in lines if line[1].strip() or not blank]
        for start in range(0, len(rows), _TOGETHER):
            _judge(tail, rows[start : start + _TOGETHER], watch, reader, teller)
    if reader is None:
        how = "send the line of names, then a line for each row"
        raise UnreadableError("got no line, wanted the names of the columns first", where=SOURCE, how=how)


def _lines() -> Iterator[list[Line]]:
    """Whole lines, as many as are there without waiting for more; the last one may lack its end."""
    stdin = cast(BufferedReader, sys.stdin.buffer)
    kept, number = b"", 0
    while arrived := stdin.read1(_READ):
        *whole, kept = (kept + arrived).split(b"\n")
        if len(kept) > _LONGEST_LINE:
            what = f"the line is longer than {_LONGEST_LINE:,} bytes"
            where = f"{SOURCE}, line {number + len(whole) + 1}"
            raise UnreadableError(what, where=where, how="end each row with a line break")
        if whole:
            yield [(number + place, line.rstrip(b"\r")) for place, line in enumerate(whole, 1)]
        number += len(whole)
    if kept:
        yield [(number + 1, kept.rstrip(b"\r"))]


def _judge(tail: Tail, lines: list[Line], watch: Watch, reader: LineReader, teller: _Teller) -> None:
    """Judge some lines at once; one by one where something is wrong with them."""
    if not lines:
        return
    block = reader.read(lines, keep_broken=watch.counts_steps)
    try:
        seen = None if block.frame is None else watch.see(block.frame)
    except DataError as error:
        if len(lines) > 1:
            for line in lines:
                _judge(tail, [line], watch, reader, teller)
            return
        block, seen = Block(broken={lines[0][0]: error}), None
    for fault in block.broken.values():
        complain(fault)
    rows = {line[0]: row for row, line in enumerate(lines, tail.rows + tail.broken)}
    # counted before it is told: whoever has read it may interrupt at once
    tail.broken += len(block.broken)
    tail.rows += len(lines) - len(block.broken)
    if seen is not None:
        tail.anomalies += int(seen.is_anomaly.sum())
        teller.tell(block, seen, rows)


class _Teller:
    """Writes verdicts to stdout, a line for each row that was read."""

    def __init__(self, watch: Watch, timed: bool, as_json: bool, reasons: str) -> None:
        self.watch, self.timed, self.as_json, self.reasons = watch, timed, as_json, reasons
        if not as_json:
            print(f"{'time' if timed else 'row'},anomaly_score,p_value,is_anomaly,reasons", flush=True)

    def tell(self, block: Block, seen: Verdicts, rows: dict[int, int]) -> None:
        """The verdicts on a block, `rows` the row that each line is; flushed, since somebody waits for them."""
        verdict = {row: place for place, row in enumerate(seen.rows.tolist())}
        chosen = {"flagged": np.flatnonzero(seen.is_anomaly), "all": np.arange(len(seen.rows)), "none": seen.rows[:0]}
        asked = chosen[self.reasons]
        reasons = dict(zip(asked.tolist(), self.watch.explain(seen, asked), strict=True))
        text = io.StringIO()
        for place, line in enumerate(block.lines):
            if line in block.broken:
                continue
            known = verdict.get(place)
            facts = {"row": rows[line], **({"time": block.times[place]} if self.timed else {}), **_facts(seen, known)}
            self._write(text, facts, reasons.get(known, []) if known is not None else [])
        sys.stdout.write(text.getvalue())
        sys.stdout.flush()

    def _write(self, text: io.StringIO, facts: dict[str, Any], reasons: list[Reason]) -> None:
        if self.as_json:
            facts["reasons"] = [dict(vars(reason)) for reason in reasons]
            text.write(json.dumps(facts, ensure_ascii=False, allow_nan=False) + "\n")
            return
        if self.timed:
            del facts["row"]
        facts["is_anomaly"] = str(facts["is_anomaly"]).lower()
        words = neutralised_word("; ".join(map(with_share, reasons[:MOST_REASONS])))
        csv.writer(text, lineterminator="\n").writerow([*facts.values(), words])


def _facts(seen: Verdicts, place: int | None) -> dict[str, Any]:
    if place is None:
        return {"anomaly_score": None, "p_value": None, "is_anomaly": False}
    return {
        "anomaly_score": float(seen.score[place]),
        "p_value": float(seen.p_value[place]),
        "is_anomaly": bool(seen.is_anomaly[place]),
    }
