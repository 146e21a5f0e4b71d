"""`fit` to more rows than memory may hold: the same columns and scales, as good a model, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from commands import Command

from hourglass.core.checkpoints import load_model
from hourglass.core.fitted import FittedModel
from hourglass.data import spool
from hourglass.data.files import read
from hourglass.data.tables import TableFormat
from hourglass.interfaces import large_fits

QUICK = ("--kind", "plain", "--epochs", "4", "--modality", "table")


def table(rows: int, seed: int, odd: int = 0) -> pa.Table:
    """Columns that go together; the last `odd` rows do not."""
    random = np.random.default_rng(seed)
    causes = random.normal(size=(rows, 2))
    numbers = causes @ [[1.0, 2.0, -1.0, 0.5], [0.5, -1.0, 1.0, 2.0]] + 0.1 * random.normal(size=(rows, 4))
    numbers[rows - odd :] = random.normal(size=(odd, 4)) * 2
    words = np.where(causes[:, 0] > 0, "up", "down")
    columns = {f"c{place}": column + 100 for place, column in enumerate(numbers.T)}
    return pa.table({**columns, "w": words, "label": (np.arange(rows) >= rows - odd).astype(int)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    pq.write_table(table(0, 0), tmp_path / "in/(empty).parquet")
    for seed in range(3):
        pq.write_table(table(800, seed), tmp_path / f"in/{seed}.parquet", row_group_size=300)
    return tmp_path / "in"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MB count as a few kilobytes: blocks of some 1,000 rows, windows of some 500."""
    monkeypatch.setattr(large_fits, "_COPIES", 10**4)
    monkeypatch.setattr(large_fits, "_WINDOW", 6_000)
    monkeypatch.setattr(large_fits, "_BLOCK", 10**6)
    monkeypatch.setattr(large_fits, "_SAMPLE", 10_000)
    monkeypatch.setattr(spool, "_STRIPE", 500)


def fitted(hourglass: Command, *words: object) -> FittedModel:
    done = hourglass("fit", *words, *QUICK)
    assert done.code == 0, done.err
    return load_model(str(words[words.index("-o") + 1]))


def scales(model: FittedModel) -> np.ndarray:
    assert isinstance(model.format, TableFormat)
    return np.stack([tensor.numpy() for tensor in model.format.tensors().values()])


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("scaling", ["standard", "min-max"])
def test_columns_and_scales_are_those_of_all_rows(
    hourglass: Command, folder: Path, tmp_path: Path, scaling: str
) -> None:
    words = ("--set", f"format.scaling={scaling}", "--set", "training.validation=0", "--label", "label")
    parts = fitted(hourglass, folder, "-o", tmp_path / "parts", "--memory", "64MB", *words)
    pq.write_table(
        pa.concat_tables([pq.read_table(each) for each in sorted(folder.iterdir())]), tmp_path / "all.parquet"
    )
    whole = fitted(hourglass, tmp_path / "all.parquet", "-o", tmp_path / "whole", *words)
    assert np.allclose(scales(parts), scales(whole), rtol=1e-6, atol=0)
    assert isinstance(parts.format, TableFormat)
    assert isinstance(whole.format, TableFormat)
    assert parts.format.columns == whole.format.columns
    assert parts.format.offered == whole.format.offered
    assert parts.card["samples"] == whole.card["samples"] == 2_400
    assert (parts.history.batch_size, parts.history.epochs) == (whole.history.batch_size, whole.history.epochs)
    assert parts.card["label"] == {"column": "label", "normal": None}


@pytest.mark.usefixtures("little_memory")
def test_a_model_of_parts_finds_as_much_as_one_of_the_whole(hourglass: Command, folder: Path, tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    parts = fitted(hourglass, folder, "-o", tmp_path / "parts", "--memory", "64MB", "--label", "label")
    whole = fitted(hourglass, folder, "-o", tmp_path / "whole", "--memory", "100GB", "--label", "label")
    pq.write_table(table(1_000, 9, odd=200), tmp_path / "test.parquet")
    rows = read(tmp_path / "test.parquet")
    odd = np.arange(1_000) >= 800
    found = [roc_auc_score(odd, model.detect(rows, reasons="none").rows.score) for model in (parts, whole)]  # type: ignore[arg-type]
    assert min(found) > 0.7
    assert abs(found[0] - found[1]) < 0.02
    assert parts.calibration.source == "held-out rows"
    flagged = parts.detect(rows, reasons="none").is_anomaly  # type: ignore[arg-type]
    assert flagged[:800].mean() < 0.04
    assert any("columns were chosen by" in notice for notice in parts.format.notices)
    assert not any("columns were chosen by" in notice for notice in whole.format.notices)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "in", "parts.safetensors", "test.parquet", "whole.safetensors",
    ]  # fmt: skip


@pytest.mark.usefixtures("little_memory")
def test_the_same_seed_gives_the_same_model_and_memory_has_no_say_in_its_rows(
    hourglass: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--memory", "64MB", "--label", "label", "--normal", "0")
    first = fitted(hourglass, folder, "-o", tmp_path / "a", *words)
    again = fitted(hourglass, folder, "-o", tmp_path / "b", *words)
    for name, weights in first.network.state_dict().items():
        assert torch.equal(weights, again.network.state_dict()[name])
    monkeypatch.setattr(large_fits, "_BLOCK", 10**3)
    other = fitted(hourglass, folder, "-o", tmp_path / "c", *words)
    assert other.card["sha256"] == first.card["sha256"]
    assert np.allclose(scales(other), scales(first), rtol=1e-12)


@pytest.mark.usefixtures("little_memory")
def test_rows_with_gaps_are_learned_from(hourglass: Command, folder: Path, tmp_path: Path) -> None:
    rows = table(800, 1).to_pydict()
    rows["c1"][700] = None  # one, which is hardly drawn
    pq.write_table(pa.table(rows), folder / "1.parquet")
    model = fitted(hourglass, folder, "-o", tmp_path / "m", "--memory", "64MB", "--label", "label")
    assert all(bool(torch.isfinite(weights).all()) for weights in model.network.state_dict().values())


@pytest.mark.usefixtures("little_memory")
def test_a_broken_shard_is_refused_or_skipped(hourglass: Command, folder: Path, tmp_path: Path) -> None:
    pq.write_table(table(800, 1), folder / "1.parquet", row_group_size=300, write_page_checksum=True)
    good = (folder / "1.parquet").read_bytes()
    (folder / "1.parquet").write_bytes(good[:12_000] + bytes(400) + good[12_400:])
    words = ("fit", folder, "-o", tmp_path / "m", "--memory", "64MB", "--label", "label", *QUICK)
    refused = hourglass(*words)
    assert refused.code == 3
    assert "1.parquet" in refused.err
    skipped = hourglass(*words, "--skip-bad", "--json")
    assert skipped.code == 0
    assert skipped.document["training"]["samples"] == 1_600
    assert any("1.parquet" in notice for notice in skipped.document["notices"])
    assert skipped.document["memory"]["bound"] == 64_000_000


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--report", "r.html"), "needs all rows in memory at once"),
        (("--normal", "0"), "add --label COLUMN"),
        (("--modality", "series"), "only tables are fitted to in bounded memory"),
    ],
)
def test_what_needs_all_rows_is_refused(
    hourglass: Command, folder: Path, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    done = hourglass("fit", folder, "-o", tmp_path / "m", "--memory", "64MB", *words)
    assert done.code == 2
    assert complaint in done.err
    assert not (tmp_path / "m.safetensors").exists()


def test_a_folder_that_fits_is_read_as_one_table(hourglass: Command, folder: Path, tmp_path: Path) -> None:
    parts = fitted(hourglass, folder, "-o", tmp_path / "parts", "--label", "label")
    pq.write_table(
        pa.concat_tables([pq.read_table(each) for each in sorted(folder.iterdir())]), tmp_path / "all.parquet"
    )
    whole = fitted(hourglass, tmp_path / "all.parquet", "-o", tmp_path / "whole", "--label", "label")
    assert parts.card["sha256"] == whole.card["sha256"]
    for name, weights in parts.network.state_dict().items():
        assert torch.equal(weights, whole.network.state_dict()[name])


def test_memory_is_no_word_for_anything_but_tables(hourglass: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 2)))
    done = hourglass("fit", tmp_path / "a.npy", "-o", tmp_path / "m", "--memory", "1GB")
    assert (done.code, "only tables are fitted to in bounded memory" in done.err) == (2, True)
