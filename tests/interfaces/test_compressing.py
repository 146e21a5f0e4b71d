"""Compressed files: what comes back, what it costs, and that a file that is not whole or not the model's is refused."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from hourglass import ImageAutoencoder
from hourglass.data.files import read
from hourglass.data.formats import Data
from hourglass.data.samples import Pictures
from hourglass.errors import DataError, SchemaError, UnreadableError, UsageError
from hourglass.interfaces import compressing, operations
from hourglass.interfaces.cli import run
from hourglass.interfaces.codec import compress_data, restore
from hourglass.interfaces.container import Container, array_bytes, array_from_bytes
from hourglass.interfaces.differences import Target, numbers_of, relative_error, unit_error
from hourglass.interfaces.options import Compress, Decompress, Fit, Reconstruct
from hourglass.interfaces.pictures import write_pictures

ROWS, STEPS = 200, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compressing")


@pytest.fixture(scope="module")
def table(folder: Path) -> str:
    """Columns that go together, words and flags among them, some cells missing; `note` is nothing to learn from."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=ROWS)
    rows = [
        ["" if i % 7 == 0 else f"{1000 + 100 * a:.2f}", f"{a:.3f}", "high" if a > 0 else "low", a > 1, f"note {i}"]
        for i, a in enumerate(size)
    ]
    path = folder / "table.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["amount", "size", "word", "flag", "note"], *rows])
    return str(path)


@pytest.fixture(scope="module")
def series(folder: Path) -> str:
    """20 days of hours and five hours more."""
    rng = np.random.default_rng(0)
    hours = np.arange(20 * STEPS + 5)
    values = 50 + 10 * np.sin(hours * 2 * np.pi / STEPS) + rng.normal(scale=0.5, size=len(hours))
    start = np.datetime64("2024-03-01T00", "h")
    rows = [[str(start + hour).replace("T", " ") + ":00", f"{value:.3f}"] for hour, value in enumerate(values)]
    path = folder / "series.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["when", "load"], *rows])
    return str(path)


@pytest.fixture(scope="module")
def pixels(folder: Path) -> str:
    """300 rows of 16 bytes that follow two causes."""
    rng = np.random.default_rng(0)
    values = 128 + (rng.normal(size=(300, 2)) @ rng.normal(size=(2, 16))) * 20 + rng.normal(size=(300, 16))
    path = folder / "pixels.npy"
    np.save(path, np.clip(values, 0, 255).astype(np.uint8))
    return str(path)


def fitted(data: str, **options: Any) -> str:
    path = Path(data).with_suffix(".safetensors")
    operations.fit(Fit(data=data, output=str(path), learning_rate=0.02, false_alarm_rate=0.2, **options))
    return str(path)


@pytest.fixture(scope="module")
def table_model(table: str) -> str:
    return fitted(table, kind="deep", latent=2, epochs=40, columns=("amount", "size", "word", "flag"))


@pytest.fixture(scope="module")
def series_model(series: str) -> str:
    return fitted(series, kind="deep", latent=3, epochs=40, window="24")


@pytest.fixture(scope="module")
def pixel_model(pixels: str) -> str:
    return fitted(pixels, kind="plain", latent=3, epochs=40)


def round_trip(data: str, model: str, out: Path, **options: Any) -> tuple[dict[str, Any], Path]:
    """What compressing said, and the file that decompressing wrote."""
    packed = out.with_suffix(".hgz")
    document = compressing.compress(Compress(data=data, model=model, output=str(packed), **options)).document
    compressing.decompress(Decompress(file=str(packed), model=model, output=str(out)))
    assert document["bytes"] == packed.stat().st_size
    return document, out


def test_a_table_comes_back_with_its_words_flags_and_missing_cells(
    table: str, table_model: str, tmp_path: Path
) -> None:
    document, out = round_trip(table, table_model, tmp_path / "back.csv", step=0.05)
    given, back = (pyarrow.csv.read_csv(path) for path in (table, out))
    assert back.column_names == ["amount", "size", "word", "flag"]
    missing = [value is None for value in given.column("amount").to_pylist()]
    assert [value is None for value in back.column("amount").to_pylist()] == missing
    same = np.mean([a == b for a, b in zip(*(each.column("word").to_pylist() for each in (given, back)), strict=True)])
    assert same > 0.9
    changed = document["error"]["words_changed"]
    assert 0 <= changed < 0.1
    assert document["notices"] == ["not stored, since the model does not know them: note"]


def test_finely_rounded_codes_give_the_plain_reconstruction(table: str, table_model: str, tmp_path: Path) -> None:
    _, out = round_trip(table, table_model, tmp_path / "back.csv", step=1e-4)
    plain = tmp_path / "plain.csv"
    operations.reconstruct(Reconstruct(model=table_model, data=table, output=str(plain)))
    wanted, got = (pyarrow.csv.read_csv(path) for path in (plain, out))
    assert got.column("word") == wanted.column("word")
    known = [value is not None for value in got.column("amount").to_pylist()]
    amounts = [np.array(each.column("amount").to_pylist(), dtype=float)[known] for each in (wanted, got)]
    assert amounts[1] == pytest.approx(amounts[0], rel=1e-4)


@pytest.mark.parametrize("error", ["10%", "12"])
def test_the_error_asked_for_is_kept_and_stated(pixels: str, pixel_model: str, tmp_path: Path, error: str) -> None:
    document, out = round_trip(pixels, pixel_model, tmp_path / "back.npy", error=error)
    given, back = np.load(pixels), np.load(out)
    assert back.dtype == np.uint8
    assert back.shape == given.shape
    target = Target.parse(error)
    stated = document["error"]["relative" if target.relative else "mean_squared"]
    assert 0.9 * target.value < stated <= target.value
    real = np.mean(np.square(given.astype(float) - back))
    assert real == pytest.approx(document["error"]["mean_squared"], rel=1e-6)


def test_a_larger_error_takes_fewer_bytes(pixels: str, pixel_model: str, tmp_path: Path) -> None:
    sizes = [
        round_trip(pixels, pixel_model, tmp_path / "back.npy", error=error)[0]["bytes"]
        for error in ("2%", "10%", "40%")
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]


def test_without_an_error_rounding_adds_a_tenth_to_the_models_own(
    pixels: str, pixel_model: str, tmp_path: Path
) -> None:
    error = round_trip(pixels, pixel_model, tmp_path / "back.npy")[0]["error"]
    assert error["model_relative"] < error["relative"] <= 1.1 * error["model_relative"] + 1e-3


def test_an_error_below_the_models_own_is_refused(pixels: str, pixel_model: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the model alone errs by"):
        compressing.compress(Compress(data=pixels, model=pixel_model, output=str(tmp_path / "x.hgz"), error="0.0001%"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", ["-1", "0", "five", "5%%", "inf", "1e999"])
def test_an_error_that_is_none_is_refused(error: str) -> None:
    with pytest.raises(UsageError, match="wanted an error above 0"):
        Target.parse(error)


def test_error_and_step_exclude_each_other(pixels: str, pixel_model: str, tmp_path: Path) -> None:
    request = Compress(data=pixels, model=pixel_model, output=str(tmp_path / "x.hgz"), error="5%", step=0.1)
    with pytest.raises(UsageError, match="--error and --step"):
        compressing.compress(request)


def test_a_series_comes_back_with_its_times_and_its_windows_do_not_overlap(
    series: str, series_model: str, tmp_path: Path
) -> None:
    document, out = round_trip(series, series_model, tmp_path / "back.csv")
    given, back = (pyarrow.csv.read_csv(path) for path in (series, out))
    assert back.column("when") == given.column("when")
    assert document["samples"] == 21  # 485 hours: 20 days, and one window more for the last five hours
    assert document["notices"] == ["windows overlap: 19 steps of 504 are stored twice"]
    loads = [np.array(each.column("load").to_pylist(), dtype=float) for each in (given, back)]
    assert np.mean(np.square(loads[0] - loads[1])) == pytest.approx(document["error"]["mean_squared"], rel=1e-3)
    assert np.corrcoef(loads)[0, 1] > 0.95


def test_bytes_and_ratios_are_those_of_the_files(series: str, series_model: str, tmp_path: Path) -> None:
    document, _ = round_trip(series, series_model, tmp_path / "back.csv")
    assert document["input_bytes"] == Path(series).stat().st_size
    assert document["ratio"] == pytest.approx(document["input_bytes"] / document["bytes"])
    assert document["bytes"] < document["gzip_bytes"] < document["input_bytes"]
    assert sum(document["sections"].values()) < document["bytes"] < sum(document["sections"].values()) + 400


def test_an_array_of_an_npz_file_can_be_named(pixels: str, pixel_model: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", X=np.load(pixels), Y=np.zeros((3, 3)))
    document, out = round_trip(f"{tmp_path / 'two.npz'}:X", pixel_model, tmp_path / "back.npy", error="20%")
    assert np.load(out).shape == (300, 16)
    assert document["input_bytes"] == (tmp_path / "two.npz").stat().st_size


def test_another_model_is_refused_by_name(pixels: str, pixel_model: str, series_model: str, tmp_path: Path) -> None:
    round_trip(pixels, pixel_model, tmp_path / "back.npy")
    request = Decompress(file=str(tmp_path / "back.hgz"), model=series_model, output=str(tmp_path / "other.npy"))
    with pytest.raises(SchemaError, match="made with another model") as caught:
        compressing.decompress(request)
    assert "back.hgz" in str(caught.value)
    assert not (tmp_path / "other.npy").exists()


@pytest.fixture(scope="module")
def small(pixels: str, pixel_model: str, folder: Path) -> bytes:
    path = folder / "small.hgz"
    compressing.compress(Compress(data=pixels, model=pixel_model, output=str(path), error="20%"))
    return path.read_bytes()


def test_any_byte_changed_is_noticed(small: bytes) -> None:
    for place in range(len(small)):
        broken = bytearray(small)
        broken[place] ^= 1 << (place % 8)
        with pytest.raises(UnreadableError, match=r"x\.hgz: .*damaged"):
            Container.from_bytes(bytes(broken), "x.hgz")


def test_any_cut_is_noticed(small: bytes) -> None:
    for length in [*range(0, len(small), 7), len(small) - 1]:
        with pytest.raises(UnreadableError, match=r"x\.hgz"):
            Container.from_bytes(small[:length], "x.hgz")


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 10**15},
        {"samples": -1},
        {"samples": "many"},
        {"samples": 299},
        {"places": {"steps": 1}},
        {"places": {"steps": 4, "length": 10**15, "total": 10**15, "rows": 10**15, "shape": None}},
        {"dtype": "object"},
        {"columns": 5},
    ],
    ids=str,
)
def test_a_header_that_lies_is_refused_or_harmless(
    small: bytes, pixel_model: str, tmp_path: Path, change: dict[str, Any]
) -> None:
    whole = Container.from_bytes(small, "x")
    path = tmp_path / "lies.hgz"
    path.write_bytes(dataclasses.replace(whole, header=whole.header | change).to_bytes())
    request = Decompress(file=str(path), model=pixel_model, output=str(tmp_path / "back.npy"))
    if "dtype" in change or "columns" in change:
        compressing.decompress(request)
    else:
        with pytest.raises(UnreadableError, match=r"lies\.hgz"):
            compressing.decompress(request)


@pytest.mark.parametrize("name", ["codes", "rounding"])
@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 40, bytes(range(60))], ids=["none", "0", "255", "any"])
def test_a_section_that_lies_is_refused(
    small: bytes, pixel_model: str, tmp_path: Path, name: str, content: bytes
) -> None:
    whole = Container.from_bytes(small, "x")
    path = tmp_path / "lies.hgz"
    path.write_bytes(dataclasses.replace(whole, sections=whole.sections | {name: content}).to_bytes())
    with pytest.raises(UnreadableError, match=r"lies\.hgz"):
        compressing.decompress(Decompress(file=str(path), model=pixel_model, output=str(tmp_path / "back.npy")))


def test_a_newer_file_is_refused_with_its_version() -> None:
    content = Container({}, {}).to_bytes()
    from hourglass.interfaces import container

    newer = content[:3] + b"\x02" + content[4:-8]
    with pytest.raises(UnreadableError, match=r"version 2; this Hourglass reads up to 1"):
        Container.from_bytes(newer + container._checksum(newer), "x")


@pytest.mark.parametrize("content", [b"", b"HGZ", b"PK\x03\x04 something else", b"HGZ\x01"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.hgz"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"x\.hgz"):
        compressing.decompress(Decompress(file=str(path), model="none.safetensors", output=None))
    with pytest.raises(DataError, match="no such file"):
        compressing.decompress(Decompress(file=str(path) + "z", model="none.safetensors", output=None))


def test_places_come_back_exactly() -> None:
    rng = np.random.default_rng(0)
    for values in (np.arange(0, 10**6, 24), rng.integers(-(2**62), 2**62, 50), np.zeros(0, np.int64), np.array([5])):
        assert np.array_equal(array_from_bytes(array_bytes(values), len(values), "x"), values)
    assert len(array_bytes(np.arange(0, 10**6, 24))) < 500


def test_relative_errors_are_shares_of_each_columns_variance(pixel_model: str) -> None:
    from hourglass import load_model

    form = load_model(pixel_model).format
    samples = np.random.default_rng(0).normal(size=(500, 16)) * np.arange(1, 17) + 100
    means = np.broadcast_to(samples.mean(axis=0), samples.shape)
    assert relative_error(form, samples, means) == pytest.approx(1)
    assert relative_error(form, samples, samples) == 0
    assert unit_error(samples, samples + 2) == pytest.approx(4)
    assert relative_error(form, means, means) == 0
    assert relative_error(form, means, means + 1) == 1


def test_the_command_line_goes_there_and_back(
    pixels: str, pixel_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, out = str(tmp_path / "x.hgz"), str(tmp_path / "x.npy")
    assert run(["compress", pixels, pixel_model, "-o", packed, "--error", "10%"]) == 0
    talk = capsys.readouterr().err
    assert "300 samples in" in talk
    assert "of the variance" in talk
    assert run(["decompress", packed, pixel_model, "-o", out]) == 0
    assert read(out).table.num_rows == 300  # type: ignore[union-attr]
    assert run(["compress", pixels, pixel_model, "-o", str(tmp_path / "x.zip")]) == 2
    assert run(["decompress", packed, pixel_model, "--json"]) == 2


# Pictures


def blobs(sizes: list[tuple[int, int]], colour: bool = False) -> Pictures:
    """A bright spot somewhere on grey, in pictures of the given sizes."""
    rng = np.random.default_rng(0)
    arrays = []
    for height, width in sizes:
        rows, columns = np.mgrid[:height, :width]
        spot = np.exp(-(np.square(rows - rng.uniform(0, height)) + np.square(columns - rng.uniform(0, width))) / 8)
        grey = np.rint(60 + 150 * spot).astype(np.uint8)
        arrays.append(np.stack([grey, grey // 2, 255 - grey], axis=2) if colour else grey)
    names = [f"part/{place:02d}.png" for place in range(len(sizes))]
    return Pictures(arrays, pa.table({"name": names}), "spots")


PICTURES: dict[str, tuple[Data, dict[str, Any]]] = {
    "one size": (blobs([(8, 8)] * 60), {}),
    "mixed sizes": (blobs([(8, 8), (12, 10), (9, 14)] * 20, colour=True), {}),
    "tiles": (blobs([(16, 16), (19, 23), (6, 30)] * 10), {"format__tile": 8}),
    "array": (np.stack(list(blobs([(8, 8)] * 60).arrays)), {}),
    "channels first": (np.random.default_rng(0).random((60, 3, 8, 8)), {}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_come_back_in_their_sizes_types_and_names(name: str) -> None:
    data, options = PICTURES[name]
    estimator = ImageAutoencoder(kind="plain", latent=4, epochs=8).set_params(**options).fit(data)
    model = estimator.model_
    made = compress_data(model, "sum", data, step=0.01)
    result = restore(Container.from_bytes(made.content, "x"), model, "x")
    expected = model.reconstruct(data)
    assert type(result) is type(expected)
    if isinstance(expected, Pictures) and isinstance(result, Pictures):
        assert result.table == expected.table.select(["name"])
        assert [each.dtype for each in result.arrays] == [each.dtype for each in expected.arrays]
        assert [each.shape for each in result.arrays] == [each.shape for each in expected.arrays]
    one, other = numbers_of(expected), numbers_of(result)
    assert other == pytest.approx(one, abs=2 if one.max() > 2 else 0.05)
    assert any("tiles overlap" in notice for notice in made.notices) == (name == "tiles")
    assert made.error["mean_squared"] == pytest.approx(np.square(numbers_of_data(data) - other).mean(), rel=0.05)


def numbers_of_data(data: Data) -> np.ndarray:
    return np.concatenate([np.asarray(each, dtype=float).ravel() for each in getattr(data, "arrays", data)])


def test_a_folder_of_pictures_becomes_a_folder_of_pictures_again(tmp_path: Path) -> None:
    given = tmp_path / "spots"
    write_pictures(blobs([(8, 8)] * 40), str(given))
    model = str(tmp_path / "spots.safetensors")
    operations.fit(Fit(data=str(given), output=model, kind="plain", latent=4, epochs=5, false_alarm_rate=0.2))
    document, out = round_trip(str(given), model, tmp_path / "back")
    assert sorted(path.relative_to(out) for path in out.rglob("*.png")) == sorted(
        path.relative_to(given) for path in given.rglob("*.png")
    )
    assert document["samples"] == 40
    assert document["input_bytes"] >= sum(path.stat().st_size for path in given.rglob("*.png"))


@pytest.mark.parametrize(
    "change",
    [
        {"pictures": 10**14},
        {"pictures": 59},
        {"kinds": ["object"]},
        {"kinds": []},
        {"form": {"kind": "rows"}},
        {"form": 3},
    ],
    ids=str,
)
def test_places_of_pictures_that_lie_are_refused(change: dict[str, Any]) -> None:
    data, _ = PICTURES["one size"]
    model = ImageAutoencoder(kind="plain", latent=2, epochs=1).fit(data).model_
    container = Container.from_bytes(compress_data(model, "sum", data, step=1).content, "x")
    header = container.header | {"places": container.header["places"] | change}
    with pytest.raises(UnreadableError):
        restore(dataclasses.replace(container, header=header), model, "x")
    sections = container.sections | {"sizes": array_bytes(np.full(120, 2**40))}
    with pytest.raises(UnreadableError):
        restore(dataclasses.replace(container, sections=sections), model, "x")
