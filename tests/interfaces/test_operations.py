"""The verbs as functions, on data whose answer is known and on real data."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hourglass import load_model
from hourglass.data.files import read
from hourglass.errors import DataError, UsageError
from hourglass.interfaces import denoising, operations
from hourglass.interfaces.labels import anomaly_labels, equal_to
from hourglass.interfaces.learning import choose_modality, planned
from hourglass.interfaces.options import Convert, Decode, Denoise, Detect, Encode, Evaluate, Fit, Inspect, Learning
from hourglass.interfaces.outputs import SCORES, check_place
from hourglass.interfaces.results import owners

ODD_ROW, ODD_DAY = 120, 17


def write(path: Path, names: list[str], rows: list[list[Any]]) -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """300 rows of three columns that go together, and row 120, where `amount` does not; `odd` says so."""
    x = np.random.default_rng(0).normal(size=300)
    amount = 1000 * (x + 5)
    amount[ODD_ROW] = 14_000
    rows = [
        [f"{a:.2f}", f"{10 * b:.3f}", "high" if b > 0 else "low", int(i == ODD_ROW)]
        for i, (a, b) in enumerate(zip(amount, x, strict=True))
    ]
    return write(tmp_path_factory.mktemp("data") / "table.csv", ["amount", "length", "size", "odd"], rows)


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> str:
    """40 days of hours with the same course every day, but for 15:00 of the 18th day."""
    hours = np.arange(40 * 24)
    values = 50 + 10 * np.sin(hours * 2 * np.pi / 24) + np.random.default_rng(0).normal(scale=0.3, size=len(hours))
    values[ODD_DAY * 24 + 15] += 30
    start = datetime(2024, 3, 1)
    rows = [
        [(start + timedelta(hours=int(hour))).isoformat(" "), f"{value:.4f}"]
        for hour, value in zip(hours, values, strict=True)
    ]
    return write(tmp_path_factory.mktemp("data") / "series.csv", ["timestamp", "load"], rows)


@pytest.fixture(scope="session")
def table_model(table: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "table.safetensors"
    label: dict[str, Any] = {"label": "odd", "normal": "0", "false_alarm_rate": 0.05}
    operations.fit(Fit(data=table, output=str(path), kind="deep", latent=1, epochs=40, batch_size=32, **label))
    return str(path)


@pytest.fixture(scope="session")
def series_model(series: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "series.safetensors"
    operations.fit(Fit(data=series, output=str(path), kind="deep", latent=2, epochs=40, set=("detection.folds=2",)))
    return str(path)


def scores(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_odd_row_is_found_and_its_reason_is_in_units(table: str, table_model: str, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    document = operations.detect(Detect(model=table_model, data=table, output=str(out))).document
    rows = scores(out)
    assert list(rows[0]) == ["row", "anomaly_score", "p_value", "is_anomaly", "reasons"]
    assert [int(row["row"]) for row in rows] == list(range(300))
    assert max(range(300), key=lambda row: float(rows[row]["anomaly_score"])) == ODD_ROW
    assert rows[ODD_ROW]["is_anomaly"] == "true"
    assert "amount: 14,000 where" in rows[ODD_ROW]["reasons"]
    assert all(bool(row["reasons"]) == (row["is_anomaly"] == "true") for row in rows)
    odd = next(each for each in document["anomalies"] if each["row"] == ODD_ROW)
    assert odd["reasons"][0]["value"] == pytest.approx(14_000)
    assert sum(reason["share"] for reason in odd["reasons"]) <= 1 + 1e-6
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_odd_day_is_named_and_its_peak_is_the_odd_hour(series: str, series_model: str, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    outcome = operations.detect(Detect(model=series_model, data=series, output=str(out), false_alarm_rate=0.05))
    assert outcome.findings is not None
    summary = outcome.findings.summary()
    assert "in 40 days at a false-alarm rate of 0.05" in summary
    assert "2024-03-18" in summary
    event = next(event for event in outcome.document["events"] if event["start"].startswith("2024-03-18"))
    assert (event["start"], event["peak"], event["end"]) == ("2024-03-18 00:00", "2024-03-18 15:00", "2024-03-18 23:00")
    rows = pq.read_table(out).to_pylist()
    assert list(rows[0]) == ["time", "anomaly_score", "p_value", "is_anomaly", "covered", "reasons"]
    assert len(rows) == 40 * 24
    assert rows[ODD_DAY * 24 + 3]["reasons"].startswith("2024-03-18: load at 15:00: ")


@pytest.mark.parametrize(("reasons", "explained"), [("none", 0), ("all", 960)])
def test_reasons_are_given_as_asked(
    series: str, series_model: str, tmp_path: Path, reasons: str, explained: int
) -> None:
    out = tmp_path / "scores.csv"
    operations.detect(Detect(model=series_model, data=series, output=str(out), reasons=reasons))
    assert sum(bool(row["reasons"]) for row in scores(out)) == explained


def test_without_a_model_one_is_fitted_and_kept(table: str, tmp_path: Path) -> None:
    out, model = tmp_path / "scores.jsonl", tmp_path / "kept"
    request = Detect(data=table, output=str(out), save=str(model), kind="plain", epochs=2, label="odd")
    document = operations.detect(request).document
    assert document["model"] == f"{model}.safetensors"
    assert len(out.read_text().splitlines()) == 300
    assert load_model(document["model"]).card["label"] == {"column": "odd", "normal": None}


def test_training_rows_are_judged_by_networks_that_did_not_see_them(series: str, tmp_path: Path) -> None:
    request = Detect(
        data=series, output=str(tmp_path / "scores.csv"), kind="plain", latent=2, epochs=5, false_alarm_rate=0.1
    )
    outcome = operations.detect(request)
    assert outcome.document["calibrated_on"] == "out-of-fold scores"
    assert outcome.findings is not None
    assert np.array_equal(outcome.findings.detection.samples, outcome.model.calibration.scores)


def test_a_label_is_no_feature_and_only_normal_rows_are_learned_from(table: str, table_model: str) -> None:
    model = load_model(table_model)
    assert model.format.cell_names() == ["amount", "length", "size"]
    assert model.card["samples"] == 299
    assert model.card["label"] == {"column": "odd", "normal": "0"}
    document = operations.detect(Detect(model=table_model, data=table, json=True)).document
    assert not any("odd" in notice for notice in document["notices"]), "the label is known, and ignored in silence"


def test_abnormal_steps_of_a_series_are_not_learned_from(series: str, tmp_path: Path) -> None:
    frame = read(series)
    day = pa.array(["odd" if row // 24 == ODD_DAY else "fine" for row in range(960)])
    path = tmp_path / "labelled.parquet"
    pq.write_table(frame.table.append_column("state", day), path)  # type: ignore[union-attr]
    request = Fit(data=str(path), output=str(tmp_path / "m"), label="state", normal="fine", kind="plain", epochs=2)
    assert operations.fit(request).model.card["samples"] == 39


def test_evaluate_puts_the_figures_first_and_baselines_beside(table: str, table_model: str) -> None:
    document = operations.evaluate(Evaluate(model=table_model, data=table, train=table)).document
    names = ["auroc", "average_precision", "accuracy", "precision", "recall", "f1", "false_alarm_rate", "threshold"]
    assert [name for name in document if name in names or name == "baselines"] == [*names, "baselines"]
    assert (document["auroc"], document["recall"], document["anomalies"]) == (1.0, 1.0, 1)
    assert {"pca", "isolation forest"} <= set(document["baselines"])


def test_a_model_fitted_to_its_label_is_not_evaluated_on_it(table: str, tmp_path: Path) -> None:
    operations.fit(Fit(data=table, output=str(tmp_path / "m"), kind="plain", epochs=1))
    with pytest.raises(UsageError, match="as a feature"):
        operations.evaluate(Evaluate(model=str(tmp_path / "m"), data=table, label="odd"))


def test_codes_decode_to_what_reconstruct_gives(table: str, table_model: str, tmp_path: Path) -> None:
    codes, decoded, reconstructed = (str(tmp_path / name) for name in ("codes.csv", "decoded.csv", "reconstructed.csv"))
    operations.encode(Encode(model=table_model, data=table, output=codes))
    operations.decode(Decode(model=table_model, codes=codes, output=decoded))
    operations.reconstruct(Convert(model=table_model, data=table, output=reconstructed))
    assert read(codes).table.column_names == ["latent0"]  # type: ignore[union-attr]
    one, other = read(decoded).table, read(reconstructed).table  # type: ignore[union-attr]
    assert one.column_names == other.column_names == ["amount", "length", "size"]
    assert np.allclose(one["amount"].to_numpy(), other["amount"].to_numpy(), rtol=1e-5)
    assert one["size"].to_pylist() == other["size"].to_pylist()


def test_codes_of_windows_carry_their_names(series: str, series_model: str, tmp_path: Path) -> None:
    codes, windows = tmp_path / "codes.csv", tmp_path / "windows.npy"
    operations.encode(Encode(model=series_model, data=series, output=str(codes)))
    assert [row["window"] for row in scores(codes)[:2]] == ["2024-03-01", "2024-03-02"]
    operations.decode(Decode(model=series_model, codes=str(codes), output=str(windows)))
    assert np.load(windows).shape == (40, 24, 1)


@pytest.mark.parametrize("shape", [(400,), (60, 12), (30, 16, 2)], ids=str)
def test_npy_keeps_its_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    data, model, out = tmp_path / "data.npy", str(tmp_path / "m"), tmp_path / "out.npy"
    np.save(data, np.sin(np.arange(np.prod(shape)) / 5).reshape(shape))
    operations.fit(Fit(data=str(data), output=model, kind="plain", epochs=2))
    operations.reconstruct(Convert(model=model, data=str(data), output=str(out)))
    assert np.load(out).shape == shape
    assert np.isfinite(np.load(out)).all()


def test_a_table_comes_back_with_its_own_order_of_columns(table: str, table_model: str, tmp_path: Path) -> None:
    turned, out = tmp_path / "turned.parquet", tmp_path / "out.parquet"
    pq.write_table(read(table).table.select(["size", "length", "amount"]), turned)  # type: ignore[union-attr]
    operations.reconstruct(Convert(model=table_model, data=str(turned), output=str(out)))
    assert pq.read_table(out).column_names == ["size", "length", "amount"]


def test_denoise_says_so_where_a_model_never_learned_to(table: str, table_model: str, tmp_path: Path) -> None:
    document = denoising.denoise(Denoise(model=table_model, data=table, output=str(tmp_path / "o.csv"))).document
    assert "not trained to remove noise" in document["notices"][-1]


def test_denoising_brings_a_series_closer_to_the_truth(tmp_path: Path) -> None:
    truth = np.sin(np.arange(4000) * 2 * np.pi / 25)
    noisy = truth + np.random.default_rng(0).normal(scale=0.5, size=len(truth))
    data, out = tmp_path / "noisy.npy", tmp_path / "out.npy"
    np.save(data, noisy)
    model = str(tmp_path / "m")
    operations.fit(
        Fit(data=str(data), output=model, kind="denoising", latent=2, epochs=20, window="25", false_alarm_rate=0.1)
    )
    denoising.denoise(Denoise(model=model, data=str(data), output=str(out)))
    assert np.mean((np.load(out) - truth) ** 2) < 0.3 * np.mean((noisy - truth) ** 2)


def test_inspect_tells_what_a_model_is(table_model: str, series_model: str) -> None:
    document = operations.inspect(Inspect(model=table_model)).document
    assert document["bytes"] == Path(table_model).stat().st_size
    assert [column["name"] for column in document["columns"]] == ["amount", "length", "size"]
    assert (document["latent"], document["training"]["samples"]) == (1, 299)
    model = load_model(table_model)
    assert document["parameters"] == sum(weights.numel() for weights in model.network.parameters())
    series = operations.inspect(Inspect(model=series_model)).document["columns"]
    assert series == {"channels": ["load"], "time": "timestamp", "window": "1d (24 steps)"}


@pytest.mark.parametrize(
    ("options", "slot", "option", "value"),
    [
        ({"set": ("corruption=swap",)}, "corruption", "name", "swap"),
        ({"set": ("corruption=none",)}, "corruption", "name", "none"),
        ({"set": ("corruption=swap", "corruption.rate=0.3")}, "corruption", "rate", 0.3),
        ({"set": ("loss=huber",)}, "loss", "name", "huber"),
        ({"set": ("network.layers=9,7",)}, "network", "layers", (9, 7)),
        ({"layers": (9, 7)}, "network", "layers", (9, 7)),
        ({"latent": 3}, "bottleneck", "size", 3),
        ({"epochs": 7, "recipe": "compact"}, "training", "epochs", 7),
        ({"columns": ("a", "b"), "label": "b"}, "format", "columns", ("a",)),
        ({"label": "b"}, "format", "ignore", ("b",)),
        ({"set": ("format.ignore=a",), "label": "b"}, "format", "ignore", ("a", "b")),
        ({"set": ("detection.false_alarm_rate=0.2",)}, "detection", "false_alarm_rate", 0.2),
    ],
)
def test_options_reach_their_part(options: dict[str, Any], slot: str, option: str, value: Any) -> None:
    part = getattr(planned(Learning(**options), "table"), slot)
    assert getattr(part, option) == value


def test_a_penalty_is_named_and_its_weight_set() -> None:
    plan = planned(Learning(kind="contractive", set=("penalties.contraction.weight=0.1",)), "table")
    assert [(each.name, each.weight) for each in plan.penalties] == [("contraction", 0.1)]
    assert planned(Learning(kind="contractive", set=("penalties=none",)), "table").penalties == ()


def test_a_rate_set_for_the_part_holds_unless_the_option_is_given(table: str, tmp_path: Path) -> None:
    request = Fit(
        data=table, output=str(tmp_path / "m"), kind="plain", epochs=1, set=("detection.false_alarm_rate=0.2",)
    )
    assert operations.fit(request).document["calibration"]["false_alarm_rate"] == 0.2
    given = operations.fit(request.replace(false_alarm_rate=0.1)).document
    assert given["calibration"]["false_alarm_rate"] == 0.1


@pytest.mark.parametrize(("text", "hint"), [("corrupt.rate=1", "corruption"), ("loss", "PART"), ("loss.=1", "PART")])
def test_a_set_that_cannot_be_read_is_refused(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        planned(Learning(set=(text,)), "table")
    assert hint in refused.value.how


def test_the_modality_is_found_out(table: str, series: str, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(50.0))
    np.save(tmp_path / "two.npy", np.ones((9, 4)))
    assert choose_modality(Learning(), read(table))[0] == "table"
    found, why = choose_modality(Learning(), read(series))
    assert found == "series"
    assert why == "reading as a series: time column 'timestamp'; --modality table to change"
    assert choose_modality(Learning(), read(tmp_path / "one.npy"))[0] == "series"
    assert choose_modality(Learning(), read(tmp_path / "two.npy"))[0] == "table"
    assert choose_modality(Learning(), np.ones((4, 5, 2)))[0] == "series"
    assert choose_modality(Learning(recipe="ecg"), read(table)) == ("series", "")
    assert choose_modality(Learning(modality="table"), read(series)) == ("table", "")


def test_options_of_series_are_refused_for_tables(table: str) -> None:
    with pytest.raises(UsageError, match="--window"):
        choose_modality(Learning(modality="table", window="8"), read(table))


@pytest.mark.parametrize(
    ("values", "value", "same"),
    [
        ([0, 1, 2], "1.0", [False, True, False]),
        ([0.0, 1.0, None], "1", [False, True, False]),
        (["1", "1.0", "one"], "1", [True, True, False]),
        ([True, False], "false", [False, True]),
        (["ok", "bad", None], "ok", [True, False, False]),
    ],
)
def test_labels_compare_as_numbers_where_both_are(values: list[Any], value: str, same: list[bool]) -> None:
    assert equal_to(pa.chunked_array([values]), value).tolist() == same


@pytest.mark.parametrize(
    ("values", "odd"), [([0, 1], [False, True]), ([True, False], [True, False]), (["Normal", "anomaly"], [False, True])]
)
def test_labels_without_a_normal_value_must_be_plain(values: list[Any], odd: list[bool], tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": values}), tmp_path / "y.parquet")
    assert anomaly_labels(read(tmp_path / "y.parquet"), "y", None).tolist() == odd


def test_labels_of_many_values_need_the_normal_one(tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": [1, 2, 3], "z": [1, None, 1]}), tmp_path / "y.parquet")
    data = read(tmp_path / "y.parquet")
    with pytest.raises(UsageError, match="which of them is normal"):
        anomaly_labels(data, "y", None)
    assert anomaly_labels(data, "y", "2").tolist() == [True, False, True]
    with pytest.raises(DataError, match="no row of column 'y' equals '9'"):
        anomaly_labels(data, "y", "9")
    with pytest.raises(DataError, match="row 1, column 'z': the label is missing"):
        anomaly_labels(data, "z", "1")


def test_places_are_checked_before_any_work(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("x\n1\n")
    check_place(str(tmp_path / "new.csv"), SCORES, "--output", str(data))
    with pytest.raises(UsageError, match=r"wanted a name that ends in \.csv"):
        check_place(str(tmp_path / "new.txt"), SCORES, "--output")
    with pytest.raises(DataError, match="its folder does not exist"):
        check_place(str(tmp_path / "none" / "new.csv"), SCORES, "--output")
    with pytest.raises(UsageError, match="is read too"):
        check_place(str(data), SCORES, "--output", str(data))


def test_a_row_belongs_to_its_oddest_window(series: str, series_model: str) -> None:
    model = load_model(series_model)
    places = model.format.pack(read(series)).places
    owner = owners(places, np.arange(40)[::-1])
    assert owner.tolist() == [row // 24 for row in range(960)]


def test_a_report_is_written(table: str, table_model: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    operations.detect(Detect(model=table_model, data=table, json=True, report=str(path)))
    assert path.read_text().startswith("<!doctype html>")


# Real data


@pytest.mark.parametrize(("name", "options"), [("mpg", {}), ("titanic", {"label": "survived", "normal": "1"})])
def test_real_tables_are_searched(shared_data: Path, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    out = tmp_path / "scores.csv"
    request = Detect(data=str(shared_data / "tables" / f"{name}.csv"), output=str(out), epochs=3, **options)
    operations.detect(request.replace(set=("network.layers=16,16",)))
    rows = scores(out)
    assert len(rows) == {"mpg": 398, "titanic": 891}[name]
    assert np.isfinite([float(row["anomaly_score"]) for row in rows]).all()


def test_a_real_series_is_searched(shared_data: Path, tmp_path: Path, need: Callable[[Path], Path]) -> None:
    taxi = need(shared_data / "nab" / "data" / "realKnownCause" / "nyc_taxi.csv")
    out = tmp_path / "scores.csv"
    outcome = operations.detect(Detect(data=str(taxi), output=str(out), window="1d", epochs=5))
    assert outcome.findings is not None
    assert "in 215 days" in outcome.findings.summary()
    rows = scores(out)
    assert len(rows) == 10_320
    assert rows[0]["time"] == "2014-07-01 00:00:00"
    assert all(row["covered"] == "true" for row in rows)


def test_beats_are_judged_by_their_labels(shared_data: Path, tmp_path: Path, need: Callable[[Path], Path]) -> None:
    beats = str(need(shared_data / "ecg5000" / "ECG5000_TRAIN.ts"))
    model = str(tmp_path / "ecg")
    operations.fit(
        Fit(data=beats, output=model, recipe="ecg", label="label", normal="1", epochs=10, false_alarm_rate=0.05)
    )
    document = operations.evaluate(Evaluate(model=model, data=beats)).document
    assert document["anomalies"] == 208
    assert document["auroc"] > 0.95
    held_out = str(shared_data / "ecg5000" / "ecg5000.npz:X_test+y_test")
    other = operations.evaluate(Evaluate(model=model, data=held_out, label="y_test", normal="1")).document
    assert (other["rows"], other["auroc"] > 0.95) == (4500, True)
