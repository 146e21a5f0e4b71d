"""The command line's ways to set a threshold, and what `evaluate` says of a series."""

from pathlib import Path

import numpy as np
import pytest
from commands import Command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of normal rows, one of new rows with 15 odd ones, and one of rows that are all off."""
    random, place = np.random.default_rng(0), tmp_path_factory.mktemp("judging")

    def write(name: str, count: int, odd: int, noise: float) -> None:
        x = random.normal(size=count)
        rows = np.column_stack([x, 2 * x, -x]) + noise * random.normal(size=(count, 3))
        rows[count - odd :, 1] += 9
        labels = np.arange(count) >= count - odd
        lines = [f"{a:.4f},{b:.4f},{c:.4f},{int(odd)}" for (a, b, c), odd in zip(rows, labels, strict=True)]
        (place / name).write_text("\n".join(["a,b,c,odd", *lines]) + "\n")

    write("train.csv", 800, 0, 0.1)
    write("new.csv", 250, 15, 0.1)
    write("off.csv", 250, 0, 1.0)
    return place


@pytest.fixture
def model(folder: Path, hourglass: Command) -> Path:
    """Fitted once, by the first test that asks."""
    path = folder / "model.safetensors"
    words = ("--kind", "plain", "--latent", 1, "--epochs", 60, "--set", "training.validation=0.5", "--label", "odd")
    if not path.exists():
        assert hourglass("fit", folder / "train.csv", "-o", path, *words, "--normal", 0).code == 0
    return path


def test_a_false_discovery_rate_on_the_command_line(hourglass: Command, model: Path, folder: Path) -> None:
    done = hourglass("detect", model, folder / "new.csv", "--false-discovery-rate", 0.1, "--json")
    document = done.document
    assert document["false_discovery_rate"] == 0.1
    assert document["false_alarm_rate"] is None
    found = {each["row"] for each in document["anomalies"]}
    assert len(found & set(range(235, 250))) >= 10
    assert len(found) < 20
    assert "at a false discovery rate of 0.1" in done.err
    plain = hourglass("detect", model, folder / "new.csv", "--json").document
    assert plain["false_discovery_rate"] is None
    assert plain["false_alarm_rate"] == 0.01


@pytest.mark.parametrize(
    "words", [("--false-alarm-rate", 0.1), ("--threshold", "mad"), ("--false-discovery-rate", 1), ()]
)
def test_a_false_discovery_rate_that_cannot_be_is_refused(
    hourglass: Command, model: Path, folder: Path, words: tuple[object, ...]
) -> None:
    share = 0.1 if words else 0
    done = hourglass("detect", model, folder / "new.csv", "--false-discovery-rate", share, *words)
    assert done.code == 2
    assert done.err.startswith("error: --false-discovery-rate: ")
    assert not done.out


def test_peaks_over_threshold_reach_rates_that_rows_do_not(hourglass: Command, model: Path, folder: Path) -> None:
    words = ("detect", model, folder / "new.csv", "--json", "--false-alarm-rate", 0.0005)
    tail = hourglass(*words, "--threshold", "peaks-over-threshold").document
    ranked = hourglass(*words).document
    assert tail["reachable_rate"] == 0.0005 < ranked["reachable_rate"]
    assert tail["threshold"] > ranked["threshold"]
    assert not any("cannot promise" in notice for notice in tail["notices"])


def test_drift_is_one_notice(hourglass: Command, model: Path, folder: Path) -> None:
    done = hourglass("detect", model, folder / "off.csv", "--json")
    told = [notice for notice in done.document["notices"] if "differ from those that set the threshold" in notice]
    assert len(told) == 1
    assert f"note: {told[0]}" in done.err
    assert "differ from" not in hourglass("detect", model, folder / "new.csv").err


def test_the_oracle_is_shown_under_a_warning(hourglass: Command, model: Path, folder: Path) -> None:
    words = ("evaluate", model, folder / "new.csv", "--label", "odd", "--normal", 0)
    assert hourglass(*words, "--json", "--oracle").document["oracle"]["oracle_f1"] > 0.9
    lines = hourglass(*words, "--oracle").out.splitlines()
    warning = next(place for place, line in enumerate(lines) if line.startswith("with the labels' help"))
    assert lines[warning + 1].startswith("oracle f1")


def test_a_series_is_evaluated_by_its_ranges(hourglass: Command, tmp_path: Path) -> None:
    steps = np.arange(360)
    values = np.sin(steps * np.pi / 6) + 0.05 * np.random.default_rng(0).normal(size=360)
    odd = (steps >= 250) & (steps < 262)
    rows = [f"{step},{value:.4f},{int(label)}" for step, value, label in zip(steps, values + 2 * odd, odd, strict=True)]
    (tmp_path / "series.csv").write_text("\n".join(["step,value,odd", *rows]) + "\n")
    words = ("--time", "step", "--window", 12, "--label", "odd", "--normal", 0, "--kind", "plain", "--epochs", 10)
    words += ("--false-alarm-rate", 0.1)
    assert hourglass("fit", tmp_path / "series.csv", "-o", tmp_path / "model", *words).code == 0
    asked = ("evaluate", tmp_path / "model.safetensors", tmp_path / "series.csv", "--oracle")
    document = hourglass(*asked, "--json").document
    assert document["vus_pr"] > 0.5
    assert set(document["baselines"]["pca"]) >= {"auroc", "vus_roc", "vus_pr"}
    assert set(document["oracle"]) == {"oracle_f1", "oracle_nab_score", "point_adjusted_f1"}
    shown = hourglass(*asked).out
    assert all(word in shown for word in ("vus pr", "range f1", "affiliation f1", "nab score", "point adjusted f1"))
