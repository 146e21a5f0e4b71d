"""`tune`: the labels never reach it, the card keeps what was tried, and Ctrl-C keeps the best so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import Command

from hourglass import load_model
from hourglass.estimators import tuning

pytest.importorskip("optuna", reason="the extra `tune` is not installed")

QUICK = ("--epochs", "2", "--kinds", "plain,deep", "--trials", "2", "--false-alarm-rate", "0.1")
Table = Callable[[list[str]], Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Writes 120 rows of five columns that follow two causes, under labels of their own."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(120, 2)) @ random.normal(size=(2, 5)) + 0.1 * random.normal(size=(120, 5))

    def write(labels: list[str]) -> Path:
        rows = [
            f"{label},{','.join(f'{value:.4f}' for value in row)}" for label, row in zip(labels, numbers, strict=True)
        ]
        path = tmp_path / "rows.csv"
        path.write_text("\n".join(["y,a,b,c,d,e", *rows]) + "\n")
        return path

    return write


def test_shuffled_labels_change_nothing(hourglass: Command, table: Table, tmp_path: Path) -> None:
    labels = ["good"] * 90 + ["bad"] * 30
    outcomes = []
    for each in (labels, labels[::-1]):
        done = hourglass("tune", table(each), "-o", tmp_path / "m", "--label", "y", "--json", "--quiet", *QUICK)
        assert done.code == 0
        outcomes.append((done.document["tuning"], load_model(tmp_path / "m.safetensors")))
    (one, first), (other, second) = outcomes
    assert one == other
    weights, others = first.network.state_dict(), second.network.state_dict()
    assert all(bool((weights[name] == others[name]).all()) for name in weights)


def test_the_trials_are_shown_and_kept_in_the_card(hourglass: Command, table: Table, tmp_path: Path) -> None:
    data, model = table(["good"] * 90 + ["bad"] * 30), tmp_path / "m.safetensors"
    done = hourglass("tune", data, "-o", model, "--label", "y", "--normal", "good", *QUICK)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["kind", "latent", "error", "AUROC", "stability", "objective"]
    assert sum(line.startswith("*") for line in lines[1:3]) == 1
    assert "one cell swapped" in done.out
    assert "no label was used" in done.out
    assert "2 of 2 candidates tried; the best" in done.err
    described = hourglass("inspect", model, "--json").document
    best = described["tuning"]["trials"][described["tuning"]["best"]]
    assert (described["kind"], described["latent"]) == (best["kind"], best["latent"])
    assert (described["training"]["samples"], described["label"]["normal"]) == (90, "good")
    assert "tuned:      the best of 2 candidates without labels" in hourglass("inspect", model).out
    assert hourglass("detect", model, data, "--quiet").code == 0


def test_ctrl_c_keeps_the_best_so_far(
    hourglass: Command, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, calls = tuning.tried, iter(range(9))

    def once(*words: object) -> tuning.Trial:
        if next(calls):
            raise KeyboardInterrupt
        return tried(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "tried", once)
    done = hourglass("tune", table(["x"] * 120), "-o", tmp_path / "m", "--label", "y", "--json", *QUICK)
    assert done.code == 130
    assert "1 of 2 candidates tried (interrupted)" in done.err
    assert done.document["tuning"]["stopped"] == "interrupted"
    assert (tmp_path / "m.safetensors").exists()


def test_a_series_says_its_windows(hourglass: Command, tmp_path: Path) -> None:
    series = np.sin(np.arange(1_200) * 2 * np.pi / 20) + 0.1 * np.random.default_rng(0).normal(size=1_200)
    np.save(tmp_path / "series.npy", series)
    done = hourglass(
        "tune", tmp_path / "series.npy", "-o", tmp_path / "m", "--kind", "plain", *QUICK[:2], "--trials", "2"
    )
    assert done.code == 0
    assert done.out.splitlines()[0].split()[:3] == ["kind", "latent", "window"]
    assert "spike, level shift, foreign stretch planted" in done.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--trials", "0"), 2, "--trials"),
        (("--kinds", "plain,depe"), 2, "there is no kind called 'depe'"),
        (("--kinds", "deep", "--kind", "plain"), 2, "leave one out"),
        (("--normal", "good"), 2, "add --label COLUMN"),
        (("--label", "z"), 2, "z"),
    ],
    ids=["no trials", "an unknown kind", "a kind and kinds", "normal of nothing", "an unknown label"],
)
def test_bad_options_are_refused(
    hourglass: Command, table: Table, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    done = hourglass("tune", table(["x"] * 120), "-o", tmp_path / "m", *words)
    assert (done.code, message in done.err, (tmp_path / "m.safetensors").exists()) == (code, True, False)
