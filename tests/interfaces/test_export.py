"""Exported models: another runtime says of a user's own rows what Python says, and reads all it needs in the file."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from commands import Command

from hourglass import FittedModel, load_model
from hourglass.core.checkpoints import save_model
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import Experiment, experiment
from hourglass.data.formats import Data
from hourglass.data.samples import Frame
from hourglass.errors import HourglassError, MissingExtraError, UsageError
from hourglass.interfaces.cli import run
from hourglass.interfaces.exporting import export as exporting
from hourglass.interfaces.exporting import parity
from hourglass.interfaces.exporting.forms import raw_form
from hourglass.interfaces.exporting.graph import Judge
from hourglass.interfaces.options import Export
from hourglass.settings import Training

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

ROWS = 120
ALL = ("error", "masked-cell", "activations", "neighbours")
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
random = np.random.default_rng(0)


def numbers() -> np.ndarray:
    """Columns that share two causes: one far from 0, one that never changes; some cells are missing."""
    x = random.normal(size=(ROWS, 2)) @ random.normal(size=(2, 6))
    x[:, 0] += 1e9
    x[:, 1] = 7.0
    return np.where(random.random(x.shape) < 0.05, np.nan, x)


def mixed() -> Frame:
    size = random.gamma(4, 10, ROWS)
    columns = {
        "town": np.array(["Ghent", "Oslo", "Turin"])[np.digitize(size, [25, 45])],
        "amount": pa.array(size * 3 + 1e9, mask=random.random(ROWS) < 0.1),
        "paid": pa.array(size > 35, mask=random.random(ROWS) < 0.1),
        "opened": [dt.date(2024, 1, 1) + dt.timedelta(days=int(days)) for days in size],
        "colour": pa.array(np.where(size > 30, "red", "blue"), mask=random.random(ROWS) < 0.1),
    }
    return Frame(pa.table(columns))


def words() -> Frame:
    """Of which most rows have twins, so that scores are tied."""
    size = random.gamma(4, 10, ROWS)
    towns = np.array(["Ghent", "Oslo", "Turin"])[np.digitize(size, [25, 45])]
    return Frame(pa.table({"town": towns, "paid": size + random.normal(scale=9, size=ROWS) > 35, "new": size < 50}))


def windows() -> np.ndarray:
    steps = np.arange(40 * 12)
    values = np.stack([np.sin(steps / 3), np.cos(steps / 3)], axis=1) + random.normal(scale=0.1, size=(len(steps), 2))
    return values.reshape(40, 12, 2) * [1, 50] + [1e9, 0]


def pictures() -> np.ndarray:
    row, column = random.uniform(2, 7, size=(2, 40, 1, 1))
    distance = np.hypot(np.arange(10)[:, None] - row, np.arange(9) - column)
    return np.clip(255 * (3 - distance), 0, 255)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model: what kind on which data, and what else is asked for."""

    modality: str
    kind: str
    data: Data
    form: dict[str, Any] = dataclasses.field(default_factory=dict)
    scorers: tuple[str, ...] | None = None

    @property
    def plan(self) -> Experiment:
        plan = experiment(self.modality, self.kind)
        detection = plan.detection.replace(scorers=self.scorers, false_alarm_rate=0.2)
        form = plan.format.replace(**self.form)
        return plan.replace(training=Training(epochs=2, batch_size=16), detection=detection, format=form)

    def fit(self) -> FittedModel:
        return fit_model(self.data, self.plan, calibrate=False)


CASES = {
    "plain table, quantiles": Case("table", "plain", numbers(), {"scaling": "quantile"}),
    "every scorer of mixed columns": Case("table", "masked-cell", mixed(), {}, ALL),
    "words and flags alone": Case("table", "masked-cell", words(), {}, ("masked-cell", "neighbours")),
    "variational, by its likelihood": Case("table", "variational", numbers(), {}, ("reconstruction-probability",)),
    "windows, convolutional": Case("series", "convolutional", windows(), {}, ("patches", "error")),
    "windows, transformer": Case("series", "masked-patches", windows(), {}, ("error",)),
}
"""Every scorer, and what is put into a graph in its own way: quantiles, words, noise, patches, attention. A graph takes
seconds to make; all kinds are compared by `benchmarks/export.py`."""
Exported = tuple[FittedModel, Case, Path]


@pytest.fixture(scope="module", params=CASES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    case, place = CASES[request.param], tmp_path_factory.mktemp("export")
    model = case.fit()
    save_model(model, place / "model")
    exporting.export(Export(model=str(place / "model"), output=str(place / "model.onnx")))
    return model, case, place / "model.onnx"


def read(path: Path) -> tuple[Any, dict[str, Any]]:
    """A session of the file, and its metadata."""
    session = onnxruntime.InferenceSession(path)
    return session, json.loads(session.get_modelmeta().custom_metadata_map["hourglass"])


def encoded(data: Data, about: dict[str, Any]) -> np.ndarray:
    """A user's data as raw numbers, by the metadata alone."""
    if isinstance(data, Frame):
        return np.array(
            [[_number(row[column["name"]], column) for column in about["columns"]] for row in data.table.to_pylist()]
        )
    return data[:, None] if about["modality"] == "image" else data


def _number(cell: Any, column: dict[str, Any]) -> float:
    if cell is None:
        return np.nan
    if column["type"] == "category":
        return column["words"].index(cell) if cell in column["words"] else len(column["words"])
    if column["type"] == "date":
        return dt.datetime(cell.year, cell.month, cell.day, tzinfo=dt.UTC).timestamp()
    return float(cell)


def test_another_runtime_says_of_the_data_what_python_says(exported: Exported) -> None:
    model, case, path = exported
    session, about = read(path)
    raw = encoded(case.data, about)
    given_back, score, p_value, flag = session.run(None, {about["input"]["name"]: raw})
    found = model.detect(case.data, reasons="none")
    scale = np.maximum(np.abs(found.rows.score), model.calibration.scores.std())
    assert np.max(np.abs(score - found.rows.score) / scale) < 1e-5
    settled = np.abs(score - found.threshold.value) > 1e-5 * scale
    np.testing.assert_array_equal(flag[settled], found.is_anomaly[settled])
    np.testing.assert_allclose(p_value, found.p_value)  # rows of the calibration, which tie with themselves, too
    assert given_back.shape == raw.shape
    assert np.isfinite(given_back).all()
    expected = model.reconstruct(case.data)
    if isinstance(expected, np.ndarray):
        expected = expected.reshape(raw.shape)
        spread = np.nanstd(raw, axis=0) + 1
        assert np.max(np.abs(given_back - expected) / spread) < 1e-4
    else:
        same = encoded(Frame(expected), about) == given_back
        assert same[:, [each["type"] in ("flag", "category") for each in about["columns"]]].mean() > 0.99


def test_a_sample_is_judged_alike_alone_and_among_a_thousand(exported: Exported) -> None:
    _, case, path = exported
    session, about = read(path)
    name = about["input"]["name"]
    raw = encoded(case.data, about)
    many = np.concatenate([raw] * (1000 // len(raw) + 1))[:1000]
    score, flag = session.run(["anomaly_score", "is_anomaly"], {name: many})
    alone = session.run(["anomaly_score", "is_anomaly"], {name: raw[:1]})
    assert score.shape == flag.shape == (1000,)
    np.testing.assert_allclose(alone[0], score[:1], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model of a mixed table, and what it is exported to."""
    place = tmp_path_factory.mktemp("models")
    save_model(Case("table", "plain", mixed()).fit(), place / "mixed")
    save_model(Case("table", "plain", numbers()).fit(), place / "plain")
    command = ["export", str(place / "mixed"), "-o", str(place / "mixed.onnx"), "--false-alarm-rate", "0.25", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert run(command) == 0
    (place / "said.json").write_text(out.getvalue())
    (place / "talk").write_text(err.getvalue())
    return place


def exporting_to(place: Path, model: str, output: str) -> dict[str, Any]:
    return exporting.export(Export(model=str(place / model), output=str(place / output))).document


def test_the_file_says_what_goes_in_and_how_it_judges(place: Path) -> None:
    _, about = read(place / "mixed.onnx")
    assert about["input"] == {"name": "rows", "type": "float64", "shape": ["rows", 5], "missing": "NaN"}
    assert [each["name"] for each in about["columns"]] == ["town", "amount", "paid", "opened", "colour"]
    assert [each["type"] for each in about["columns"]] == ["category", "number", "flag", "date", "category"]
    assert sorted(about["columns"][0]["words"]) == ["Ghent", "Oslo", "Turin"]
    assert about["columns"][3]["unit"] == "seconds since 1970-01-01"
    assert (about["false_alarm_rate"], about["rule"], about["kind"]) == (0.25, "conformal", "plain")
    assert about["scorers"] == ["error"]


def test_the_command_says_what_it_wrote(place: Path) -> None:
    document = json.loads((place / "said.json").read_text())
    assert document["metadata"] == read(place / "mixed.onnx")[1]
    assert document["difference"]["score"] < 1e-5
    talk = (place / "talk").read_text()
    assert "on 192 fresh rows the graph differs from Python by at most" in talk
    assert "rows x 5 float64 in, reconstruction, anomaly_score, p_value, is_anomaly out" in talk
    assert len(talk.splitlines()) == 2


def test_new_words_odd_flags_and_empty_cells_are_read_as_python_reads_them(place: Path) -> None:
    session, about = read(place / "mixed.onnx")
    model = load_model(place / "mixed.safetensors")
    rows = Frame(
        pa.table(
            {
                "town": ["Bergen", None, "Oslo"],
                "amount": [1e9 + 90, None, 1e30],
                "paid": [7, 1, None],
                "opened": pa.array([dt.date(2030, 5, 1), None, dt.date(2024, 2, 1)]),
                "colour": [None, "green", "red"],
            }
        )
    )
    score, flag = session.run(["anomaly_score", "is_anomaly"], {"rows": encoded(rows, about)})
    found = model.detect(rows, rate=0.25, reasons="none")
    np.testing.assert_allclose(score, found.rows.score, rtol=1e-5)
    assert flag.tolist() == found.is_anomaly.tolist()


def test_an_infinite_number_is_a_very_large_one(place: Path) -> None:
    """Python refuses it; a graph cannot."""
    session, about = read(place / "mixed.onnx")
    raw = encoded(mixed(), about)[:3]
    raw[:, 1] = [np.inf, -np.inf, np.finfo(np.float64).max]
    given_back, score, p_value, flag = session.run(None, {"rows": raw})
    assert np.isfinite(given_back).all()
    assert (score > 1e4).all()
    assert flag.all()
    assert p_value.tolist() == [p_value.min()] * 3


def test_scores_of_steps_are_means_over_the_windows_that_cover_them(tmp_path: Path) -> None:
    values = np.sin(np.arange(400) / 4) + random.normal(scale=0.1, size=400)
    model = Case("series", "denoising", values, {"window": "16", "stride": 5}).fit()
    save_model(model, tmp_path / "series")
    exporting_to(tmp_path, "series", "series.onnx")
    session, about = read(tmp_path / "series.onnx")
    assert about["channels"] == ["value"]
    assert about["window"] == {"steps": 16, "stride": 5}
    starts = np.append(np.arange(0, 385, 5), 384)
    windows = np.stack([values[start : start + 16, None] for start in starts])
    (score,) = session.run(["anomaly_score"], {"windows": windows})
    found = model.detect(values, reasons="none")
    covering = np.array([score[(starts <= step) & (step < starts + 16)].mean() for step in range(400)])
    np.testing.assert_allclose(covering, found.rows.score, rtol=1e-5, atol=1e-6)


def test_a_picture_is_as_odd_as_its_oddest_tile(tmp_path: Path) -> None:
    model = Case("image", "convolutional", pictures(), {"tile": 8}).fit()
    save_model(model, tmp_path / "tiles")
    exporting_to(tmp_path, "tiles", "tiles.onnx")
    session, about = read(tmp_path / "tiles.onnx")
    assert (about["height"], about["width"], about["tile"]) == (8, 8, 8)
    picture = pictures()[:1]
    corners = [(row, column) for row in (0, 2) for column in (0, 1)]
    tiles = np.stack([picture[:, row : row + 8, column : column + 8] for row, column in corners])
    (score,) = session.run(["anomaly_score"], {"pictures": tiles})
    np.testing.assert_allclose(score.max(), model.detect(picture, reasons="none").rows.score[0], rtol=1e-5)


def test_torch_says_the_same_of_a_file_without_pickle(tmp_path: Path) -> None:
    save_model(Case("series", "recurrent", windows()).fit(), tmp_path / "model")
    document = exporting_to(tmp_path, "model", "model.pt2")
    assert document["difference"]["score"] < 1e-5
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        contents = {entry.split("/", 1)[1]: archive.read(entry) for entry in archive.namelist()}
    assert json.loads(contents["extra/hourglass.json"]) == document["metadata"]
    stored = [json.loads(text) for entry, text in contents.items() if entry.endswith("_config.json")]
    assert len(stored) == 2
    assert not any(tensor["use_pickle"] for each in stored for tensor in each["config"].values())
    assert contents["data/sample_inputs/model.pt"] == b""
    assert not [entry for entry, content in contents.items() if entry.endswith((".pt", ".pkl")) and content]


def test_more_than_a_ten_thousandth_of_difference_writes_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "kept.pt2").write_text("as it was")
    monkeypatch.setattr(parity, "MOST", -1.0)
    with pytest.raises(HourglassError, match=r"differs from Python by .* on 192 fresh rows"):
        exporting_to(place, "plain", "kept.pt2")
    assert (place / "kept.pt2").read_text() == "as it was"


@pytest.mark.parametrize(("output", "change"), [(0, 1e-2), (0, np.nan), (1, 1e-3), (1, np.nan), (2, 1e-3)])
def test_a_graph_that_says_something_else_is_noticed(place: Path, output: int, change: float) -> None:
    model = load_model(place / "plain.safetensors")
    form, limit = raw_form(model.format), model.threshold()
    judge = Judge(model, form, limit)

    def run(raw: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [each.numpy() for each in judge(torch.from_numpy(raw))]

    def wrong(raw: np.ndarray) -> list[np.ndarray]:
        found = run(raw)
        found[output][:1] *= 1 + change
        return found

    assert parity.compare(model, form, limit, run).worst < 1e-6
    with pytest.raises(HourglassError, match="differs from Python"):
        parity.compare(model, form, limit, wrong).check()


def test_what_is_no_graph_is_refused_by_name(tmp_path: Path) -> None:
    sound = np.sin(random.uniform(0.2, 2, size=(14, 1)) * np.arange(60))
    case = Case("audio", "mask", sound, {"rate": 8_000, "fft": 32, "bins": 16, "frames": 32})
    save_model(case.fit(), tmp_path / "sound")
    with pytest.raises(UsageError, match="a model of sound is not exported"):
        exporting_to(tmp_path, "sound", "sound.onnx")


def test_without_the_extra_one_sentence_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'onnxruntime'.*\n.*hourglass-autoencoder\[onnx\]"):
        exporting_to(place, "mixed", "mixed.onnx")


def test_a_name_that_is_no_format_is_refused(hourglass: Command, place: Path) -> None:
    done = hourglass("export", place / "mixed", "-o", place / "m.pb")
    assert done.code == 2
    assert "wanted a name that ends in .onnx, .pt2" in done.err


def test_the_guide_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python here; its JavaScript where node and its runtime are installed."""
    shutil.copy(place / "mixed.onnx", place / "model.onnx")
    monkeypatch.chdir(place)
    lines = [
        *("town,amount,paid,opened,colour", "Oslo,1000000090,0,2024-01-30,red", "Bergen,5,,,"),
        *("Bergen,5,TRUE,2034-01-30 09:30:00,", "Bergen,5,false,2034-01-30T09:30:00+02:00,red"),
    ]
    (place / "new.csv").write_text("\r\n".join(lines) + "\r\n", newline="")
    blocks = dict(re.findall(r"```(python|js)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    said = subprocess.run([sys.executable, "-c", blocks["python"]], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(r"(row [123]: score [\d.]+, p = 0\.\d+\n){3}", said.stdout)
    node = shutil.which("node") or "node"
    has_runtime = [node, "-e", "require.resolve('onnxruntime-node')"]
    if shutil.which("node") is None or subprocess.run(has_runtime, capture_output=True).returncode:
        pytest.skip("the JavaScript needs node and its package onnxruntime-node")
    elsewhere = os.environ | {"TZ": "Asia/Tokyo"}  # which must not move the dates
    done = subprocess.run([node, "-e", blocks["js"]], capture_output=True, text=True, env=elsewhere)
    assert (done.returncode, done.stdout) == (0, said.stdout), done.stderr
