"""Reports on every modality: whole, self-contained, harmless whatever the data are called, drawn without an error."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from browsing import chromium, set_screen

from hourglass.core.fitted import Detection, FittedModel, Reason
from hourglass.data.formats import Data
from hourglass.data.samples import Frame, Pictures
from hourglass.errors import DataError
from hourglass.estimators.anomaly import AnomalyDetector
from hourglass.estimators.baselines import rank_correlation, reconstruction_error
from hourglass.estimators.modalities import ImageAutoencoder, SeriesAutoencoder, TableAutoencoder
from hourglass.interfaces import figures
from hourglass.interfaces.page import Figure, Part, Section, Table, Text, render
from hourglass.interfaces.report import build_section, subject_of, write_page, write_report
from hourglass.interfaces.rivals import by_errors, by_labels
from hourglass.interfaces.subject import Subject
from hourglass.interfaces.words import number_words, pair_words, reason_words

HOSTILE = [
    "</script><script>window.hacked=1</script>",
    '<img src=x onerror="window.hacked=1">',
    '<a href="https://evil.example/">go</a> & "more"',
    "%{x} {{ 7 * 7 }} $x$",
    "--blue",
]
COMMON = ["Scores", "Map of the codes", "Beside simpler methods", "Training", "The data", "Settings and origin"]
VOID = {"meta", "img", "br", "link", "input", "hr"}


@dataclass(frozen=True)
class Case:
    """Something to report on."""

    model: FittedModel
    data: Data
    detection: Detection
    train: Data | None = None
    labels: np.ndarray | None = None

    def section(self, title: str = "A report") -> Section:
        return build_section(title, self.subject)

    @property
    def subject(self) -> Subject:
        return subject_of(self.model, self.data, self.detection, train=self.train, labels=self.labels)


def fitted(estimator: Any, data: Data, **more: Any) -> Case:
    model = AnomalyDetector(estimator, 0.1).fit(data).model_
    return Case(model, data, model.detect(data), **more)


@pytest.fixture(scope="module")
def numbers() -> Case:
    """400 rows of numbers that go together, some missing; rows 7 and 9 do not."""
    generator = np.random.default_rng(0)
    data = generator.normal(size=(400, 2)) @ generator.normal(size=(2, 6)) * 1000 + 5000
    data[[7, 9]] += 9000 * generator.normal(size=(2, 6))
    data[generator.random(data.shape) < 0.02] = np.nan
    labels = np.isin(np.arange(400), (7, 9))
    return fitted(TableAutoencoder(kind="plain", latent=2, epochs=5), data, train=data[20:], labels=labels)


@pytest.fixture(scope="module")
def mixed() -> Case:
    """A table with every kind of column, missing cells, and names and words that try to break out."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=120)
    words = np.where(x > 0, HOSTILE[0], HOSTILE[1]).tolist()
    words[3] = None
    columns: dict[str, Any] = {
        HOSTILE[0]: x,
        HOSTILE[1]: words,
        HOSTILE[2]: [None, *(2 * x[1:])],
        HOSTILE[3]: x > 0,
        HOSTILE[4]: [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(120)],
    }
    columns[HOSTILE[0]][5] = 40.0
    return fitted(TableAutoencoder(latent=2, epochs=2), Frame(pa.table(columns), notices=(HOSTILE[1],)))


@pytest.fixture(scope="module")
def days() -> Case:
    """Forty days of two hourly channels in no order of time, day 30 flat."""
    hours = np.arange(40 * 24)
    times = [datetime(2024, 1, 1) + timedelta(hours=int(hour)) for hour in hours]
    value = 10 + np.sin(2 * np.pi * hours / 24) + 0.05 * np.random.default_rng(0).normal(size=len(hours))
    value[30 * 24 : 31 * 24] = 20
    table = pa.table({"time": times, HOSTILE[1]: value, "steady": np.cos(2 * np.pi * hours / 24)})
    frame = Frame(table.take(np.random.default_rng(1).permutation(len(hours))))
    return fitted(SeriesAutoencoder(kind="plain", window="1d", latent=3, epochs=30), frame)


@pytest.fixture(scope="module")
def channels() -> Case:
    """An array of eight channels without times, windows overlapping, a gap in one channel."""
    generator = np.random.default_rng(0)
    data = np.sin(np.arange(600)[:, None] / 4 + np.arange(8)) + 0.1 * generator.normal(size=(600, 8))
    data[300:310, 6] = 9.0
    data[100:110, 2] = np.nan
    return fitted(SeriesAutoencoder(kind="plain", window=16, latent=2, epochs=2), data)


@pytest.fixture(scope="module")
def windows() -> Case:
    """One window a row, one number of a code."""
    data = np.sin(np.arange(20) / 3 + np.random.default_rng(0).normal(size=(60, 1)))
    return fitted(SeriesAutoencoder(kind="plain", latent=1, epochs=2), data)


@pytest.fixture(scope="module")
def pictures() -> Case:
    """Stripes of which picture 30 is noise, in two folders; names that try to break out."""
    generator = np.random.default_rng(0)
    arrays = [
        np.roll(np.tile(np.array([200, 60], np.uint8), (8, 4)), i, axis=1) + generator.integers(9) for i in range(60)
    ]
    arrays[30] = generator.integers(0, 255, (8, 8)).astype(np.uint8)
    table = pa.table({"name": [f"{HOSTILE[i % 3]} {i}" for i in range(60)], "folder": ["left", "right"] * 30})
    return fitted(ImageAutoencoder(kind="plain", latent=2, epochs=20), Pictures(arrays, table, notices=(HOSTILE[1],)))


@pytest.fixture(scope="module", params=["numbers", "mixed", "days", "channels", "windows", "pictures"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


@dataclass
class Seen(HTMLParser):
    """What an HTML parser sees in a page."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[tuple[str | None, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(self.text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = kind, before + data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def specs(self) -> list[dict[str, Any]]:
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


def seen(case: Case) -> Seen:
    return Seen(render("A report", [case.section()]))


def part(section: Section, title: str) -> Part:
    return next(each for each in section.parts if each.title == title)


def table_of(section: Section, title: str) -> Table:
    return next(block for block in part(section, title).blocks if isinstance(block, Table))


def figure_of(section: Section, title: str) -> Figure:
    return next(block for block in part(section, title).blocks if isinstance(block, Figure))


# The file


def test_the_page_is_well_formed_and_says_everything(case: Case) -> None:
    page = seen(case)
    text = " ".join(page.words)
    for title in ("What was found", *COMMON):
        assert title in text
    for word in (case.model.card["sha256"], case.model.card["versions"]["torch"], "seed", "threshold"):
        assert word in text
    assert ("Why" in text) == (case.model.format.modality != "image")
    assert len(page.specs) >= 3
    assert not {"nan", "inf", "None"} & set(re.findall(r"[A-Za-z]+", text))


def test_nothing_is_fetched_from_elsewhere(case: Case) -> None:
    page = seen(case)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action"):
            assert re.match(r"#|data:image/png;|$", attributes.get(name) or ""), (tag, attributes)
    assert "url(" not in page.text.split("</style>")[0]


def test_the_policy_allows_exactly_the_two_scripts(numbers: Case) -> None:
    page = seen(numbers)
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes) or ""
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    run = [text for kind, text in page.scripts if kind is None]
    assert allowed == [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert len(run) == 2
    assert policy.startswith("default-src 'none';")


def test_the_file_is_written_whole_and_not_too_large(channels: Case, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    more = Section("One more", "A sentence.", [Part("Part", [Text("Words.")])])
    written = write_report(path, "Of channels", channels.subject, [more])
    assert written == path
    assert path.stat().st_size < 7e6
    assert "One more" in path.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        write_page(tmp_path / "nowhere" / "report.html", "Title", [])


def test_a_page_without_figures_carries_no_script(tmp_path: Path) -> None:
    page = Seen(write_page(tmp_path / "p.html", "Title", [Section("S", "H", [])]).read_text(encoding="utf-8"))
    assert not page.scripts
    assert any("script-src 'none'" in str(attributes.get("content")) for _, attributes in page.tags)


# Hostile names


def test_names_and_words_of_the_data_are_text_and_nothing_else(mixed: Case) -> None:
    page = Seen(render(HOSTILE[0], [mixed.section(HOSTILE[1])]))
    own = page.text.split("<script>")[0]
    for name in HOSTILE[:3]:
        assert name not in own
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [attributes for tag, attributes in page.tags if "evil" in str(attributes.get("href"))]
    text = "".join(page.words)
    for name in HOSTILE:
        assert name in text
    assert "49" not in re.findall(r"%{x} (\S+)", text)


def test_figures_show_names_as_text(mixed: Case, days: Case) -> None:
    for case in (mixed, days):
        for spec in seen(case).specs:
            for text in strings(spec):
                assert not re.search(r"<(?!br>|extra>|/extra>)", text), text


def test_a_figures_json_cannot_end_its_script_element() -> None:
    spec = {"name": HOSTILE[0] + "<!--&\u2028"}
    text = str(Figure(spec, 100, "").json)
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == spec


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


# What is said


def test_the_headline_names_the_oddest_row_in_units(numbers: Case) -> None:
    section = numbers.section()
    odd = int(numbers.detection.is_anomaly.sum())
    oddest = int(np.argmax(numbers.detection.rows.score))
    assert section.headline.startswith(f"{odd} of 400 rows look odd. The oddest is row {oddest}, ")
    assert "was expected" in section.headline
    assert oddest in (7, 9)


def test_rows_stand_by_score_with_their_truth(numbers: Case) -> None:
    table = table_of(numbers.section(), "What was found")
    order = np.argsort(-numbers.detection.rows.score)[:12]
    assert [int(row[0]) for row in table.rows] == order.tolist()
    assert {row[0] for row in table.rows if row[5] == "anomaly"} == {"7", "9"}
    assert [row[4] for row in table.rows] == ["yes" if numbers.detection.is_anomaly[i] else "no" for i in order]


def test_the_profile_counts_what_is_missing(numbers: Case, mixed: Case) -> None:
    missing = [int(row[2]) for row in table_of(numbers.section(), "The data").rows]
    assert missing == np.isnan(np.asarray(numbers.data)).sum(axis=0).tolist()
    rows = {row[0]: row for row in table_of(mixed.section(), "The data").rows}
    assert rows[HOSTILE[1]][1:3] == ["category", "1"]
    assert rows[HOSTILE[2]][1:3] == ["number", "1"]
    assert rows[HOSTILE[4]][1] == "date"


def test_of_many_columns_a_few_are_described_under_their_own_names() -> None:
    data = np.random.default_rng(0).normal(size=(60, 50)) + np.arange(50)
    table = table_of(fitted(TableAutoencoder(kind="plain", epochs=1), data).section(), "The data")
    assert len(table.rows) == 12
    assert [table.rows[0][0], table.rows[-1][0]] == ["x0", "x49"]
    assert float(table.rows[-1][4]) == pytest.approx(data[:, 49].mean(), rel=1e-3)


def test_the_odd_day_is_an_event_shaded_from_its_first_hour_to_its_last(days: Case) -> None:
    section = days.section()
    assert "The oddest is 2024-01-31" in section.headline
    first = table_of(section, "What was found").rows[0]
    assert first[:2] == ["2024-01-31 00:00", "2024-01-31 23:00"]
    shapes = figure_of(section, "Time line").spec["layout"]["shapes"]
    assert ("2024-01-31T00:00:00", "2024-01-31T23:00:00") in {(shape.get("x0"), shape.get("x1")) for shape in shapes}


def test_the_time_line_is_in_the_order_of_time(days: Case) -> None:
    value, steady, score = figure_of(days.section(), "Time line").spec["data"]
    for trace in (value, steady, score):
        assert trace["x"] == sorted(trace["x"])
    assert value["y"][30 * 24] == 20
    assert steady["y"][:2] == pytest.approx([1, np.cos(np.pi / 12)], rel=1e-5)


def test_of_many_channels_those_with_the_largest_errors_are_drawn(channels: Case) -> None:
    figure = figure_of(channels.section(), "Time line")
    assert len(figure.spec["data"]) == 7
    assert "6 of 8 channels" in figure.caption
    drawn = [trace["name"] for trace in figure.spec["data"]]
    assert channels.model.format.schema.channels[6] in drawn  # type: ignore[attr-defined]


def test_drawn_windows_do_not_overlap_and_show_the_data(channels: Case) -> None:
    drawn = part(channels.section(), "The oddest windows").blocks
    places = [re.match(r"Steps (\d+) to (\d+)", block.caption) for block in drawn if isinstance(block, Figure)]
    spans = sorted((int(place[1]), int(place[2])) for place in places if place)
    assert len(spans) == 3
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    first = drawn[0]
    assert isinstance(first, Figure)
    start, end = (int(text) for text in re.findall(r"\d+", first.caption)[:2])
    channel = channels.model.format.schema.channels.index(  # type: ignore[attr-defined]
        first.spec["layout"]["yaxis"]["title"]["text"]
    )
    np.testing.assert_allclose(first.spec["data"][0]["y"], np.asarray(channels.data)[start : end + 1, channel], 1e-4)


def test_training_shows_every_term_and_the_kept_epoch() -> None:
    data = np.random.default_rng(0).normal(size=(80, 3))
    case = fitted(TableAutoencoder(kind="variational", latent=2, epochs=3), data)
    drawn = [block for block in part(case.section(), "Training").blocks if isinstance(block, Figure)]
    terms = list(case.model.history.training[0])
    assert [figure.spec["layout"]["yaxis"]["title"]["text"] for figure in drawn] == terms
    assert len(terms) > 1
    for figure, term in zip(drawn, terms, strict=True):
        expected = [each[term] for each in case.model.history.validation]
        np.testing.assert_allclose(figure.spec["data"][1]["y"], expected, rtol=1e-5)


def test_a_map_of_two_numbers_is_the_codes_themselves(numbers: Case) -> None:
    spec = figure_of(numbers.section(), "Map of the codes").spec
    drawn = [tuple(point) for trace in spec["data"] for point in zip(trace["x"], trace["y"], strict=True)]
    codes = [tuple(float(f"{value:.6g}") for value in code) for code in numbers.model.encode(numbers.data)]
    assert sorted(drawn) == sorted(codes)
    assert sum(len(trace["x"]) for trace in spec["data"] if trace["name"] == "flagged") == (
        numbers.detection.is_anomaly.sum()
    )


def test_the_simpler_methods_stand_beside_with_their_auroc(numbers: Case, mixed: Case) -> None:
    with_labels = table_of(numbers.section(), "Beside simpler methods")
    assert [row[0] for row in with_labels.rows] == ["autoencoder", "PCA, 2 components", "isolation forest"]
    assert with_labels.header[-2:] == ["AUROC", "average precision"]
    most = max(10, int(numbers.detection.is_anomaly.sum()))
    assert with_labels.rows[0][2:4] == ["1", f"{most} of {most}"]
    assert "AUROC" not in table_of(mixed.section(), "Beside simpler methods").header


def test_the_verdict_follows_the_figures() -> None:
    assert "simpler choice" in by_labels({"autoencoder": 0.9, "pca": 0.7, "isolation forest": 0.95})
    assert "better than PCA" in by_labels({"autoencoder": 0.9, "pca": 0.7, "isolation forest": 0.6})
    assert "less well" in by_errors({"autoencoder": 1.0, "pca": 2.0}, 0.99)
    assert "does as well here" in by_errors({"autoencoder": 1.0, "pca": 1.0}, 0.95)
    assert "Only labels can say" in by_errors({"autoencoder": 1.0, "pca": 1.0}, 0.5)


def test_the_models_error_is_that_of_its_reconstruction(windows: Case) -> None:
    samples = windows.model.format.pack(windows.data).samples
    given_back = windows.model.format.pack(np.asarray(windows.model.reconstruct(windows.data))).samples
    expected = np.mean(np.square(samples - given_back))
    assert reconstruction_error(windows.model, samples) == pytest.approx(expected, rel=1e-4)


def test_a_constant_has_no_rank_correlation() -> None:
    assert rank_correlation(np.ones(4), np.arange(4.0)) == 0
    assert rank_correlation(np.arange(4.0), -np.arange(4.0)) == -1


def test_where_nothing_is_odd_that_is_said(numbers: Case, days: Case) -> None:
    for case in (numbers, days):
        strict = Case(case.model, case.data, case.model.detect(case.data, rate=1e-9))
        quiet = np.full_like(strict.detection.rows.score, False, dtype=bool)
        limit = type(strict.detection.threshold)(1e9, 0.01)
        found = Detection(strict.detection.rows, strict.detection.p_value, quiet, limit, {}, strict.detection.samples)
        section = Case(case.model, case.data, found).section()
        assert section.headline.startswith("None of ")
        Seen(render("Quiet", [section]))


def test_a_table_of_one_row_gets_a_report(numbers: Case) -> None:
    row = np.asarray(numbers.data)[:1]
    Seen(render("One row", [Case(numbers.model, row, numbers.model.detect(row)).section()]))


# Figures and words


def test_thinning_keeps_the_extremes_and_the_order() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    values[[12_345, 77_777]] = 50, -50
    values[500:700] = np.nan
    kept = figures.thinned(values, 4_000)
    assert len(kept) <= 4_000
    assert {12_345, 77_777} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_numbers_for_json_are_null_where_not_finite() -> None:
    assert figures.plain(np.array([1.23456789, np.nan, np.inf])) == [1.23457, None, None]


def test_the_histogram_counts_every_score_once() -> None:
    scores = np.random.default_rng(0).gamma(1, size=500)
    figure = figures.score_histogram([figures.Line("rows", scores)], 3.0, scores[scores > 3], "row", "")
    shares = figure.spec["data"][0]["y"][:-1]
    assert sum(shares) == pytest.approx(100, rel=1e-4)
    assert figure.spec["layout"]["shapes"][0]["x0"] == 3.0


def test_the_calibration_curve_of_normal_rows_lies_on_the_rates() -> None:
    even = np.arange(1, 1001) / 1000
    odd = np.concatenate([even, np.full(111, 0.001)])  # a tenth more, all among the oddest thousandth
    for p_values, least in ((even, 0.1), (odd, 10.0)):
        shown, asked = (np.array(course["y"]) for course in figures.calibration_curve(p_values, "row").spec["data"])
        assert shown[-1] == asked[-1] == pytest.approx(100)
        assert shown[0] == pytest.approx(least, rel=0.02)
    assert asked[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.1 + 0.2, "0.3"), (1e-9, "1e-09"), (1234567.8, "1,234,568"), (True, "true"), (float("nan"), "nan"), ("x", "x")],
)
def test_numbers_read_well(value: Any, words: str) -> None:
    assert number_words(value) == words


def test_a_pair_looks_different_where_it_is() -> None:
    assert pair_words(100.001, 100.002) == ("100.001", "100.002")
    assert pair_words(-1.6e-8, 0.751) == ("0", "0.751")
    assert pair_words(None, 3.0) == ("missing", "3")
    assert pair_words("red", "blue") == ("red", "blue")


def test_a_right_guess_is_not_said_to_be_wrong() -> None:
    assert reason_words(Reason("sex", "male", "male", 0.1)) == "sex male, which was not certain"


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driven:
        yield driven


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_a_browser_draws_every_figure_without_an_error(
    browser: Any, mixed: Case, days: Case, pictures: Case, tmp_path: Path, width: int, scheme: str
) -> None:
    sections = [mixed.section(HOSTILE[0]), days.section("Days"), pictures.section("Pictures")]
    path = write_page(tmp_path / "report.html", HOSTILE[1], sections)
    set_screen(browser, width, scheme)
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    count = browser.execute_script("return document.querySelectorAll('.plot').length")
    assert count > 10
    assert browser.execute_script("return document.querySelectorAll('.plot svg.main-svg').length") >= count
    assert browser.execute_script("return window.hacked") is None
    assert not browser.execute_script("return document.querySelectorAll('a[href*=evil], img[src=x]').length")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 26)") is (scheme == "dark")
