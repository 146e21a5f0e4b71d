"""The page in a real browser against a real server: whole journeys, and what must never happen on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browsing import chromium, set_screen
from httpx import Client
from PIL import Image
from serving import numbers, running

from hourglass.data.files import SUFFIXES
from hourglass.interfaces.service import pages
from hourglass.interfaces.service.security import CONTENT_POLICY

PAGE = Path(pages.__file__).parent / "page"
HOSTILE = "<img src=x onerror=hacked=1>"
TABS = ("anomalies", "restored", "map", "samples", "compare", "keep")

# What needs no browser


def test_both_languages_have_the_same_words_and_places_for_values() -> None:
    english, chinese = (json.loads((PAGE / f"words.{name}.json").read_text(encoding="utf-8")) for name in ("en", "zh"))
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key
        assert chinese[key].strip()


def test_every_word_that_the_page_uses_by_name_is_known() -> None:
    words = json.loads((PAGE / "words.en.json").read_text(encoding="utf-8"))
    used = re.findall(r'data-word="(\w+)"', (PAGE / "index.html").read_text(encoding="utf-8"))
    for script in PAGE.glob("*.js"):
        used += re.findall(r'\b(?:word|label): "(\w+)"|\bword\("(\w+)"', script.read_text(encoding="utf-8"))
    flat = {name for each in used for name in ([each] if isinstance(each, str) else each) if name}
    assert len(flat) > 60
    assert flat - words.keys() == set()


def test_every_word_is_used() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in PAGE.iterdir() if file.suffix in (".js", ".html"))
    words = json.loads((PAGE / "words.en.json").read_text(encoding="utf-8"))
    made = re.compile("aim_|example_|tab_|theme_")  # whose ends come from elsewhere
    assert [word for word in words if f'"{word}"' not in text and not made.match(word)] == []


def test_every_kind_of_file_that_is_read_can_be_chosen() -> None:
    offered = re.findall(r'accept="([^"]+)"', (PAGE / "index.html").read_text(encoding="utf-8"))[0].split(",")
    assert set(offered) == {Path(f"file{suffix}").suffix for suffix in SUFFIXES}


def test_no_file_of_the_page_reads_markup_runs_text_or_names_another_host() -> None:
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file
        )
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), file
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", text if file.suffix == ".html" else ""), file


def test_the_policy_allows_scripts_from_here_only() -> None:
    assert "script-src 'self';" in CONTENT_POLICY
    assert "unsafe" not in CONTENT_POLICY


def test_the_pages_files_are_kept_for_ever_and_the_page_itself_is_not(client: Client) -> None:
    page = client.get("/")
    assert page.headers["cache-control"] == "no-store"
    files = re.findall(r'(?:href|src)="(/page/[^"]+)"', page.text)
    assert len(files) > 5
    for name in [*files, files[0].rpartition("/")[0] + "/plotly.min.js"]:
        answer = client.get(name)
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-security-policy"] == CONTENT_POLICY
    for wrong in (
        "/page/000000000000/main.js",
        f"/page/{pages.digest()}/app.py",
        f"/page/{pages.digest()}/..%2fapp.py",
    ):
        assert client.get(wrong).status_code == 404


def test_examples_are_uploads_of_which_rows_and_files_are_given_back(client: Client) -> None:
    offered = {each["name"]: each["modality"] for each in client.get("/v1/examples").json()["examples"]}
    for name, modality in offered.items():
        assert client.post(f"/v1/examples/{name}").json()["modality"] == modality
    cells = client.post("/v1/examples/cells").json()
    some = client.get(f"/v1/uploads/{cells['id']}/rows?start=2&number=3").json()
    assert some["columns"] == [each["name"] for each in cells["columns"]]
    assert some["rows"] == cells["preview"][2:5]
    assert len(client.get(f"/v1/uploads/{cells['id']}/files/0").content) == cells["bytes"]
    assert client.get(f"/v1/uploads/{cells['id']}/files/1").status_code == 404
    assert client.get(f"/v1/uploads/{cells['id']}/rows?start=569&number=1").status_code == 422
    assert client.get(f"/v1/uploads/{cells['id']}/rows?start=x").status_code == 422
    assert client.post("/v1/examples/none").status_code == 404


def test_a_verb_takes_some_rows_of_an_upload(client: Client) -> None:
    content = "\n".join(["a,b,c", *(",".join(map(str, row)) for row in numbers(20).tolist())])
    key = client.post("/v1/uploads", content=content, headers={"Content-Type": "text/csv"}).json()["id"]
    whole = client.post(f"/v1/models/plain/detect?upload={key}").json()["scores"]["anomaly_score"]
    one = client.post(f"/v1/models/plain/detect?upload={key}&start=7&number=1&reasons=all").json()
    assert one["scores"]["anomaly_score"] == pytest.approx(whole[7:8], rel=1e-6)
    assert {each["cell"] for each in one["reasons"]["0"]} <= {"a", "b", "c"}


def test_the_simpler_methods_and_the_report_are_told_over_http(client: Client) -> None:
    content = "\n".join(["a,b,c", *(",".join(map(str, row)) for row in numbers(60).tolist())])
    headers = {"Content-Type": "text/csv"}
    told = client.post("/v1/models/plain/compare", content=content, headers=headers).json()
    assert [row[0].partition(",")[0] for row in told["rows"]] == ["autoencoder", "PCA", "isolation forest"]
    assert "PCA" in told["notices"][0]
    for accept in ("*/*", "text/html"):
        report = client.post("/v1/models/plain/report", content=content, headers={**headers, "Accept": accept})
        assert report.headers["content-type"].startswith("text/html")
        assert "Beside simpler methods" in report.text
    assert client.post("/v1/models/plain/report", headers={"Accept": "text/csv"}).status_code == 406


# A server and a browser


@dataclass
class Site:
    """A page in a browser, its server behind it."""

    driver: Any
    url: str
    folder: Path

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, seconds: float = 90) -> Any:
        """Wait until an expression is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds, 0.05).until(lambda _: self.js(f"return {script}"), script)

    def open(self, width: int = 1200, scheme: str = "light") -> None:
        set_screen(self.driver, width, scheme)
        self.driver.get(self.url)
        self.until("document.documentElement.dataset.ready && document.querySelectorAll('#examples button').length > 0")

    def choose(self, *files: Path) -> None:
        self.driver.find_element("id", "files").send_keys("\n".join(map(str, files)))
        self.until("!document.querySelector('#aim').hidden || document.querySelector('#data-status.bad')")

    def learn(self, aim: str, epochs: int = 2) -> None:
        self.js(
            "document.querySelector(`input[value=${arguments[0]}]`).click();"
            "document.querySelector('[name=epochs]').value = arguments[1];"
            "document.querySelector('#aim button.main').click()",
            aim,
            epochs,
        )
        self.until("document.querySelector('#view')?.dataset.ready || document.querySelector('main .bad')", 180)

    def use(self, model: str) -> None:
        """Take a model that is served."""
        self.js(
            "const model = document.querySelector('#model'); model.value = arguments[0];"
            "model.dispatchEvent(new Event('change')); document.querySelector('#aim button.main').click()",
            model,
        )
        self.until("document.querySelector('#view')?.dataset.ready || document.querySelector('#aim .status.bad')")

    def tab(self, name: str) -> None:
        self.js("document.querySelector(`#tab-${arguments[0]}`).click()", name)
        self.until(
            f"document.querySelector('#view').dataset.ready == '{name}' || document.querySelector('#result .bad')"
        )
        assert self.js("return [...document.querySelectorAll('#result .bad')].map((each) => each.textContent)") == []

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0]).textContent", selector))

    def check(self, width: int = 1200) -> None:
        """Nothing was complained of, nothing came from elsewhere, nothing became markup, nothing is too wide."""
        assert self.driver.get_log("browser") == []
        assert self.text("#trouble") == ""
        fetched = self.js("return performance.getEntriesByType('resource').map((each) => each.name)")
        assert fetched
        assert [name for name in fetched if not name.startswith((self.url, "blob:", "data:"))] == []
        assert self.js("return globalThis.hacked") is None
        assert self.js("return document.querySelectorAll('img[src=x]').length") == 0
        assert self.js("return document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with running(folder / "plain.safetensors", folder / "waves.safetensors", time_limit=120.0) as made:
        yield f"{made.url}/"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium("--lang=en-US") as driven:
        yield driven


@pytest.fixture
def site(driver: Any, server: str, tmp_path: Path) -> Site:
    return Site(driver, server, tmp_path)


def a_table(folder: Path) -> list[Path]:
    """80 rows, the last one odd, with a column and cells that are markup."""
    random = np.random.default_rng(0)
    first = random.normal(size=80)
    second = 2 * first + 0.1 * random.normal(size=80)
    second[-1] = 40
    words = [HOSTILE if row % 2 else "<script>hacked=1</script>" for row in range(80)]
    lines = [f"a,{HOSTILE},kind", *(f"{a},{b},{word}" for a, b, word in zip(first, second, words, strict=True))]
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [folder / "table.csv"]


def a_series(folder: Path) -> list[Path]:
    hours = np.arange(240)
    values = np.sin(hours * 2 * np.pi / 24) + 0.05 * np.random.default_rng(0).normal(size=240)
    values[200:203] = 6
    times = np.datetime64("2024-01-01T00") + hours.astype("timedelta64[h]")
    lines = ["time,level", *(f"{time},{value:.4f}" for time, value in zip(times, values, strict=True))]
    (folder / "level.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [folder / "level.csv"]


def pictures(folder: Path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [folder / f"{place}.png" for place in range(24)]
    for place, path in enumerate(paths):
        pixels = random.integers(0, 40, (8, 8), dtype=np.uint8)
        pixels[:, place % 8] = 220
        Image.fromarray(pixels).save(path)
    return paths


def a_sound(folder: Path) -> list[Path]:
    time = np.arange(16_000) / 8_000
    noise = 0.05 * np.random.default_rng(0).normal(size=len(time))
    soundfile.write(folder / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time) + noise, 8_000)
    return [folder / "tone.wav"]


Make = Callable[[Path], list[Path]]
JOURNEYS = [(a_table, "anomalies"), (a_series, "anomalies"), (pictures, "map"), (a_sound, "clean")]


@pytest.mark.browser
@pytest.mark.parametrize(("make", "aim"), JOURNEYS, ids=["table", "series", "pictures", "sound"])
def test_a_journey_from_a_file_to_every_result(site: Site, make: Make, aim: str) -> None:
    site.open()
    site.choose(*make(site.folder))
    assert site.js("return document.querySelector('[name=aim]:checked').value") == aim  # the usual one
    site.learn(aim)
    for name in TABS:
        site.tab(name)
    site.check()


@pytest.mark.browser
def test_the_slider_and_a_click_tell_what_is_odd_and_why(site: Site) -> None:
    site.open()
    site.choose(*a_table(site.folder))
    site.learn("anomalies", epochs=4)
    site.tab("anomalies")
    site.until("document.querySelector('#view .plot svg.main-svg')")
    flagged = "Number(document.querySelector('[data-flagged]').dataset.flagged)"
    before = site.js(f"return {flagged}")
    move = "const slider = document.querySelector('#rate'); slider.value = arguments[0];"
    site.js(f"{move} slider.dispatchEvent(new Event('input'))", 1000)
    assert site.js(f"return {flagged}") >= max(before, 1)
    assert site.text("output[for=rate]").startswith("20 %: about 200 in 1,000")
    site.js("document.querySelector('#rate').dispatchEvent(new Event('change'))")
    site.until("document.querySelectorAll('#view td .link').length > 0")
    site.js("document.querySelector('#view td .link').click()")
    site.until("document.querySelector('#view .reasons li')")
    assert site.text("#view h3[tabindex]") == "Why row 79"
    assert HOSTILE in site.text("#view .reasons li")
    site.check()


@pytest.mark.browser
def test_a_served_model_is_used_on_a_new_file_without_training(site: Site) -> None:
    site.open()
    np.savetxt(site.folder / "new.csv", numbers(), delimiter=",", header="a,b,c", comments="")
    site.choose(site.folder / "new.csv")
    site.use("plain")
    site.tab("anomalies")
    assert site.js("return document.querySelector('#learning').hidden")
    site.check()


@pytest.mark.browser
def test_the_keyboard_alone_goes_from_an_example_to_its_result(site: Site) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key: str) -> None:
        ActionChains(site.driver).send_keys(key).perform()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            press(Keys.TAB)
            if site.js("return document.activeElement.matches(arguments[0])", selector):
                return
        pytest.fail(f"the focus never came to {selector}")

    site.open()
    tab_to("#files")
    tab_to("#example-cells")
    press(Keys.ENTER)
    site.until("!document.querySelector('#aim').hidden")
    assert site.js("return document.activeElement.id") == "aim-title"
    tab_to("[name=aim]")
    press(Keys.ARROW_RIGHT)
    assert site.js("return document.activeElement.value") == "clean"
    tab_to("summary")
    press(Keys.ENTER)
    tab_to("[name=epochs]")
    press("2")
    press(Keys.ENTER)
    site.until("document.querySelector('#view')?.dataset.ready == 'restored'", 180)
    tab_to("[role=tab]")
    press(Keys.ARROW_LEFT)
    site.until("document.querySelector('#view').dataset.ready == 'anomalies'")
    assert site.js("return document.activeElement.id") == "tab-anomalies"
    site.check()


@pytest.mark.browser
def test_stopping_keeps_the_best_weights_so_far(site: Site) -> None:
    site.open()
    np.savetxt(site.folder / "many.csv", numbers(20_000), delimiter=",", header="a,b,c", comments="")
    site.choose(site.folder / "many.csv")
    site.js(
        "document.querySelector('[name=epochs]').value = 100000; document.querySelector('#aim button.main').click()"
    )
    site.until("document.querySelector('#learning progress')?.value >= 1", 120)
    assert site.js("return document.querySelectorAll('#learning [aria-live]').length") > 0
    site.js("document.querySelector('#stop').click()")
    site.until("document.querySelector('#view')?.dataset.ready", 180)
    site.check()


@pytest.mark.browser
def test_a_fit_that_fails_says_why_and_offers_nothing_more(site: Site) -> None:
    site.open()
    (site.folder / "names.csv").write_text("name\n" + "".join(f"person {place}\n" for place in range(60)))
    site.choose(site.folder / "names.csv")
    site.learn("anomalies")
    assert "no column is left to learn from" in site.text("#learning .bad")
    assert site.js("return document.querySelector('#learning progress').hidden")
    assert site.js("return document.querySelector('#learning .row').hidden")
    site.check()


@pytest.mark.browser
def test_what_comes_late_does_not_take_the_place_of_newer_data(site: Site) -> None:
    site.open()
    np.savetxt(site.folder / "many.csv", numbers(5_000), delimiter=",", header="a,b,c", comments="")
    site.choose(site.folder / "many.csv")
    site.js("document.querySelector('[name=epochs]').value = 2; document.querySelector('#aim button.main').click()")
    site.until("!document.querySelector('#learning').hidden")
    site.choose(*a_table(site.folder))
    site.driver.execute_async_script(_ALL_ENDED)
    assert site.js("return document.querySelectorAll('#learning[hidden], #result[hidden]').length") == 2
    assert "table.csv" in site.text("#data-status")
    site.check()


_ALL_ENDED = """
const [done] = arguments;
const goesOn = async () => (await (await fetch("/v1/fits")).json()).fits.some((fit) => ["queued", "running"].includes(fit.state));
(async () => {
  while (await goesOn()) await new Promise((next) => setTimeout(next, 100));
  setTimeout(done, 1000);  // for the page to hear of it
})();
"""  # noqa: E501


@pytest.mark.browser
def test_a_server_that_is_gone_is_told_of_where_the_reader_clicked(site: Site) -> None:
    site.open()
    np.savetxt(site.folder / "new.csv", numbers(), delimiter=",", header="a,b,c", comments="")
    site.choose(site.folder / "new.csv")
    site.use("plain")
    site.tab("samples")
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    again = "document.querySelector('#view > div:not([hidden]) .row.end button').click()"
    site.driver.execute_cdp_cmd("Network.enable", {})
    site.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **network})
    site.js(again)
    site.until("document.querySelector('#trouble').textContent == 'The server does not answer.'")
    site.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **network})
    assert len(site.driver.get_log("browser")) == 1  # the browser's own word on it
    site.js(again)
    assert site.text("#trouble") == ""
    site.check()


@pytest.mark.browser
def test_what_cannot_be_read_is_said_in_words(site: Site) -> None:
    site.open()
    (site.folder / "broken.parquet").write_bytes(b"PAR1 nothing")
    site.choose(site.folder / "broken.parquet")
    assert "broken.parquet" in site.text("#data-status")
    assert site.js("return document.querySelector('#aim').hidden")
    assert [each for each in site.driver.get_log("browser") if "400" not in each["message"]] == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(site: Site, scheme: str) -> None:
    site.open(360, scheme)
    site.check(360)
    site.choose(*a_series(site.folder))
    site.use("waves")
    for name in TABS:
        site.tab(name)
        site.check(360)
    ground = site.js("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 26)") is (scheme == "dark")


@pytest.mark.browser
def test_theme_and_language_switch_where_the_reader_is(site: Site) -> None:
    site.open()
    site.choose(*a_series(site.folder))
    site.js("document.querySelector('#theme').click(); document.querySelector('#theme').click()")
    assert site.js("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    site.js("document.querySelector('#language').click()")
    site.until("document.documentElement.lang == 'zh'")
    words = json.loads((PAGE / "words.zh.json").read_text(encoding="utf-8"))
    assert site.text("#aim-title") == words["step_aim"]
    assert site.text("#theme") == words["theme_dark"]
    site.js("document.querySelector('#language').click(); localStorage.clear()")
    site.check()


@pytest.mark.browser
def test_what_was_opened_before_follows_theme_and_language(site: Site) -> None:
    site.open()
    site.choose(*a_series(site.folder))
    site.use("waves")
    site.tab("restored")
    texts = "[...document.querySelectorAll('#view > div:not([hidden]) .legendtext')]"
    site.until(f"{texts}.length >= 2")
    site.tab("map")
    site.js("document.querySelector('#theme').click(); document.querySelector('#theme').click()")
    site.js("document.querySelector('#language').click()")
    site.until("document.documentElement.lang == 'zh'")
    site.tab("restored")
    words = json.loads((PAGE / "words.zh.json").read_text(encoding="utf-8"))
    site.until(f"{texts}.map((each) => each.textContent).includes('{words['restored']}')")
    assert site.js(f"return getComputedStyle({texts}[0]).fill") == "rgb(230, 233, 236)"
    plot = "document.querySelector('#view > div:not([hidden]) .plot')"
    site.until(f"Math.abs({plot}.querySelector('svg.main-svg').clientWidth - {plot}.clientWidth) < 2")
    site.js("document.querySelector('#language').click(); localStorage.clear()")
    site.check()


_MAP = """
const [count, done] = arguments;
(async () => {
  const { map, plane } = await import(new URL("map.js", document.querySelector("script[type=module]").src));
  const noise = (place) => (Math.sin(place * 12.9898) * 43758.5453) % 1;
  const values = Float64Array.from({ length: 4 * count }, (_, place) => Math.sin(place * 12.9898) * (1 + place % 4));
  const scores = Array.from({ length: count }, (_, row) => Math.abs(values[4 * row]));
  let chosen = -1;
  const element = map(plane({ count, width: 4, values }), scores, (row) => `row ${row}`, (row) => { chosen = row; });
  document.querySelector("#result").hidden = false;
  document.querySelector("#result").replaceChildren(element);
  element.scrollIntoView();
  const canvas = element.querySelector("canvas");
  const drawn = () => canvas.dataset.drawn;
  while (!drawn()) await new Promise(requestAnimationFrame);
  const inked = (data) => data.reduce((sum, value, place) => sum + (place % 4 === 3 && value > 0), 0);
  const pixels = () => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    return inked(copy.getImageData(0, 0, canvas.width, canvas.height).data);
  };
  const all = pixels();
  for (let press = 0; press < 3; press += 1) canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "+" }));
  const before = drawn();
  while (drawn() === before) await new Promise(requestAnimationFrame);
  done([all, pixels()]);
})();
"""


@pytest.mark.browser
@pytest.mark.parametrize("count", [1_000, 20_000])
def test_the_map_draws_its_points_and_zooms_by_keys(site: Site, count: int) -> None:
    site.open()
    all_of_it, zoomed = site.driver.execute_async_script(_MAP, count)
    assert all_of_it > 1_000
    assert 0 < zoomed < all_of_it
    site.check()


_THREE = """
const [done] = arguments;
(async () => {
  const { map, plane } = await import(new URL("map.js", document.querySelector("script[type=module]").src));
  const result = document.querySelector("#result");
  const element = map(plane({ count: 3, width: 1, values: Float64Array.of(-1, 0, 1) }), null, String, (row) => { result.dataset.chosen = row; });
  result.hidden = false;
  result.replaceChildren(element);
  element.scrollIntoView({ behavior: "instant" });
  const canvas = element.querySelector("canvas");
  while (!canvas.dataset.drawn) await new Promise(requestAnimationFrame);
  const box = canvas.getBoundingClientRect();
  done({ x: box.x + box.width / 2, y: box.y + box.height / 2 });
})();
"""  # noqa: E501


@pytest.mark.browser
def test_a_tap_chooses_a_point_of_the_map(site: Site) -> None:
    site.open(360)
    middle = site.driver.execute_async_script(_THREE)
    for kind, fingers in (("touchStart", [middle]), ("touchEnd", [])):
        site.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    site.until("document.querySelector('#result').dataset.chosen == '1'")
    site.check(360)
