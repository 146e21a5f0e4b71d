"""Trainings that come to nothing: they stop, or go on aloud, with the cause, the epoch, the column and a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from refusals import QUICK, given, plain_table
from safetensors.numpy import load_file

pytestmark = pytest.mark.reliability(6)

Models = Callable[[str], Path]
FITS: dict[str, tuple[str, ...]] = {
    "plain, written out": ("numbers.csv", "--kind", "plain"),
    "deep": ("numbers.csv", "--kind", "deep"),
    "masked cells": ("shop.csv",),
    "variational": ("numbers.csv", "--kind", "variational"),
    "adversarial": ("numbers.csv", "--kind", "adversarial"),
    "quantised": ("numbers.csv", "--kind", "vector-quantised"),
    "series": ("line.csv", "--window", "12"),
    "recurrent": ("steps.npy", "--window", "12", "--kind", "recurrent"),
    "transformer": ("steps.npy", "--window", "12", "--kind", "transformer"),
    "pictures": ("pictures", "--kind", "denoising+convolutional"),
    "sound": (*("sounds", "--modality", "audio", "--kind", "plain"), *("--set", "format.fft=64")),
}


@pytest.mark.parametrize(
    ("name", "rate"), [*((name, "20") for name in FITS), ("plain, written out", "1e30"), ("masked cells", "1e30")]
)
def test_a_step_far_too_large_is_told_and_saves_nothing_that_is_not_finite(
    hourglass: Command, samples: Path, out: Path, name: str, rate: str
) -> None:
    data, *options = FITS[name]
    words = ("--learning-rate", rate, "--epochs", "3", "--false-alarm-rate", "0.2", "--set", "detection.folds=2")
    done = hourglass("fit", samples / data, "-o", out / "model", *options, *words)
    assert "Traceback" not in done.err
    assert "fault of Hourglass" not in done.err
    if done.code == 1:  # refused
        assert "the loss stopped being finite in the first epoch" in done.err
        assert "\nhint: " in done.err
        assert "learning rate than" in done.err
        assert list(out.iterdir()) == []
        return
    assert done.code == 0, done.err
    document = json.loads(hourglass("inspect", out / "model.safetensors", "--json").out)
    if document["training"]["stopped"] == "diverged":
        (told,) = [notice for notice in document["notices"] if "stopped being finite" in notice]
        assert "in epoch" in told
        assert "a smaller learning rate than" in told
    for tensor in load_file(out / "model.safetensors").values():
        assert np.isfinite(tensor).all()
    scored = given(hourglass, "detect with a model", samples / data, out, out / "model.safetensors")
    assert scored.code == 0, scored.err
    scores = [json.loads(line)["anomaly_score"] for line in (out / "scores.jsonl").read_text().splitlines()]
    assert np.isfinite(scores).all()


def test_a_divergence_names_the_column_that_is_farthest_from_usual(
    hourglass: Command, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "data.csv").write_text(plain_table() + "0.1,1e30\n")
    done = hourglass("fit", tmp_path / "data.csv", "-o", out / "model", *QUICK, "--learning-rate", "1e30")
    assert done.code == 1
    assert "'b'" in done.err
    assert "learning rate" in done.err
    assert list(out.iterdir()) == []


def test_scores_that_are_all_equal_are_told(hourglass: Command, tmp_path: Path, out: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n" + "1,2\n" * 80)
    done = given(hourglass, "detect", tmp_path / "data.csv", out)
    assert done.code == 0, done.err
    assert "calibration scores are equal" in done.err
    assert "column 'a' is always 1" in done.err
    assert "found no anomalies" in done.err


def test_three_rows_are_enough_and_told(hourglass: Command, tmp_path: Path, out: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n2,4\n3,7\n")
    done = given(hourglass, "detect", tmp_path / "data.csv", out)
    assert done.code == 0, done.err
    assert "cannot promise a false-alarm rate of 0.1" in done.err
    assert len((out / "scores.jsonl").read_text().splitlines()) == 3


def test_a_collapsed_posterior_is_told(hourglass: Command, samples: Path, out: Path) -> None:
    words = ("--kind", "variational", "--latent", "2", "--set", "bottleneck.beta=10000", "--epochs", "20")
    done = hourglass("fit", samples / "numbers.csv", "-o", out / "model", *words, "--false-alarm-rate", "0.1")
    assert done.code == 0, done.err
    assert "no number of a code says anything (posterior collapse)" in done.err
    assert "--set bottleneck.beta=" in done.err


def test_dead_units_are_told(hourglass: Command, tmp_path: Path, out: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 1)) @ np.ones((1, 6))
    np.save(tmp_path / "data.npy", x)
    words = ("--kind", "plain", "--latent", "6", "--set", "bottleneck.activation=relu", "--learning-rate", "1")
    done = hourglass(
        "fit", tmp_path / "data.npy", "-o", out / "model", *words, "--epochs", "20", "--false-alarm-rate", "0.1"
    )
    assert done.code == 0, done.err
    assert "of the 6 numbers of a code never move" in done.err
    assert "--latent" in done.err


def test_a_healthy_training_says_nothing_of_all_this(hourglass: Command, samples: Path, out: Path) -> None:
    words = ("--kind", "variational", "--latent", "1", "--epochs", "40", "--false-alarm-rate", "0.1")
    done = hourglass("fit", samples / "numbers.csv", "-o", out / "model", *words)
    assert done.code == 0, done.err
    for word in ("numbers of a code", "are equal", "finite"):
        assert word not in done.err
