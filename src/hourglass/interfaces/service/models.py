"""The models that are served: read once, swapped in whole when their file is replaced."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hourglass.core.checkpoints import model_from_bytes
from hourglass.core.fitted import FittedModel
from hourglass.errors import ModelFileError, UsageError
from hourglass.interfaces.describing import describe
from hourglass.interfaces.operations import model_path
from hourglass.interfaces.service.faults import Refusal
from hourglass.interfaces.service.rows import Known, known
from hourglass.settings import did_you_mean

logger = logging.getLogger("hourglass.service")

Signature = tuple[int, int, int]
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_MENDED = "put a whole model file there; until then the version before it is served"
FILE, FIT = "file", "fit"


@dataclass(frozen=True)
class Served:
    """One version of one model: what a request holds on to while it is answered."""

    name: str
    path: Path
    origin: str
    """`file`, named at the start, or `fit`, fitted here."""
    version: str
    model: FittedModel
    signature: Signature
    about: dict[str, Any]
    """What `inspect` says."""
    known: Known
    problem: str = ""
    """Why a newer file is not served."""

    def summary(self) -> dict[str, Any]:
        """What a list of models says of it."""
        facts = {name: self.about[name] for name in ("modality", "kind", "columns", "latent", "label")}
        return {"name": self.name, "version": self.version, "origin": self.origin, **facts, "problem": self.problem}


class Models:
    """Models by name. Reading a file may take long, and happens in a thread; what it ends in is one assignment."""

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}

    def __iter__(self) -> Iterator[Served]:
        return iter(list(self._served.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._served

    def __getitem__(self, name: str) -> Served:
        """The model of that name as it is now; `Refusal` where there is none."""
        if name not in self._served:
            how = did_you_mean(name[:64], self._served) if self._served else "fit one: POST /v1/fits"
            raise Refusal(f"there is no model called {name[:64]!a}", where="model", how=how, status=404)
        return self._served[name]

    def add(self, name: str, path: Path, origin: str = FILE) -> None:
        """Serve a file under a name; `ModelFileError` where it cannot be loaded."""
        self._served[name] = _read(name, path, origin)

    def drop(self, name: str) -> None:
        """Serve it no longer."""
        self._served.pop(name, None)

    def refresh(self) -> None:
        """Load the files that were replaced; what cannot be loaded leaves the version before it, and a problem."""
        for old in list(self._served.values()):
            signature = signature_of(old.path)
            if signature == old.signature:
                continue
            try:
                new = _read(old.name, old.path, old.origin)
                logger.info("model %s: version %s takes the place of %s", old.name, new.version, old.version)
            except Exception as error:  # whatever it is, the other models' files are still looked at
                problem = getattr(error, "what", f"it cannot be loaded: {type(error).__name__}")
                new = dataclasses.replace(old, signature=signature, problem=problem)
                logger.warning("model %s: the new file is not served: %s", old.name, problem)
            if self._served.get(old.name) is old:  # it may have been dropped meanwhile
                self._served[old.name] = new


def signature_of(path: Path) -> Signature:
    """What changes when a file is replaced; zeros where there is none."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(name: str, path: Path, origin: str) -> Served:
    signature = signature_of(path)  # before the content: a change in between is then seen the next time
    try:
        content = path.read_bytes()
    except OSError as error:
        what = f"the model {name} cannot be read: {error.strerror}"
        raise ModelFileError(what, where=str(path), how=_MENDED) from None
    model = model_from_bytes(content, where=str(path))
    about = {"bytes": len(content), **describe(model)}
    model.latent_size  # noqa: B018  # measured once, before anyone waits for it
    return Served(name, path, origin, hashlib.sha256(content).hexdigest()[:12], model, signature, about, known(model))


def named(paths: Sequence[str]) -> dict[str, Path]:
    """Model files by their stems; `UsageError` for two of one stem, and for a stem that is no id."""
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(model_path(given))
        name = checked_id(path.stem, str(path), "rename the file")
        if name in found:
            what = f"two models are called {name!r}: {found[name]} and {path}"
            raise UsageError(what, where="serve", how="rename one of the files, or leave it out")
        found[name] = path
    return found


def checked_id(name: str, where: str, how: str) -> str:
    """A name that can stand in a path of the service; `UsageError` for any other."""
    if not _NAME.fullmatch(name):
        what = f"got the name {name[:80]!a}, wanted 1 to 64 of A-Z a-z 0-9 _ . - (no point in front)"
        raise UsageError(what, where=where, how=how)
    return name
