"""`finetune` and `predict`: from a file with labels to a model that gives them, and what stands in the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from commands import Command

from hourglass import AutoencoderClassifier, AutoencoderRegressor, load, load_model
from hourglass.core.heads import Classes
from hourglass.errors import DataError, HourglassError, UsageError
from hourglass.interfaces import finetuning, operations
from hourglass.interfaces.finetuning import choose_task, labels_of
from hourglass.interfaces.options import Convert, Encode, Evaluate, Finetune, Fit, Inspect

QUICK: dict[str, Any] = {"epochs": 20, "learning_rate": 0.05, "validation": 0.25}
FEW_FOLDS: dict[str, Any] = {"set": ("detection.folds=2",)}


def write(path: Path, names: list[str], rows: list[list[Any]]) -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


def read(path: str | Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """300 rows of three columns that go together; a `town`, known of two rows in three, a `grade` and a `price`."""
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    noise = 0.1 * random.normal(size=(3, 300))
    rows = [
        [
            f"{a + noise[0, i]:.4f}",
            f"{-a + noise[1, i]:.4f}",
            f"{2 * a + noise[2, i]:.4f}",
            ("Oslo" if a > 0 else "Ghent") if i % 3 else "",
            int(a > 0) + 3,
            f"{1000 + 100 * a:.2f}",
        ]
        for i, a in enumerate(x)
    ]
    names = ["length", "depth", "width", "town", "grade", "price"]
    return write(tmp_path_factory.mktemp("data") / "table.csv", names, rows)


@pytest.fixture(scope="module")
def model(table: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("models") / "plain.safetensors")
    columns = ("length", "depth", "width")
    operations.fit(
        Fit(data=table, output=path, kind="plain", latent=1, epochs=10, columns=columns, label="town", **FEW_FOLDS)
    )
    return path


@pytest.fixture(scope="module")
def taught(model: str, table: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("models") / "taught.safetensors")
    finetuning.finetune(Finetune(model=model, data=table, label="town", output=path, **QUICK))
    return path


def test_words_are_learned_from_the_rows_that_have_one(model: str, table: str, tmp_path: Path) -> None:
    request = Finetune(model=model, data=table, label="town", output=str(tmp_path / "taught"), **QUICK)
    outcome = finetuning.finetune(request)
    head = outcome.document["head"]
    assert (head["task"], head["classes"], head["labelled"]) == ("classifier", ["Ghent", "Oslo"], 200)
    assert head["held_out"]["rows"] == 50
    assert head["held_out"]["accuracy"] > 0.8 > head["held_out"]["majority"]
    assert outcome.document["notices"][0] == "learning from the 200 of 300 rows that have a 'town'"
    assert isinstance(load(outcome.document["model"]), AutoencoderClassifier)
    (line, place) = finetuning.finetune_lines(outcome.document)
    assert "classifier (Ghent, Oslo), taught by 200 labelled rows; accuracy" in line
    assert place.endswith("taught.safetensors")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_predictions_are_written_beside_their_rows(taught: str, table: str, suffix: str, tmp_path: Path) -> None:
    place = tmp_path / f"out.{suffix}"
    outcome = operations.predict(Convert(model=taught, data=table, output=str(place)))
    assert outcome.document["shape"] == [300, 3]
    if suffix == "csv":
        rows = read(place)
        assert list(rows[0]) == ["row", "prediction", "probability_Ghent", "probability_Oslo"]
        towns = ["Oslo" if float(row["price"]) > 1000 else "Ghent" for row in read(table)]
        right = [row["prediction"] == town for row, town in zip(rows, towns, strict=True)]
        assert np.mean(right) > 0.9
        for row in rows:
            assert float(row["probability_Ghent"]) + float(row["probability_Oslo"]) == pytest.approx(1)


def test_numbers_are_learned_and_predicted_in_their_units(model: str, table: str, tmp_path: Path) -> None:
    path = str(tmp_path / "price.safetensors")
    outcome = finetuning.finetune(Finetune(model=model, data=table, label="price", output=path, **QUICK))
    head = outcome.document["head"]
    assert (head["task"], head["numbers"]) == ("regressor", 1)
    assert head["held_out"]["r2"] > 0.9
    assert "R2 0.9" in finetuning.finetune_lines(outcome.document)[0]
    assert isinstance(load(path), AutoencoderRegressor)
    operations.predict(Convert(model=path, data=table, output=str(tmp_path / "out.npy")))
    predictions = np.load(tmp_path / "out.npy")
    assert predictions.shape == (300, 2)
    assert 800 < predictions[:, 1].mean() < 1200


def test_the_taught_model_keeps_its_other_verbs(taught: str, model: str, table: str, tmp_path: Path) -> None:
    for path in (taught, model):
        operations.encode(Encode(model=path, data=table, output=str(tmp_path / f"{Path(path).stem}.npy")))
    np.testing.assert_array_equal(np.load(tmp_path / "taught.npy"), np.load(tmp_path / "plain.npy"))
    operations.evaluate(Evaluate(model=taught, data=table, label="grade", normal="3"))
    assert load_model(taught).card["label"] == {"column": "town", "normal": None}


def test_inspect_names_what_was_taught(taught: str, model: str) -> None:
    assert operations.inspect(Inspect(model=model)).document["head"] is None
    head = operations.inspect(Inspect(model=taught)).document["head"]
    assert head["classes"] == ["Ghent", "Oslo"]
    assert head["frozen"] is False


@pytest.mark.parametrize(
    ("column", "task", "words"),
    [
        (pa.array(["a", "b"]), "classify", ""),
        (pa.array(["a", "b"]).dictionary_encode(), "classify", ""),
        (pa.array([True, False]), "classify", ""),
        (pa.array([1, 2, 2]), "classify", "2 different whole numbers"),
        (pa.array([1.0, 2.0, 2.0]), "classify", "2 different whole numbers"),
        (pa.array([0.5, 2.0]), "regress", "2 different numbers"),
        (pa.array(range(21)), "regress", "21 different numbers"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else repr(value),
)
def test_what_labels_are_is_seen_from_their_type(column: pa.Array, task: str, words: str) -> None:
    chosen, why = choose_task(pa.chunked_array([column]), None)
    assert chosen == task
    assert words in why
    assert bool(words) == bool(why)
    assert choose_task(pa.chunked_array([column]), "regress") == ("regress", "")


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pa.array(["b", "a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([True, False, True]), [False, True]),
        (pa.array([2.0, 1.0, 2.0]), [1, 2]),
        (pa.array([0.5, 1.0, 0.5]), [0.5, 1.0]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else repr(value),
)
def test_classes_are_what_stands_in_the_column(column: pa.Array, labels: list[Any]) -> None:
    _, meaning = labels_of(pa.chunked_array([column]), "classify", "y")
    assert isinstance(meaning, Classes)
    assert meaning.labels.tolist() == labels
    assert [type(each) for each in meaning.labels.tolist()] == [type(each) for each in labels]


@pytest.mark.parametrize(
    ("column", "task", "words"),
    [
        (pa.array(["a", "b"]), "regress", "quantities are numbers"),
        (pa.array(["a", "b", "c"]), "classify", "no label occurs twice"),
        (pa.array([1.0, float("inf")]), "regress", "not finite"),
        (pa.array([[1], [2]]), "classify", "wanted words, flags or whole numbers"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else repr(value),
)
def test_labels_that_cannot_be_learned_are_refused(column: pa.Array, task: str, words: str) -> None:
    with pytest.raises(HourglassError, match=words):
        labels_of(pa.chunked_array([column]), task, "y")


def test_a_label_that_was_a_feature_is_refused(table: str, model: str, tmp_path: Path) -> None:
    request = {"model": model, "data": table, "output": str(tmp_path / "taught")}
    with pytest.raises(UsageError, match="as a feature"):
        finetuning.finetune(Finetune(**request, label="length"))
    with pytest.raises(UsageError, match="did you mean 'town'"):
        finetuning.finetune(Finetune(**request, label="twon"))


def test_a_column_without_any_label_is_refused(model: str, tmp_path: Path) -> None:
    path = write(tmp_path / "bare.csv", ["length", "depth", "width", "town"], [[1, 2, 3, ""], [2, 3, 4, ""]])
    with pytest.raises(DataError, match="no label"):
        finetuning.finetune(Finetune(model=model, data=path, label="town", output=str(tmp_path / "taught")))


def test_pictures_in_folders_are_told_apart(tmp_path: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for place, folder in ((2, "left"), (5, "right")):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 60, (8, 8), dtype=np.uint8)
            pixels[:, place] = 250
            Image.fromarray(pixels).save(tmp_path / "pictures" / folder / f"{number:02}.png")
    data, plain, taught = (str(tmp_path / name) for name in ("pictures", "plain", "taught"))
    operations.fit(Fit(data=data, output=plain, kind="plain", latent=4, epochs=10, **FEW_FOLDS))
    outcome = finetuning.finetune(Finetune(model=plain, data=data, label="folder", output=taught, **QUICK))
    assert outcome.document["head"]["held_out"]["accuracy"] == 1.0
    operations.predict(Convert(model=taught, data=data, output=str(tmp_path / "out.csv")))
    rows = read(tmp_path / "out.csv")
    assert list(rows[0])[:2] == ["name", "prediction"]
    assert all(row["prediction"] in row["name"] for row in rows)


def test_the_command_line_teaches_predicts_and_inspects(
    hourglass: Command, model: str, table: str, tmp_path: Path
) -> None:
    taught = tmp_path / "taught"
    given = (
        "--label",
        "town",
        "-o",
        taught,
        "--epochs",
        "40",
        "--learning-rate",
        "0.05",
        "--freeze",
        "--validation",
        "0.2",
    )
    code, out, err = hourglass("finetune", model, table, *given)
    assert (code, out) == (0, "")
    assert "note: learning from the 200 of 300 rows" in err
    assert "accuracy" in err
    assert "(they chose the best epoch too)" in err
    code, out, _ = hourglass("predict", taught, table)
    assert code == 0
    assert out.splitlines()[0] == "row,prediction,probability_Ghent,probability_Oslo"
    assert len(out.splitlines()) == 301
    code, out, _ = hourglass("inspect", taught)
    assert "head:       classifier (Ghent, Oslo), taught by 200 labelled rows; accuracy" in out


def test_the_command_line_says_as_json_what_it_learned(
    hourglass: Command, model: str, table: str, tmp_path: Path
) -> None:
    code, out, err = hourglass(
        "finetune", model, table, "--label", "price", "-o", tmp_path / "t", "--epochs", "2", "--json", "--quiet"
    )
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["head"]["task"] == "regressor"
    assert document["training"]["epochs"] == 2
    assert document["head"]["held_out"] == {}
    assert "none held out" in document["notices"][0]


def test_an_untaught_model_predicts_nothing(hourglass: Command, model: str, table: str) -> None:
    code, out, err = hourglass("predict", model, table)
    assert (code, out) == (2, "")
    assert "hourglass finetune MODEL DATA --label COLUMN -o TUNED" in err
