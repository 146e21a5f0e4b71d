"""Objects of a store, S3 or Google Cloud Storage: listed, read from any place in them, and put whole.

An address is `s3://BUCKET/KEY` or `gs://BUCKET/KEY`, its key as it is, nothing escaped. Region and endpoint come from
the environment, or stand behind it as pyarrow.fs has them: `?region=eu-west-1&endpoint_override=HOST:PORT&scheme=http`.
Credentials come from the environment alone. Nothing here is imported that asks a store, before a store is asked.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Self, TypeAlias, TypeVar, final

import pyarrow as pa

from hourglass.errors import DataError, StoreError, UsageError

Stamp: TypeAlias = dict[str, int]
"""By what a file is known to be unchanged: `bytes`, and `modified`, in nanoseconds."""
T = TypeVar("T")

_ADDRESS = re.compile(r"(?P<store>(s3|gs)://[^/?]+)(/+(?P<key>.*?))?/*(?P<query>\?\w+=.*)?", re.DOTALL)
_SECRET = re.compile(r"\w+://(?!anonymous@)[^/?]*[:@]|.*[?&]\w*(key|secret|token)\w*=", re.IGNORECASE | re.DOTALL)
_PATIENCE = 20
"""Seconds that a store may take for its first answer: what asks it would try for minutes."""
_PIECE = 1 << 22
"""Bytes that are uploaded at a time."""
_BUFFER = 1 << 16
"""Bytes that are fetched at least: a reader of text asks for a line, and each question takes a journey."""
_UNFINISHED: list[Any] = []
"""Streams into a store that failed: one that is closed, or forgotten, makes an object of what it holds."""
_LOST = re.compile(r"NETWORK_CONNECTION|curlCode|[Cc]ould ?n.t (connect|resolve)|UNAVAILABLE|DEADLINE|imeout|imed out")
_UNKNOWN = re.compile(
    r"INVALID_ACCESS_KEY|SIGNATURE_DOES|_TOKEN|(Expired|Invalid)\w*Token|OAuth2|UNAUTHENT|HTTP status 400\) during Head"
)
_DENIED = re.compile(r"ACCESS_DENIED|AccessDenied|Forbidden|PERMISSION_DENIED|HTTP status 403")
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|NoSuchBucket|Bucket '.*' not found")
_ELSEWHERE = re.compile(r"HTTP status 301|PermanentRedirect|located in|AuthorizationHeaderMalformed")
_MISTAKEN = re.compile(r"query parameter|connection scheme|parse URI|retry_limit")
_REACH = "see whether the network is there, and the endpoint right: AWS_ENDPOINT_URL, or ?endpoint_override=HOST:PORT"
_CREDENTIALS = {
    "s3": "see whether AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, are right and may do this",
    "gs": "see whether GOOGLE_APPLICATION_CREDENTIALS are right and may do this; gs://anonymous@BUCKET uses none",
}


def is_remote(path: str) -> bool:
    """Whether a path is the address of an object, or of some below it."""
    return path.startswith(("s3://", "gs://"))


def bare(path: str) -> str:
    """An address without what stands behind its question mark; a path as it is.

    >>> bare("s3://bucket/logs/a.csv?region=eu-west-1"), bare("a.csv")
    ('s3://bucket/logs/a.csv', 'a.csv')
    """
    return str(_Address.of(path)) if is_remote(path) else path


def resolved(path: str) -> str:
    """A place by its one name, so that two can be compared."""
    return bare(path) if is_remote(path) else os.path.realpath(path)


def absolute(path: str) -> str:
    """A path that means the same in every folder."""
    return path if is_remote(path) else os.path.abspath(path)


def joined(folder: str, name: str) -> str:
    """Where a file below a folder is, its name with / between folders.

    >>> joined("s3://bucket/logs?scheme=http", "sub/a.csv")
    's3://bucket/logs/sub/a.csv?scheme=http'
    """
    if not is_remote(folder):
        return os.path.join(folder, name)
    return at(folder, [*parts_of(folder), *name.split("/")]) if name else folder


def parts_of(address: str) -> list[str]:
    """The folders of an object and its name, below the bucket."""
    key = _Address.of(address).key
    return key.split("/") if key else []


def at(address: str, parts: list[str]) -> str:
    """The address of what has these parts below the bucket of an address."""
    place = _Address.of(address)
    return "/".join([place.store, *parts]) + place.query


def without_secrets(address: str) -> str:
    """Any address without what may be a secret in it.

    >>> without_secrets("https://me:word@host/a.csv?signature=abc")
    'https://host/a.csv'
    """
    return re.sub(r"^(\w+://)[^/]*@", r"\1", address.partition("?")[0])


@dataclass(frozen=True)
class _Address:
    """Where an object is."""

    store: str
    """`s3://BUCKET`."""
    key: str
    query: str

    @classmethod
    def of(cls, text: str) -> Self:
        """The address that a user wrote; `UsageError` where it holds a secret, or is none."""
        if _SECRET.match(text):
            what = "holds a password or key, which lists of processes, logs and results would show"
            how = "leave it out; credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_PROFILE"
            raise UsageError(what, where=f"{text[:5]}...", how=how)
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise UsageError("names no bucket", where=without_secrets(text), how="such as s3://BUCKET/FOLDER")
        return cls(found["store"], found["key"] or "", found["query"] or "")

    def __str__(self) -> str:
        return f"{self.store}/{self.key}" if self.key else self.store

    @property
    def path(self) -> str:
        """What the store's client calls it."""
        return re.sub(r"^\w+://(anonymous@)?", "", str(self))


def stamp_of(address: str) -> Stamp | None:
    """Size and time of change of an object; None where there is none of this name."""
    [found] = _ask(address, lambda system, path: system.get_file_info([path]))
    return _stamp(found) if found.is_file else None


def stamps_below(address: str, deep: bool = True) -> dict[str, Stamp]:
    """Size and time of change of every object below an address, or right below it, by its name from there on."""

    def listed(system: Any, path: str) -> Any:
        from pyarrow import fs

        return system.get_file_info(fs.FileSelector(path, recursive=deep, allow_not_found=True))

    start = len(_Address.of(address).path) + 1
    return {each.path[start:]: _stamp(each) for each in _ask(address, listed) if each.is_file}


def _stamp(found: Any) -> Stamp:
    return {"bytes": found.size, "modified": found.mtime_ns or 0}


def content(address: str) -> bytes:
    """All that an object holds."""
    with reading(address) as handle:
        return handle.read()


def remove(address: str) -> None:
    """Take an object away, if it is there."""

    def delete(system: Any, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            system.delete_file(path)

    _ask(address, delete)


@contextlib.contextmanager
def reading(address: str) -> Iterator[BinaryIO]:
    """An object, open for reading; only what is read of it is fetched."""
    file = _ask(address, lambda system, path: system.open_input_file(path))
    with io.BufferedReader(_Object(address, file), _BUFFER) as handle:
        yield handle


@contextlib.contextmanager
def replacing(address: str) -> Iterator[BinaryIO]:
    """A file to write to, which becomes the object at an address when the block ends well: whole, or not at all.

    It lies on this machine until then, since a stream into the store has no way to be given up.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="hourglass-") as folder:
            place = os.path.join(folder, "object")
            with open(place, "xb") as handle:
                yield handle
            # in a thread of its own, which no interrupt reaches
            _apart(functools.partial(_ask, address, functools.partial(_put, place)))
    except OSError as error:
        how = f"see whether the disk has room for it: df {tempfile.gettempdir()}; TMPDIR names another"
        raise DataError(f"cannot be written: {error.strerror or error}", where=bare(address), how=how) from error


def _put(place: str, system: Any, path: str) -> None:
    with open(place, "rb") as file:
        stream = system.open_output_stream(path)
        _UNFINISHED.append(stream)
        while piece := file.read(_PIECE):
            stream.write(piece)
        stream.close()
        _UNFINISHED.remove(stream)


@final
class _Object(io.RawIOBase):
    """An object as a file; what goes wrong on the way is an error of ours, and never taken for damage."""

    def __init__(self, address: str, file: Any) -> None:
        self._address, self._file = address, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, room: Any) -> int:
        with _told(self._address):
            return int(self._file.readinto(room))

    def readall(self) -> bytes:
        with _told(self._address):  # the base class would ask for eight kilobytes at a time
            return bytes(self._file.read())

    def close(self) -> None:
        self._file.close()
        super().close()


def _ask(address: str, question: Callable[[Any, str], T]) -> T:
    """What the client of a store answers to a question about a path."""
    place = _Address.of(address)
    with _told(address):
        return question(_system(place.store, place.query), place.path)


@functools.lru_cache
def _system(store: str, query: str) -> Any:
    """The client of a store, once it has answered; `StoreError` where it does not, or has no such bucket."""
    if store.startswith("gs:") and "retry_limit_seconds=" not in query:
        query += f"{'&' if query else '?'}retry_limit_seconds={max(_PATIENCE // 2, 1)}"
    try:
        system, known = _apart(functools.partial(_meet, store, query), _PATIENCE)
    except TimeoutError as error:
        raise StoreError(f"has not answered for {_PATIENCE} seconds", where=store, how=_REACH) from error
    if not known:
        raise _no_bucket(store)
    return system


def _meet(store: str, query: str) -> tuple[Any, bool]:
    """The client of a store, and whether there is that bucket, as far as one may know."""
    from pyarrow import fs

    system, bucket = fs.FileSystem.from_uri(store + query)
    try:
        return system, system.get_file_info([bucket])[0].type != fs.FileType.NotFound
    except OSError as fault:
        if _DENIED.search(str(fault)):  # whoever may read objects need not be allowed to ask for the bucket
            return system, True
        raise


def _apart(work: Callable[[], T], seconds: float | None = None) -> T:
    """What a call gives, in a thread of its own; `TimeoutError` where that takes longer."""
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except BaseException as fault:
            answer.set_exception(fault)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(seconds)


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """Faults of a store's client as errors that say what, where and how."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as fault:
        if isinstance(fault, (DataError, UsageError)):
            raise
        raise _error(str(fault), address, isinstance(fault, FileNotFoundError)) from fault


def _error(words: str, address: str, absent: bool) -> DataError | StoreError | UsageError:
    """What concerns one object is an error of the data, what concerns all of them one of the store."""
    place = _Address.of(address)
    short = re.split(r" operation: | last message of ", words.strip().partition("\n")[0])[-1].partition(". ")[0]
    access = _CREDENTIALS[place.store[:2]]
    if _MISTAKEN.search(words):
        how = "what may stand behind the question mark: region, endpoint_override, scheme"
        return UsageError(short, where=place.store, how=how)
    if _UNKNOWN.search(words):
        return StoreError(f"does not accept the credentials: {short}", where=place.store, how=access)
    if _LOST.search(words):
        return StoreError(f"cannot be reached: {short}", where=place.store, how=_REACH)
    if _NO_BUCKET.search(words):
        return _no_bucket(place.store)
    if absent:
        return DataError("there is no such object", where=str(place), how="list what is there, and mind the case")
    if _DENIED.search(words):
        return DataError("access is denied", where=str(place), how=access)
    if _ELSEWHERE.search(words):
        return StoreError(f"is in another region: {short}", where=place.store, how="name it: ?region=eu-west-1")
    return DataError(f"cannot be used: {short}", where=str(place), how=_REACH)


def _no_bucket(store: str) -> StoreError:
    how = "see how it is called, and whether the endpoint and the credentials are those of its owner"
    return StoreError("there is no such bucket", where=store, how=how)


def suffix_of(path: str) -> str:
    """The suffix of a file's name, in small letters."""
    key = _Address.of(path).key if is_remote(path) else path
    return PurePosixPath(key).suffix.lower()
