"""Reports as values (sections of parts of blocks), and the one self-contained HTML file that they become.

Nothing is fetched: plotly.js, style and script lie in the file, and a content security policy with the hashes of
exactly these two scripts forbids every other one, and every connection. What comes from users' data is escaped: as HTML
by Jinja, in figures as JSON without `<`; and as plotly reads its texts as HTML once more, by `figures.label`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hourglass.data.writing import write_text


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Facts:
    """A few figures that matter, large: each a value and what it is."""

    pairs: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Listing:
    """Sentences, one below the other."""

    items: Sequence[str]
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Table:
    """Cells in words."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    """Positions of the columns that hold numbers, set to the right."""
    caption: str = ""
    wide: frozenset[int] = frozenset()
    """Positions of the columns that hold sentences."""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Figure:
    """A plotly figure: `spec` holds its `data` and `layout`, as plain JSON values."""

    spec: dict[str, Any]
    height: int
    caption: str
    """What is to be seen, also read aloud by screen readers."""
    kind: ClassVar[str] = "figure"

    @property
    def json(self) -> Markup:
        """The figure as JSON that cannot end the script element that it lies in."""
        text = json.dumps(self.spec, allow_nan=False, separators=(",", ":"))
        return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@dataclass(frozen=True)
class Picture:
    """A PNG file's bytes."""

    png: bytes
    caption: str
    kind: ClassVar[str] = "picture"

    @property
    def source(self) -> str:
        return _inline("image/png", self.png)


@dataclass(frozen=True)
class Take:
    """A stretch of sound, to be heard and seen."""

    name: str
    words: str
    flac: bytes
    """A FLAC file's bytes."""
    png: bytes
    """Its spectrogram, time to the right and frequency upwards."""
    seconds: Sequence[tuple[float, str]]
    """Marks of the time axis: each its place, as a percentage from the left, and its words."""
    hertz: Sequence[tuple[float, str]]
    """Marks of the frequency axis, from the bottom."""

    @property
    def sound(self) -> str:
        return _inline("audio/flac", self.flac)

    @property
    def source(self) -> str:
        return _inline("image/png", self.png)


@dataclass(frozen=True)
class Takes:
    """The same stretch in several takes, side by side."""

    takes: Sequence[Take]
    caption: str
    kind: ClassVar[str] = "takes"


Block = Text | Facts | Listing | Table | Figure | Picture | Takes


@dataclass(frozen=True)
class Part:
    """One question, answered by blocks."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """What is said of one model, or one thing shown: a headline sentence, then parts."""

    title: str
    headline: str
    parts: Sequence[Part]


def write_page(path: str | Path, title: str, sections: Sequence[Section]) -> Path:
    """Write sections as one HTML file that needs no network; an existing file is replaced whole or not at all."""
    path = Path(path)
    write_text(path, render(title, sections))
    return path


def render(title: str, sections: Sequence[Section]) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    drawn = any(isinstance(block, Figure) for section in sections for part in section.parts for block in part.blocks)
    scripts = [get_plotlyjs(), _resource("report.js")] if drawn else []
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_resource("report.html.j2")).render(
        title=title,
        sections=sections,
        style=Markup(_resource("report.css")),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
    )


def _policy(scripts: Sequence[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; media-src data:"


def _inline(kind: str, content: bytes) -> str:
    """The address of a file that lies in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _resource(name: str) -> str:
    return resources.files("hourglass.interfaces").joinpath(name).read_text(encoding="utf-8")
