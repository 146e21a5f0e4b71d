"""The verbs on data that are read, from what was asked to an answer; small requests together where that is safe."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from hourglass.core.fitted import Detection, FittedModel
from hourglass.data.filling import filled
from hourglass.data.formats import Data, Result
from hourglass.data.formats import Rows as ScoredRows
from hourglass.data.samples import Packed, Pictures, Recordings, unique_notices
from hourglass.data.tables import TableFormat
from hourglass.errors import HourglassError, SchemaError, UsageError
from hourglass.interfaces import options
from hourglass.interfaces.denoising import untrained
from hourglass.interfaces.generating import make
from hourglass.interfaces.operations import find, read_notices
from hourglass.interfaces.outputs import in_order_of, read_codes
from hourglass.interfaces.results import Findings
from hourglass.interfaces.sample_tables import clusters_of, codes_table, predictions_table
from hourglass.interfaces.service.bodies import Sent
from hourglass.interfaces.service.models import Served
from hourglass.interfaces.service.rows import Known, Rows
from hourglass.settings import Settings, did_you_mean

_MOST_MADE = 4_000_000
"""Numbers in the samples that one request may have made."""
MOST_JOINED = 64
"""Rows scored as one batch: what a network is given at least, and too few for anything said of rows as a whole."""


@dataclass(frozen=True)
class Answer:
    """What a verb made."""

    values: Findings | Result | str
    """Text is a page of HTML."""
    notices: Sequence[str] = ()
    rows: int = 0
    across: int = 0
    """How many pictures stand beside one another where they are drawn as one."""


@dataclass(frozen=True)
class Verb:
    """What can be asked of a model, and how."""

    request: type[Settings]
    made: Callable[[FittedModel, Data | None, Any], Answer]
    options: tuple[str, ...] = ()
    alone: bool = False
    """Whether it can do without data."""
    page: bool = False
    """Whether it answers with a page of HTML."""


@dataclass(eq=False)
class Ask:
    """One request: a model, a verb, options, data."""

    served: Served
    verb: str
    request: Any
    sent: Sent | None
    form: str
    """The kind of content that the answer shall have, or "" for any."""

    @property
    def key(self) -> tuple[Any, ...] | None:
        """What small requests have in common that may be scored as one batch; None for those that may not."""
        small = self.sent is not None and self.sent.folder is None and len(self.sent.content) < 1 << 16
        if self.verb != "detect" or not small or not isinstance(self.served.model.format, TableFormat):
            return None
        if self.request.false_discovery_rate is not None:  # which looks at all rows of a request together
            return None
        return (self.served.name, self.served.version, self.request)


def asked(verb: str, given: dict[str, str]) -> Any:
    """The options of a verb, checked as the command line checks them."""
    known = VERBS[verb]
    for name in given:
        if name not in known.options:
            raise UsageError(f"{verb} has no option {name[:64]!a}", where="query", how=_known(name, known.options))
    needed = {f.name: "" for f in dataclasses.fields(known.request) if f.default is dataclasses.MISSING}
    return checked(known.request, {**needed, **given})


def checked(kind: type[Any], given: dict[str, Any]) -> Any:
    """Options of a verb made from what a client gave; errors name the option alone."""
    try:
        return kind(**given)
    except UsageError as error:
        raise UsageError(error.what, where=error.where.rpartition(".")[2], how=error.how) from None


def _known(name: str, known: tuple[str, ...]) -> str:
    return did_you_mean(name[:64], known) if known else "it has none"


def answer_all(asks: Sequence[Ask], render: Callable[[Answer, Ask], Any]) -> list[Any]:
    """An outcome, or an exception, for each of some requests, which have the same key where they are several."""
    read = [_attempted(_data, ask) for ask in asks]
    together = _together(asks, read) if len(asks) > 1 else None
    answers = together or [_attempted(_answered, ask, each) for ask, each in zip(asks, read, strict=True)]
    return [_attempted(render, each, ask) for ask, each in zip(asks, answers, strict=True)]


def _attempted(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function makes of the arguments, or the exception that it raised, or one that is among them already."""
    known = next((each for each in arguments if isinstance(each, Exception)), None)
    try:
        return function(*arguments) if known is None else known
    except Exception as error:
        return error


def _data(ask: Ask) -> Rows | Data | None:
    if ask.sent is None:
        return None
    return ask.sent.rows(Known() if ask.verb == "decode" else ask.served.known)


def _answered(ask: Ask, data: Rows | Data | None) -> Answer:
    return VERBS[ask.verb].made(ask.served.model, data.data() if isinstance(data, Rows) else data, ask.request)


def _together(asks: Sequence[Ask], read: Sequence[Any]) -> list[Answer] | None:
    """The answers to requests scored as one batch; None where one of them would be answered otherwise alone."""
    if any(not isinstance(each, Rows) or each.columns.keys() != read[0].columns.keys() for each in read):
        return None
    if sum(each.count for each in read) > MOST_JOINED:
        return None
    joined = Rows.joined(read)
    if any(len({type(cell) for cell in cells if cell is not None}) > 1 for cells in joined.columns.values()):
        return None
    try:
        found = find(asks[0].served.model, joined.data(), asks[0].request)
    except HourglassError:  # somebody's row is to blame, and nobody else's answer
        return None
    if found.detection.packed is None or found.detection.packed.notices:
        return None
    ends = list(itertools.accumulate((each.count for each in read), initial=0))
    parts = (_part(found, start, stop) for start, stop in itertools.pairwise(ends))
    return [Answer(part, part.notices, len(part.detection.p_value)) for part in parts]


def _part(found: Findings, start: int, stop: int) -> Findings:
    """What was found in the rows from `start` to before `stop`, as rows of their own."""
    whole, rows = found.detection, found.detection.rows
    own = ScoredRows(rows.index[: stop - start], rows.score[start:stop], rows.covered[start:stop])
    reasons = {row - start: why for row, why in whole.reasons.items() if start <= row < stop}
    flags, p_values = whole.is_anomaly[start:stop], whole.p_value[start:stop]
    return Findings(found.model, Detection(own, p_values, flags, whole.threshold, reasons), found.rate)


def _detect(model: FittedModel, data: Data | None, request: options.Detect) -> Answer:
    options.check_rates(request)
    data = _given(data)
    found = find(model, data, request)
    notices = unique_notices([*read_notices(data), *found.notices])
    return Answer(found, notices, len(found.detection.is_anomaly))


def _encode(model: FittedModel, data: Data | None, request: options.Encode) -> Answer:
    data = _given(data)
    packed = model.format.pack(data)
    codes = model.encode_samples(packed.samples)
    found = clusters_of(codes, request.clusters)
    return Answer(codes_table(model, packed, codes, found), _notices(data, packed), len(codes))


def _decode(model: FittedModel, data: Data | None, request: options.Decode) -> Answer:
    codes = _given(data)
    numbers = codes if isinstance(codes, np.ndarray) else read_codes(codes, model.latent_size)
    return Answer(model.decode(numbers), read_notices(codes), len(numbers))


def _reconstruct(model: FittedModel, data: Data | None, request: options.Reconstruct) -> Answer:
    data = _given(data)
    packed = model.format.pack(data)
    values = model.reconstruct_packed(packed)
    values = filled(data, values) if request.fill_missing else values
    return Answer(in_order_of(values, data), _notices(data, packed), _count(data))


def _denoise(model: FittedModel, data: Data | None, request: options.Denoise) -> Answer:
    data = _given(data)
    if isinstance(data, Recordings) != (model.experiment.modality == "audio"):
        got = "recordings" if isinstance(data, Recordings) else "no recordings"
        what = f"got {got}, and the model is for the modality {model.experiment.modality}"
        raise SchemaError(what, where="body", how="send the data to a model that was fitted to their like")
    packed = model.format.pack(data)
    values = in_order_of(model.reconstruct_packed(packed), data)
    return Answer(values, [*_notices(data, packed), *untrained(model)], _count(data))


def _generate(model: FittedModel, data: Data | None, request: options.Generate) -> Answer:
    ways = 0 if data is None else max(_count(data) - 1, 1) * (request.steps or 1)
    wanted = max(request.number or 1, (request.plane or 0) ** 2, ways)
    if wanted * model.format.layout.size > _MOST_MADE:
        most = _MOST_MADE // model.format.layout.size
        raise UsageError(f"got {wanted:,} samples to make, wanted at most {most:,}", where="generate", how="ask again")
    made = make(request, model, data)
    return Answer(made.values, model.format.notices, len(_rows_of(made.values)), made.across)


def _predict(model: FittedModel, data: Data | None, request: options.Convert) -> Answer:
    data = _given(data)
    packed = model.format.pack(data)
    table, _ = predictions_table(model, packed)
    return Answer(table, _notices(data, packed), table.num_rows)


def _given(data: Data | None) -> Data:
    if data is None:
        raise UsageError("got no data", where="body", how="send rows or a file, or name an upload with ?upload=ID")
    return data


def _notices(data: Data, packed: Packed) -> list[str]:
    return unique_notices([*read_notices(data), *packed.notices])


def _count(data: Data) -> int:
    return len(_rows_of(data if isinstance(data, np.ndarray | Pictures | Recordings) else data.table))


def _rows_of(values: Result) -> Any:
    return values.arrays if isinstance(values, Pictures | Recordings) else values


def _compare(model: FittedModel, data: Data | None, request: options.Convert) -> Answer:
    """What PCA and an isolation forest make of the same data; the verdict is a notice."""
    from hourglass.interfaces.report import subject_of
    from hourglass.interfaces.rivals import rivals

    data = _given(data)
    verdict, table = rivals(subject_of(model, data, model.detect(data, reasons="none")))
    columns = dict(zip(table.header, map(list, zip(*table.rows, strict=True)), strict=True))
    return Answer(pa.table(columns), [verdict.words], _count(data))


def _report(model: FittedModel, data: Data | None, request: options.Convert) -> Answer:
    """The report that `detect --report` writes, as one page."""
    from hourglass.interfaces.page import render
    from hourglass.interfaces.report import build_section, subject_of

    data = _given(data)
    title = "the data" if isinstance(data, np.ndarray) else data.source
    return Answer(render(title, [build_section(title, subject_of(model, data, model.detect(data)))]), rows=_count(data))


_JUDGING = ("false_alarm_rate", "threshold", "reasons", "false_discovery_rate")
VERBS = {
    "detect": Verb(options.Detect, _detect, _JUDGING),
    "encode": Verb(options.Encode, _encode, ("clusters",)),
    "decode": Verb(options.Decode, _decode),
    "reconstruct": Verb(options.Reconstruct, _reconstruct, ("fill_missing",)),
    "denoise": Verb(options.Denoise, _denoise),
    "generate": Verb(options.Generate, _generate, ("number", "seed", "plane", "steps"), alone=True),
    "predict": Verb(options.Convert, _predict),
    "compare": Verb(options.Convert, _compare),
    "report": Verb(options.Convert, _report, page=True),
}
