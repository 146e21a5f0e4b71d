"""The map of the codes: every sample is a point of it, and what colours it is told."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command

from hourglass import load_model
from hourglass.interfaces.cli import run
from hourglass.interfaces.figures import label_map
from hourglass.interfaces.maps import MOST_LABELS


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rows of three groups, named in a column, one of them by what HTML would take for a mark."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "group"])
        for row in range(120):
            group = row % 3
            cells = np.eye(3)[group] * 5 + random.normal(size=3)
            writer.writerow([*(f"{cell:.3f}" for cell in cells), ["ten", "2", "<b>bold"][group]])
    return path


@pytest.fixture(scope="module", params=["2", "3"], ids=["two numbers", "three numbers"])
def model(request: pytest.FixtureRequest, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "rows.safetensors"
    words = ("--kind", "plain", "--epochs", "5", "--latent", request.param, "--false-alarm-rate", "0.1")
    assert run(["fit", str(rows), "-o", str(path), "--label", "group", "--quiet", *words]) == 0
    return path


def figure_of(path: Path) -> dict[str, Any]:
    """The one plotly figure of a page."""
    found = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text(), re.DOTALL)
    assert len(found) == 1
    figure: dict[str, Any] = json.loads(found[0])
    return figure


def test_every_row_is_a_point_coloured_by_its_score(
    hourglass: Command, model: Path, rows: Path, tmp_path: Path
) -> None:
    code, out, err = hourglass("encode", model, rows, "--plot", tmp_path / "map.html")
    assert (code, out) == (0, "")
    assert "map.html" in err
    traces = figure_of(tmp_path / "map.html")["data"]
    assert sum(len(trace["x"]) for trace in traces) == 120
    assert all("coloraxis" in trace["marker"] for trace in traces)
    assert "://" not in re.sub(r"<script.*?</script>", "", (tmp_path / "map.html").read_text(), flags=re.DOTALL)


def test_a_column_colours_the_points(hourglass: Command, model: Path, rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    assert hourglass("encode", model, rows, "--plot", path, "--label", "group")[0] == 0
    traces = figure_of(path)["data"]
    assert [trace["name"] for trace in traces] == ["2", "&lt;b&gt;bold", "ten"]
    assert [len(trace["x"]) for trace in traces] == [40, 40, 40]
    assert len({trace["marker"]["color"] for trace in traces}) == 3
    if load_model(model).latent_size == 2:
        codes = load_model(model).encode(_frame(rows))
        np.testing.assert_allclose(traces[0]["x"], codes[1::3, 0], rtol=1e-4, atol=1e-4)


def test_clusters_are_a_column_and_the_colours_of_the_map(
    hourglass: Command, model: Path, rows: Path, tmp_path: Path
) -> None:
    path, codes = tmp_path / "map.html", tmp_path / "codes.csv"
    done = hourglass("encode", model, rows, "--clusters", "3", "--plot", path, "-o", codes, "--json")
    assert done.code == 0
    assert sum(done.document["clusters"]) == 120
    assert f"3 clusters ({', '.join(map(str, done.document['clusters']))} samples)" in done.err
    table = list(csv.DictReader(codes.read_text().splitlines()))
    assert list(table[0])[:2] == ["cluster", "latent0"]
    counts = [sum(row["cluster"] == str(group) for row in table) for group in range(3)]
    assert counts == done.document["clusters"] == sorted(counts, reverse=True)
    traces = figure_of(path)["data"]
    assert [(trace["name"], len(trace["x"])) for trace in traces] == [(str(i), n) for i, n in enumerate(counts)]
    assert hourglass("decode", model, codes, "-o", tmp_path / "back.csv").code == 0


def test_a_column_colours_clusters_too(hourglass: Command, model: Path, rows: Path, tmp_path: Path) -> None:
    words = ("--clusters", "2", "--label", "group", "--plot", tmp_path / "map.html")
    done = hourglass("encode", model, rows, *words)
    assert (done.code, done.out) == (0, "")
    assert "2 clusters (" in done.err
    assert len(figure_of(tmp_path / "map.html")["data"]) == 3


def _frame(path: Path) -> Any:
    from hourglass.data.files import read

    return read(path)


def test_codes_are_written_beside_the_map_where_asked(
    hourglass: Command, model: Path, rows: Path, tmp_path: Path
) -> None:
    words = ("--plot", tmp_path / "map.html", "-o", tmp_path / "codes.npy", "--json")
    code, out, _ = hourglass("encode", model, rows, *words)
    document = json.loads(out)
    assert code == 0
    assert np.load(tmp_path / "codes.npy").shape == tuple(document["shape"])
    assert document["plot"] == str(tmp_path / "map.html")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--plot", "{folder}/map.png"), ".html"),
        (("--plot", "{folder}/map.html", "--label", "grup"), "did you mean 'group'"),
        (("--label", "group"), "--plot FILE.html"),
        (("--clusters", "3", "-o", "{folder}/codes.npy"), "-o codes.csv"),
        (("--clusters", "1"), "at least 2"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_drawn_is_refused(
    hourglass: Command, model: Path, rows: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, err = hourglass("encode", model, rows, *(word.format(folder=tmp_path) for word in words))
    assert code == 2
    assert said in err
    assert not list(tmp_path.iterdir())


def test_windows_have_no_label_of_their_own(hourglass: Command, tmp_path: Path) -> None:
    with open(tmp_path / "hours.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "load", "kind"])
        for hour in range(24 * 20):
            writer.writerow([f"2024-03-{1 + hour // 24:02d} {hour % 24:02d}:00", f"{np.sin(hour / 4):.3f}", hour % 2])
    words = ("--kind", "plain", "--epochs", "2", "--window", "1d", "--columns", "load", "--false-alarm-rate", "0.1")
    assert hourglass("fit", tmp_path / "hours.csv", "-o", tmp_path / "m", *words)[0] == 0
    plot = ("--plot", tmp_path / "map.html")
    assert hourglass("encode", tmp_path / "m", tmp_path / "hours.csv", *plot)[0] == 0
    code, _, err = hourglass("encode", tmp_path / "m", tmp_path / "hours.csv", *plot, "--label", "kind")
    assert code == 2
    assert "480 values" in err


def test_many_labels_keep_apart() -> None:
    labels = np.array([str(i) for i in range(MOST_LABELS)])
    points = np.zeros((MOST_LABELS, 2))
    traces = label_map(points, labels, list(labels), ("x", "y"), "").spec["data"]
    assert [trace["name"] for trace in traces] == list(labels)
    assert len({(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in traces}) == MOST_LABELS
