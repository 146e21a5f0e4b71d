"""`detect` on a table so large that it is read block by block: the same answers, the same refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import Command

from hourglass.core.checkpoints import save_model
from hourglass.core.fitted import DETECTOR, FittedModel
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.data import files
from hourglass.data.files import read
from hourglass.settings import Training

Write = Callable[..., str]


def rows(count: int) -> list[str]:
    """Rows of three columns that go together; in every tenth, one does not."""
    random = np.random.default_rng(0)
    x = random.normal(size=count)
    columns = np.column_stack([x, 2 * x, x + 30 * (np.arange(count) % 10 == 0)]) + 0.01 * random.normal(size=(count, 3))
    return [",".join(f"{number:.3f}" for number in row) for row in columns]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    (folder / "train.csv").write_text("\n".join(["a,b,c", *rows(200)]))
    plan = experiment("table", "plain").replace(training=Training(epochs=2))
    fitted = fit_model(read(folder / "train.csv"), plan, calibrate=False)  # type: ignore[arg-type]
    fitted.card["task"] = DETECTOR
    return str(save_model(fitted, folder / "model"))


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["a,b,c", *rows(300)]) + "\n")
    return str(path)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def set_them() -> None:
        monkeypatch.setattr(files, "LARGE", 1)
        monkeypatch.setattr(files, "BLOCK", 1_000)

    return set_them


def test_a_large_table_gives_what_a_small_one_does(
    hourglass: Command, model: str, table: str, tmp_path: Path, small_blocks: Callable[[], None]
) -> None:
    calls = [("detect", model, table, "-o", tmp_path / f"{name}.parquet", "--json") for name in ("whole", "blocks")]
    whole = hourglass(*calls[0])
    small_blocks()
    called: list[FittedModel] = []
    detect_blocks = FittedModel.detect_blocks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FittedModel, "detect_blocks", lambda self, *a: called.append(self) or detect_blocks(self, *a))
        blocks = hourglass(*calls[1])
    assert called
    assert (blocks.code, blocks.err) == (whole.code, whole.err)
    first, second = (json.loads(done.out) | {"output": ""} for done in (whole, blocks))
    assert first["anomalies"]
    assert second == first
    assert pq.read_table(tmp_path / "blocks.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))


@pytest.mark.parametrize(
    ("last", "where"), [("1,2", "line 302"), ("1,2,inf", "line 302, column 'c'"), ("1,2,east", "line 302")]
)
def test_a_fault_near_the_end_of_a_large_table_is_named_by_its_line_and_nothing_is_written(
    hourglass: Command,
    model: str,
    table: str,
    tmp_path: Path,
    small_blocks: Callable[[], None],
    last: str,
    where: str,
) -> None:
    with open(table, "a") as file:
        file.write(f"{last}\n")
    whole = hourglass("detect", model, table, "-o", tmp_path / "scores.csv")
    small_blocks()
    blocks = hourglass("detect", model, table, "-o", tmp_path / "scores.csv")
    assert blocks == whole
    assert blocks.code == 3
    assert where in blocks.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["table.csv"]


@pytest.mark.parametrize("reasons", ["all", "none"])
def test_reasons_may_be_asked_for_all_rows_or_none(
    hourglass: Command, model: str, table: str, small_blocks: Callable[[], None], reasons: str
) -> None:
    whole = hourglass("detect", model, table, "--reasons", reasons)
    small_blocks()
    assert hourglass("detect", model, table, "--reasons", reasons) == whole
