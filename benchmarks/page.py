"""How long the service's page takes, in a real Chromium against a real server on this machine.

Caveats: browser, server, fit and this script share the machine's cores; whatever else runs there counts too. "usable"
is what the page's own clock says from the start of navigation until it takes a file, on a second visit. "drop to
anomalies" runs from the drop of a CSV to the list of anomalies on the screen, defaults as they are, the fit's process
and its imports included. "map from click" is codes fetched, projected and drawn; "map drawn" is the last two.

    python benchmarks/page.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

HOURGLASS = Path(sys.executable).with_name("hourglass")
_READY = "document.documentElement.dataset.ready && document.querySelectorAll('#examples button').length"
_DRAW = """
const done = arguments[0];
(async () => {
  const { map, plane } = await import(new URL("map.js", document.querySelector("script[type=module]").src));
  const values = Float64Array.from({ length: 800000 }, () => Math.random() + Math.random() - 1);
  const scores = Float64Array.from({ length: 100000 }, Math.random);
  const started = performance.now();
  const element = map(plane({ count: 100000, width: 8, values }), scores, String);
  document.querySelector("#result").hidden = false;
  document.querySelector("#result").replaceChildren(element);
  const canvas = element.querySelector("canvas");
  while (!canvas.dataset.drawn) await new Promise(requestAnimationFrame);
  const first = performance.now() - started;
  const again = performance.now();
  for (let frame = 0; frame < 20; frame += 1) {
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
    await new Promise(requestAnimationFrame);
  }
  done([first, (performance.now() - again) / 20]);
})();
"""


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A server of its own on a free port."""
    command = [HOURGLASS, "serve", "--port", "0", "--json", "--quiet", "--time-limit", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
        process.terminate()


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1000"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(300)
    try:
        yield driver
    finally:
        driver.quit()


def until(driver: Any, script: str) -> None:
    """Wait until an expression is true."""
    WebDriverWait(driver, 300, 0.02).until(lambda _: driver.execute_script(f"return {script}"))


def usable(driver: Any, url: str) -> float:
    """Seconds from the start of navigation until the page takes a file."""
    driver.get(url)
    until(driver, _READY)
    return float(driver.execute_script("return performance.getEntriesByName('usable')[0].startTime")) / 1000


def a_csv(path: Path, rows: int, columns: int) -> Path:
    """Rows that share five causes, 1 in 100 of which are odd."""
    random = np.random.default_rng(0)
    cells = random.normal(size=(rows, 5)) @ random.normal(size=(5, columns)) + 0.3 * random.normal(size=(rows, columns))
    cells[::100] += 4 * random.normal(size=cells[::100].shape)
    header = ",".join(f"x{place}" for place in range(columns))
    np.savetxt(path, cells, fmt="%.5g", delimiter=",", header=header, comments="")
    return path


def drop_to_anomalies(driver: Any, url: str, file: Path) -> float:
    """Seconds from the drop to the anomalies."""
    usable(driver, url)
    started = time.perf_counter()
    driver.find_element("id", "files").send_keys(str(file))
    until(driver, "!document.querySelector('#aim').hidden")
    driver.execute_script("document.querySelector('#aim button.main').click()")
    until(driver, "document.querySelector('#view')?.dataset.ready == 'anomalies'")
    return time.perf_counter() - started


def whole_map(driver: Any, url: str, file: Path) -> float:
    """Seconds from the click on the map's tab until the codes of all rows of a file are drawn, by a served model."""
    usable(driver, url)
    driver.find_element("id", "files").send_keys(str(file))
    until(driver, "document.querySelectorAll('#model option').length > 1")
    driver.execute_script(
        "const model = document.querySelector('#model'); model.selectedIndex = 1;"
        "model.dispatchEvent(new Event('change')); document.querySelector('#aim button.main').click()"
    )
    until(driver, "document.querySelector('#view')?.dataset.ready == 'anomalies'")
    started = time.perf_counter()
    driver.execute_script("document.querySelector('#tab-map').click()")
    until(driver, "document.querySelector('.map canvas')?.dataset.drawn")
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, serving() as url, browsing() as driver:
        usable(driver, url)
        small, large = a_csv(Path(folder) / "small.csv", 5_000, 30), a_csv(Path(folder) / "large.csv", 100_000, 30)
        result: dict[str, Any] = {
            "load_average": os.getloadavg(),
            "usable_s": [usable(driver, url) for _ in range(rounds)],
            "drop_to_anomalies_5000x30_s": [drop_to_anomalies(driver, url, small) for _ in range(rounds)],
            "map_of_100000_from_click_s": whole_map(driver, url, large),
        }
        usable(driver, url)
        drawn = [driver.execute_async_script(_DRAW) for _ in range(rounds)]
        result["map_of_100000_drawn_ms"], result["map_frame_ms"] = [list(each) for each in zip(*drawn, strict=True)]
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
