"""What a client sends: rows in memory, or files, which become private files of ours under names of ours."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from starlette.datastructures import UploadFile
from starlette.requests import Request

from hourglass.data.files import SUFFIXES, read
from hourglass.data.formats import Data
from hourglass.data.pictures import PICTURES
from hourglass.data.samples import Frame, Pictures, Recordings
from hourglass.data.sound import SOUNDS
from hourglass.errors import DataError, HourglassError, UsageError
from hourglass.interfaces.labels import only
from hourglass.interfaces.service.faults import Refusal, retold
from hourglass.interfaces.service.rows import Known, Rows, rows_of

JSON, FORM = "application/json", "multipart/form-data"
SENT = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/vnd.apache.parquet": ".parquet",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/wave": ".wav",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/tiff": ".tif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
}
"""Kinds of content, and the suffix that the reader knows them by."""
_MOST_JSON, _MOST_FILES, _MOST_FIELDS = 16 << 20, 1_000, 10
FORM_RULES = f"send a whole form of at most {_MOST_FILES:,} files and {_MOST_FIELDS} other fields"
"""How to mend a form that cannot be read."""
_SECONDS = 60
"""In which a body must arrive."""
_LISTED = (*PICTURES, *SOUNDS)


@dataclass
class Sent:
    """Data as a client sent them."""

    content: bytes = b""
    """Rows as JSON, where they are that."""
    folder: Path | None = None
    """Where the files are."""
    files: list[tuple[str, str]] = field(default_factory=list)
    """Each file's name of ours and the client's."""
    kept: bool = False
    """Whether the files outlive the request."""
    fields: dict[str, str] = field(default_factory=dict)
    """The other parts of a form."""
    stretch: slice | None = None
    """The rows, pictures or recordings that are wanted of it; None for all."""

    @property
    def size(self) -> int:
        """Bytes."""
        if self.folder is None:
            return len(self.content)
        return sum((self.folder / ours).stat().st_size for ours, _ in self.files)

    @property
    def path(self) -> Path:
        """The file, or the folder of several."""
        folder = self.folder or Path()
        return folder / self.files[0][0] if len(self.files) == 1 else folder

    def rows(self, known: Known) -> Rows | Data:
        """What was sent, read; `known` is what the model says of rows."""
        return rows_of(self.content, known) if self.folder is None else self.read()

    def read(self) -> Data:
        """What the files hold, by the client's names. Errors name those too, and no path of ours."""
        try:
            data = read(self.path)
        except HourglassError as error:
            raise retold(error, self.places()) from None
        named = _renamed(data, [name for _, name in self.files], self.title)
        return named if self.stretch is None else _stretch(named, self.stretch)

    @property
    def title(self) -> str:
        """What it is called where an error names it."""
        return self.files[0][1] if len(self.files) == 1 else f"{len(self.files)} files"

    def places(self) -> dict[str, str]:
        """Paths of ours, longest first, and what the client calls them."""
        folder = str(self.folder)
        ours = {os.path.join(folder, ours): name for ours, name in self.files}
        return {**ours, folder: self.title, **dict(self.files)}

    def discard(self) -> None:
        """Remove what was only for this request."""
        if self.folder is not None and not self.kept:
            shutil.rmtree(self.folder, ignore_errors=True)


async def received(request: Request, folder: Path) -> Sent:
    """The body of a request, its files in `folder`, which is made where there are some and nothing went wrong."""
    kind = media_type(request)
    try:
        with _timed():
            async with asyncio.timeout(_SECONDS):
                if kind == JSON:
                    return Sent(await _content(request))
                if kind == FORM:
                    return await _form(request, folder)
                if kind in SENT:
                    return await _file(request, folder, SENT[kind])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    how = f"known: {JSON}, {FORM}, {', '.join(SENT)}"
    what = f"got the kind of content {kind[:64]!a}" if kind else "got no kind of content"
    raise Refusal(what, where="Content-Type", how=how, status=415)


def media_type(request: Request) -> str:
    """The kind of content, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@contextlib.contextmanager
def _timed() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        how = "send less, or over a faster line"
        raise Refusal(f"the body took more than {_SECONDS} s", where="body", how=how, status=408) from None


async def _content(request: Request) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_JSON:
            how = "send CSV or Parquet, which take less room"
            raise Refusal(f"the rows are larger than {_MOST_JSON:,} bytes", where="body", how=how, status=413)
    return b"".join(pieces)


async def _file(request: Request, folder: Path, suffix: str) -> Sent:
    sent = Sent(folder=_made(folder), files=[(f"00000{suffix}", f"upload{suffix}")])
    with open(sent.path, "xb") as file:
        async for piece in request.stream():
            file.write(piece)
    return sent


async def _form(request: Request, folder: Path) -> Sent:
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS) as form:
        parts = [part for part in form.getlist("file") if isinstance(part, UploadFile)]
        suffixes = [_suffix(part.filename or "", len(parts) > 1) for part in parts]
        sent = Sent(fields={name: value for name, value in form.items() if isinstance(value, str)})
        if parts:
            sent.folder = _made(folder)
        for place, (part, suffix) in enumerate(zip(parts, suffixes, strict=True)):
            sent.files.append((f"{place:05d}{suffix}", _base(part.filename or f"upload{suffix}")))
            with open(folder / sent.files[-1][0], "xb") as file:
                shutil.copyfileobj(part.file, file)
    return sent


def _suffix(name: str, several: bool) -> str:
    """The suffix by which the reader knows a file of that name."""
    known = [suffix for suffix in (_LISTED if several else SUFFIXES) if name.lower().endswith(suffix)]
    if known:
        return max(known, key=len)
    what = f"the file {_base(name)[:64]!a} is none that is known" + (" for several files" * several)
    how = f"known: {', '.join(_LISTED if several else SUFFIXES)}"
    raise Refusal(what, where="file", how=how, status=415)


def _base(name: str) -> str:
    """A client's name for a file, to be shown: the last part of it, no control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter if letter.isprintable() else "_" for letter in last)[:200] or "upload"


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def _renamed(data: Data, names: Sequence[str], title: str) -> Data:
    """The data under the client's names."""
    if isinstance(data, Frame):
        return dataclasses.replace(data, source=title)
    if isinstance(data, Pictures | Recordings):
        return dataclasses.replace(data, source=title, table=_named(data.table, names))
    return data


def _stretch(data: Data, wanted: slice) -> Data:
    """Some rows of the data."""
    if isinstance(data, np.ndarray):
        return _some(data[wanted])
    mask = np.zeros(len(data.table), dtype=bool)
    mask[wanted] = True
    _some(mask[wanted])
    return only(data, mask, f"from {wanted.start}")


def _some(rows: np.ndarray) -> np.ndarray:
    if not len(rows):
        raise DataError("there are no such rows", where="start", how="count from 0")
    return rows


def _named(table: pa.Table, names: Sequence[str]) -> pa.Table:
    if table.num_rows != len(names) or "name" not in table.column_names:
        return table  # one file may hold several pictures
    place = table.column_names.index("name")
    return table.set_column(place, "name", pa.array(list(names), pa.string()))


def stretch(given: dict[str, str]) -> slice | None:
    """The rows that `start` and `number` of a query ask for, taken out of it; None without a start."""
    if "start" not in given:
        return None
    start, number = given.pop("start"), given.pop("number", "1")
    if not all(text.isascii() and text.isdigit() and len(text) < 12 for text in (start, number)):
        what = f"got {start[:20]!a} and {number[:20]!a}"
        raise UsageError(what, where="start, number", how="give whole numbers, counted from 0")
    return slice(int(start), int(start) + int(number))
