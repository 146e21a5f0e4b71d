"""What a report is about, and what its samples and the things that it judges are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hourglass.core.fitted import Detection, FittedModel, Reason
from hourglass.data.audio import AudioFormat
from hourglass.data.events import Event
from hourglass.data.formats import Data
from hourglass.data.images import ImageFormat
from hourglass.data.samples import Packed
from hourglass.data.series import SeriesFormat
from hourglass.interfaces.results import findings


@dataclass(frozen=True)
class Subject:
    """What a report is about: a model, the data it judged, and what it said of them.

    A sample is a row, a window of a series, a picture, or a tile of a picture or of a recording. What is judged are the
    samples or, where pictures or several recordings are cut into tiles, the pictures and the recordings.
    """

    model: FittedModel
    data: Data
    detection: Detection
    packed: Packed
    train: Data | None = None
    labels: np.ndarray | None = None
    """For each input row whether it is known to be an anomaly."""

    @property
    def series(self) -> SeriesFormat | None:
        """The format, where it is a series'."""
        return self.model.format if isinstance(self.model.format, SeriesFormat) else None

    @property
    def images(self) -> ImageFormat | None:
        """The format, where it is that of pictures."""
        return self.model.format if isinstance(self.model.format, ImageFormat) else None

    @property
    def sounds(self) -> AudioFormat | None:
        """The format, where it is that of recordings."""
        return self.model.format if isinstance(self.model.format, AudioFormat) else None

    @property
    def listed(self) -> ImageFormat | AudioFormat | None:
        """The format, where it is of things that have names, and in which no single number explains anything."""
        return self.images or self.sounds

    @property
    def is_cut(self) -> bool:
        """Whether samples are windows cut from a series, so that they have times and input rows have not."""
        return self.series is not None and self.packed.places is not None

    @property
    def noun(self) -> str:
        """What a sample is called."""
        if self.listed is not None:
            return "picture" if self.images and self.packed.groups is None else "tile"
        if self.series is None or not self.is_cut:
            return "row"
        return "day" if self.series.rule.word == "1d" else "window"

    @property
    def score(self) -> np.ndarray:
        return self.detection.samples

    @cached_property
    def flagged(self) -> np.ndarray:
        """Samples above the threshold."""
        return np.asarray(self.score > self.detection.threshold.value)

    @cached_property
    def order(self) -> np.ndarray:
        """Samples, the oddest first."""
        return np.argsort(-self.score, kind="stable")

    @property
    def judged(self) -> np.ndarray:
        """The score of each thing that is judged."""
        return self.score if self.listed is None else self.detection.rows.score

    @property
    def judged_flags(self) -> np.ndarray:
        """Which of them are above the threshold."""
        return np.asarray(self.judged > self.detection.threshold.value)

    @cached_property
    def judged_order(self) -> np.ndarray:
        """The judged, the oddest first."""
        return np.argsort(-self.judged, kind="stable")

    @property
    def judged_noun(self) -> str:
        """What one of them is called."""
        if self.sounds is not None:
            return "tile" if self.sounds.by_tile else "recording"
        return self.noun if self.images is None else "picture"

    def judged_name(self, place: int) -> str:
        """One of them in words."""
        if self.listed is None or (self.sounds and self.sounds.by_tile):
            return self.name(place)
        return str(self.packed.places.origin.names[place])

    def oddest_within(self, place: int) -> str:
        """The oddest tile of a judged recording, in words, without the recording's own name."""
        tiles = np.flatnonzero(self.packed.groups == place)
        oddest = int(tiles[np.argmax(self.score[tiles])])
        return self.name(oddest).removeprefix(f"{self.judged_name(place)}, ")

    @cached_property
    def events(self) -> list[Event]:
        """Events, the strongest first."""
        return sorted(findings(self.model, self.detection, "none").events, key=lambda event: -event.peak_score)

    @cached_property
    def _names(self) -> list[str]:
        return [] if self.listed is None else self.listed.labels(self.packed.places)

    def name(self, sample: int) -> str:
        """A sample in words."""
        if self.listed is not None:
            return self._names[sample]
        return self.series.window_label(self.packed.places, sample) if self.series else f"row {sample:,}"

    def reasons(self, samples: np.ndarray, most: int) -> list[list[Reason]]:
        return self.model.explain(self.packed.samples[samples], most)
