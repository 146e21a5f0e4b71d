"""What the service says of itself: its OpenAPI document, its figures, its command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import Running, numbers, process, rows, running

from hourglass.interfaces.cli import run
from hourglass.interfaces.service.metrics import Metrics, distance_from_uniform

ROOT = Path(__file__).resolve().parents[3]
DOCS, EXAMPLES = ROOT / "docs" / "service.md", ROOT / "examples" / "service"


def figures(client: httpx.Client) -> dict[str, float]:
    """Every figure by name and labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in families
        for sample in family.samples
    }


def test_the_document_has_the_columns_of_each_model_as_types(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    cells = schemas["Rows.mixed"]["properties"]["rows"]["items"]["properties"]
    assert cells["amount"]["type"] == ["number", "null"]
    assert cells["goods"]["type"] == ["string", "null"]
    assert set(cells["goods"]["examples"]) == {"tea", "gold"}
    assert set(schemas["Rows.waves"]["properties"]["rows"]["items"]["properties"]) == {"time", "level"}
    paths = document["paths"]
    assert "audio/wav" in paths["/v1/models/tones/denoise"]["post"]["requestBody"]["content"]
    rate = paths["/v1/models/plain/detect"]["post"]["parameters"][0]
    assert (rate["name"], rate["schema"]) == ("false_alarm_rate", {"type": "number", "minimum": 0, "maximum": 0.5})
    for path, methods in paths.items():
        for operation in methods.values():
            assert all(set(operation["responses"]) & {"200", "201", "202", "204"}), path
    text = str(document)
    assert all(reference in schemas for reference in re.findall(r"#/components/schemas/([\w.-]+)", text))


def test_the_document_says_how_to_name_data_that_were_uploaded(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for verb in ("detect", "generate"):
        operation = paths[f"/v1/models/plain/{verb}"]["post"]
        names = [each["name"] for each in operation["parameters"]]
        assert len(names) == len(set(names))
        assert {"upload", "start", "number"} <= set(names)
        assert not operation["requestBody"]["required"]
    assert {"start", "number"} <= {each["name"] for each in paths["/v1/uploads/{key}/rows"]["get"]["parameters"]}
    assert list(paths["/v1/models/plain/report"]["post"]["responses"]["200"]["content"]) == ["text/html"]


def test_the_guide_names_every_endpoint(client: httpx.Client) -> None:
    named = re.findall(r"^\| `([A-Z]+) (/[^`]*)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    written = {(method.lower(), anonymous(path)) for method, path in named} - {("get", "/"), ("get", "/openapi.json")}
    paths = client.get("/openapi.json").json()["paths"]
    known = {(method, anonymous(path)) for path, methods in paths.items() for method in methods}
    assert written == known | {("post", "/v1/models/{}/predict")}  # which no model here can


def anonymous(path: str) -> str:
    """A path without the names of its parameters, and of models."""
    return re.sub(r"\{\w+\}", "{}", re.sub(r"(/v1/models)/\w+/", r"\1/{}/", path))


def test_figures_count_requests_and_rows(folder: Path) -> None:
    with running(folder / "plain.safetensors") as service:
        client = service.client
        client.post("/v1/models/plain/detect", json={"rows": rows(3)})
        client.post("/v1/models/plain/detect", json={"rows": []})
        client.get("/v1/models/../../etc")
        found = figures(client)
    route = "('route', '/v1/models/{name}/{verb}')"
    assert found[f"hourglass_requests_total[('method', 'POST'), {route}, ('status', '200')]"] == 1
    assert found[f"hourglass_requests_total[('method', 'POST'), {route}, ('status', '422')]"] == 1
    assert found["hourglass_rows_total[('model', 'plain'), ('verb', 'detect')]"] == 3
    assert found["hourglass_queue_depth[]"] == 0
    assert not any("etc" in name for name in found)


@pytest.mark.parametrize(("shift", "drifted"), [(0.0, 0), (4.0, 1)])
def test_a_drift_shows_in_the_figures(folder: Path, shift: float, drifted: int) -> None:
    sent = numbers(300, 9)
    sent[:, 0] += shift
    with running(folder / "plain.safetensors") as service:
        for start in range(0, 300, 100):
            answer = service.client.post("/v1/models/plain/detect", json={"rows": sent[start : start + 100].tolist()})
            assert answer.status_code == 200
        found = figures(service.client)
    assert found["hourglass_drift[('model', 'plain')]"] == drifted
    distance = found["hourglass_p_value_distance[('model', 'plain')]"]
    assert distance > 0.8 if drifted else distance < 0.5


def test_scores_of_versions_that_are_gone_are_not_kept() -> None:
    metrics = Metrics()
    for version in range(50):
        metrics.scored("m", str(version), "detect", 5_000, np.zeros(5_000))
    assert sum(len(recent) for _, recent in metrics._recent.values()) == 2_000


def test_distance_from_uniform() -> None:
    assert distance_from_uniform(np.empty(0)) == 0
    assert distance_from_uniform(np.arange(1, 1001) / 1000) == pytest.approx(0, abs=1e-9)
    assert distance_from_uniform(np.full(10, 0.01)) == pytest.approx(0.99)


def test_the_command_says_where_it_is_and_ends_well(folder: Path) -> None:
    with process(str(folder / "plain.safetensors"), "--access-log") as (server, facts):
        assert facts["models"] == ["plain"]
        assert httpx.get(f"{facts['url']}/v1/models").status_code == 200
        server.terminate()
        _, talk = server.communicate(timeout=60)
    assert server.returncode == 0
    assert "GET /v1/models 200" in talk
    assert not Path(facts["store"]).exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--host", "0.0.0.0"], 2, "needs a token"),
        (["--port", "70000"], 2, "at most 65535"),
        (["/nowhere/none.safetensors", "--port", "0"], 3, "cannot be read"),
        (["a/m.safetensors", "b/m.safetensors", "--port", "0"], 2, "two models are called 'm'"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOURGLASS_TOKEN", raising=False)
    assert run(["serve", *words]) == code
    assert told in capsys.readouterr().err


def test_a_second_server_on_a_store_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(store=str(tmp_path)):
        assert run(["serve", "--port", "0", "--store", str(tmp_path)]) == 3
    told = capsys.readouterr().err
    assert "is at work on it" in told
    assert "give another folder with --store" in told


def test_the_examples_give_words_that_the_command_knows(capsys: pytest.CaptureFixture[str]) -> None:
    unit, image = ((EXAMPLES / name).read_text() for name in ("hourglass.service", "Dockerfile"))
    started = shlex.split(unit.partition("ExecStart=")[2].partition("\n")[0])
    entry = json.loads(image.partition("ENTRYPOINT ")[2])
    for _, *words in (started, entry):
        assert run([*words, "--help"]) == 0
        assert words[0] == "serve"


def test_a_port_that_is_taken_is_named(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    port = service.url.rpartition(":")[2]
    assert run(["serve", "--port", port]) == 1
    assert f"127.0.0.1:{port}: cannot listen" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'uvicorn' else find(name, *more)\n"
        "from hourglass.interfaces.cli import run; sys.exit(run(['serve']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'hourglass-autoencoder[serve]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_brings_no_framework() -> None:
    script = (
        "import sys; from hourglass.interfaces.cli import run; run(['serve', '--help'])\n"
        "print(sorted({'fastapi', 'uvicorn', 'starlette', 'torch', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
