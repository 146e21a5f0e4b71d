"""Uploads and fits: started, followed, stopped, cancelled, kept across restarts."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving import Running, connected, ended, events, numbers, process, rows, running, wait_for

from hourglass import load
from hourglass.errors import DataError, UsageError
from hourglass.interfaces.options import Fit
from hourglass.interfaces.service.answers import as_json
from hourglass.interfaces.service.fits import OPTIONS, Fits, _request
from hourglass.interfaces.service.models import Models
from hourglass.interfaces.service.store import FITS, UPLOADS, Store

CSV = "a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in numbers(80).tolist())
QUICK = {"kind": "plain", "latent": 2, "epochs": 3, "false_alarm_rate": 0.1}
SLOW = {**QUICK, "epochs": 100_000}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without a model, on a store of its own."""
    with running(store=str(tmp_path_factory.mktemp("store"))) as made:
        yield made


def upload(client: httpx.Client, content: str = CSV) -> str:
    answer = client.post("/v1/uploads", files={"file": ("new.csv", content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def start(client: httpx.Client, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/fits", json={"upload": upload(client), "options": options, **more})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def test_an_upload_is_looked_at(empty: Running) -> None:
    text = "when,amount,goods,id\n" + "".join(
        f"2026-01-{d:02d},{d * 1.5},{'tea' if d % 2 else ''},{d}\n" for d in range(1, 29)
    )
    found = empty.client.post("/v1/uploads", files={"file": ("../new.csv", text)}).json()
    assert found["files"] == ["new.csv"]
    assert (found["rows"], found["modality"], found["bytes"]) == (28, "series", len(text))
    assert [column["name"] for column in found["columns"]] == ["when", "amount", "goods", "id"]
    assert found["columns"][2]["missing"] == 14
    assert found["columns"][3]["problem"]
    assert len(found["preview"]) == 8
    assert empty.client.get(f"/v1/uploads/{found['id']}").json() == found
    assert empty.client.delete(f"/v1/uploads/{found['id']}").status_code == 204
    assert empty.client.get(f"/v1/uploads/{found['id']}").status_code == 404


def test_an_upload_that_cannot_be_read_is_not_kept(empty: Running) -> None:
    before = set((empty.store.root / "uploads").iterdir())
    answer = empty.client.post("/v1/uploads", files={"file": ("new.parquet", b"no")})
    assert answer.status_code == 400
    assert answer.json()["where"] == "new.parquet"
    assert set((empty.store.root / "uploads").iterdir()) == before


@pytest.mark.parametrize(("unit", "number"), [("s", 400_000_000_000), ("s", -(10**15)), ("ns", 1), ("ms", 2**62)])
def test_times_that_no_calendar_has_are_shown_or_refused(empty: Running, unit: str, number: int) -> None:
    times = pa.array([number, None, *range(1, 70)], pa.timestamp(unit))
    out = io.BytesIO()
    pq.write_table(pa.table({"when": times, "level": np.arange(71.0)}), out)
    answer = empty.client.post("/v1/uploads", files={"file": ("new.parquet", out.getvalue())})
    assert answer.status_code in (201, 422), answer.text
    if answer.status_code == 201:
        key = answer.json()["id"]
        assert empty.client.get(f"/v1/uploads/{key}/rows?start=0&number=3").json()["rows"][1][0] is None


def test_a_fit_from_a_file_to_scores(empty: Running) -> None:
    client = empty.client
    form = {"name": "pumps", "options": json.dumps(QUICK), "report": "true"}
    answer = client.post("/v1/fits", data=form, files={"file": ("new.csv", CSV)})
    assert answer.status_code == 202, answer.text
    fit = answer.json()
    assert (fit["state"], fit["name"]) == ("queued", "pumps")
    told = events(client, fit["id"])
    assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
    assert told[0][1] == "note"
    assert [fact["epoch"] for _, name, fact in told if name == "epoch" and fact["terms"]] == [1, 2, 3]
    assert (told[-1][1], told[-1][2]["document"]["kind"]) == ("done", "plain")
    assert client.post(f"/v1/models/pumps/detect?upload={fit['upload']}").json()["rows"] == 80  # at once
    document = client.get(f"/v1/fits/{fit['id']}").json()
    assert document["state"] == "done"
    assert str(empty.store.root) not in json.dumps([document, told])
    path = empty.store.root / "downloaded.safetensors"
    path.write_bytes(client.get("/v1/models/pumps/file").content)
    assert load(path).model_.latent_size == 2
    report = client.get(f"/v1/fits/{fit['id']}/report")
    assert report.headers["content-disposition"].startswith("attachment")
    assert b"<html" in report.content
    assert events(client, fit["id"], **{"last-event-id": str(len(told) - 1)}) == told[-1:]
    assert client.post("/v1/fits", json={"upload": fit["upload"], "name": "pumps"}).status_code == 409


def test_data_that_cannot_be_learned_from_fail_the_fit_in_the_words_of_the_reader(empty: Running) -> None:
    key = upload(empty.client, "name\n" + "".join(f"person {i}\n" for i in range(60)))
    fit = empty.client.post("/v1/fits", json={"upload": key, "options": QUICK}).json()
    done = ended(empty.client, fit["id"])
    assert done["state"] == "failed"
    assert done["error"]["what"] == "no column is left to learn from"
    assert done["error"]["where"] == "new.csv"
    assert events(empty.client, fit["id"])[-1][1:] == ("failed", done["error"])
    assert fit["id"] not in str(empty.client.get("/v1/models").json())


WRONG = {
    "no upload": ({"options": QUICK}, 404),
    "a foreign upload": ({"upload": "../x"}, 404),
    "an unknown option": ({"options": {"epoch": 3}}, 422),
    "a path for an option": ({"options": {"output": "/tmp/x"}}, 422),
    "a machine": ({"options": {"on": "ray://example.org:10001"}}, 422),
    "a file for noise": ({"options": {"noise": ["/etc/passwd"]}}, 422),
    "a wrong value": ({"options": {"epochs": 0}}, 422),
    "a name that is a path": ({"name": "../x"}, 422),
    "an unknown key": ({"nane": "x"}, 422),
    "options that are none": ({"options": [1]}, 422),
    "a report that is a path": ({"report": "/tmp/x.html"}, 422),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_fitted_is_refused_at_once(empty: Running, case: str) -> None:
    sent, status = WRONG[case]
    body = {"upload": upload(empty.client), **sent} if case != "no upload" else sent
    before = len(empty.client.get("/v1/fits").json()["fits"])
    answer = empty.client.post("/v1/fits", json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"what", "where", "how"}
    assert len(empty.client.get("/v1/fits").json()["fits"]) == before


def test_every_option_of_a_fit_is_offered_but_those_that_name_files_machines_or_what_the_server_may_use() -> None:
    ours = {"data", "output", "report", "clean", "resume"} | {"device", "on", "memory", "workers"}
    talk = {"json", "quiet", "debug"}
    assert {field.name for field in dataclasses.fields(Fit)} - set(OPTIONS) == ours | talk


ODD: list[Any] = [None, "", [], {}, True, -1, 1e999, 10**30, "x" * 70_000, "\x00", "\ud800"]
ODD += [[[]], [None], [1e999], {"a": []}]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_odd_value_of_an_option_is_refused_or_can_be_told_again(option: str) -> None:
    for value in ODD:
        document = {"options": {option: value}, "resume": False}
        try:
            _request(document, "data", "model", None)
        except UsageError:
            continue
        assert json.loads(as_json(document)) == document


@pytest.mark.parametrize("name", ["upload", "name", "options", "report", "else"])
def test_what_is_nested_or_long_is_no_request_for_a_fit(empty: Running, name: str) -> None:
    def status(value: str) -> int:
        content = f'{{"upload": "none", "{name}": {value}}}'
        answer = empty.client.post("/v1/fits", content=content, headers={"content-type": "application/json"})
        assert set(answer.json()) == {"what", "where", "how"}
        return answer.status_code

    for depth in range(100, 1_000, 20):
        assert status("[" * depth + "]" * depth) in (400, 422)
        assert status('{"kind": ' * depth + "1" + "}" * depth) in (400, 404, 422)
    assert status('"' + "x" * 70_000 + '"') == 413


@pytest.mark.parametrize(
    ("data", "status"),
    [({"name": "../x"}, 422), ({"options": "[1]"}, 400), ({"options": '{"a": 1}'}, 422), ({"else": "x"}, 422)],
    ids=str,
)
def test_a_form_that_is_refused_leaves_nothing_behind(empty: Running, data: dict[str, str], status: int) -> None:
    kept, files = len(empty.store.all(UPLOADS)), set((empty.store.root / "uploads").iterdir())
    answer = empty.client.post("/v1/fits", data=data, files={"file": ("new.csv", CSV)})
    assert answer.status_code == status, answer.text
    assert len(empty.store.all(UPLOADS)) == kept
    assert set((empty.store.root / "uploads").iterdir()) == files


def test_json_that_is_none_is_told_how_to_ask_for_a_fit(empty: Running) -> None:
    answer = empty.client.post("/v1/fits", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert '"upload": ID' in answer.json()["how"]


def test_stop_keeps_the_best_so_far(empty: Running) -> None:
    client = empty.client
    fit = start(client, SLOW, name="stopped")
    wait_for(lambda: _epochs(empty, fit["id"]) > 3)
    assert client.delete(f"/v1/uploads/{fit['upload']}").status_code == 409
    assert client.get("/healthz").status_code == 200  # it answers meanwhile
    assert client.post(f"/v1/fits/{fit['id']}/stop").status_code == 202
    done = ended(client, fit["id"])
    assert done["state"] == "done", done
    assert done["document"]["training"]["stopped"] == "interrupted"
    assert client.post(f"/v1/fits/{fit['id']}/stop").status_code == 409
    assert client.delete(f"/v1/fits/{fit['id']}").status_code == 200
    assert [client.get(f"/v1/{path}").status_code for path in (f"fits/{fit['id']}", "models/stopped")] == [404, 404]


def test_cancel_keeps_nothing_and_few_may_wait(empty: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.interfaces.service.fits._MOST_WAITING", 1)
    client = empty.client
    first = start(client, SLOW)
    wait_for(lambda: client.get(f"/v1/fits/{first['id']}").json()["state"] == "running")
    second = start(client, QUICK)
    answer = client.post("/v1/fits", json={"upload": first["upload"]})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert client.delete(f"/v1/fits/{second['id']}").json()["state"] == "cancelled"
    third = start(client, QUICK)  # which has the place of the one that was cancelled
    for fit in (third, first):
        assert client.delete(f"/v1/fits/{fit['id']}").json()["state"] == "cancelled"
        assert events(client, fit["id"])[-1][1] == "cancelled"
    assert not empty.store.model_path(first["id"]).exists()


def test_the_events_of_a_fit_end_even_where_its_process_had_the_last_word(empty: Running) -> None:
    fit = start(empty.client, SLOW)
    wait_for(lambda: _epochs(empty, fit["id"]) > 0)
    empty.client.delete(f"/v1/fits/{fit['id']}")
    with open(empty.store.fit_path(fit["id"], ".jsonl"), "a", encoding="utf-8") as file:
        file.write('{"event": "epoch", "epoch": 9, "epochs": 9, "terms": {}}\n')
    with connected(empty.url) as client:
        client.timeout = httpx.Timeout(20)
        text = client.get(f"/v1/fits/{fit['id']}/events").text
    assert "event: cancelled" in text


def test_a_fit_that_is_cancelled_while_its_process_is_made_is_killed(
    empty: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go, make = threading.Event(), threading.Event(), asyncio.create_subprocess_exec
    made: list[asyncio.subprocess.Process] = []

    async def late(*words: Any, **more: Any) -> asyncio.subprocess.Process:
        asked.set()
        await asyncio.to_thread(go.wait, 30)
        made.append(await make(*words, **more))
        return made[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", late)
    fit = start(empty.client, SLOW)
    assert asked.wait(30)
    assert empty.client.delete(f"/v1/fits/{fit['id']}").json()["state"] == "cancelled"
    go.set()
    wait_for(lambda: made and made[0].returncode is not None, 30)
    assert made[0].returncode == -signal.SIGKILL
    assert empty.client.get(f"/v1/fits/{fit['id']}").json()["state"] == "cancelled"


def test_a_fit_that_cannot_begin_has_failed_and_the_next_one_is_begun(
    empty: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("hourglass.interfaces.service.fits._COMMAND", ("/nowhere/python",))
        fit = start(empty.client, QUICK)
        done = ended(empty.client, fit["id"])
    assert (done["state"], done["error"]["what"]) == ("failed", "something of ours failed")
    assert events(empty.client, fit["id"])[-1][1:] == ("failed", done["error"])
    assert ended(empty.client, start(empty.client, QUICK)["id"])["state"] == "done"


def test_signals_for_the_server_are_not_for_its_fit(empty: Running) -> None:
    """Service managers send SIGTERM to all processes, terminals SIGINT to all of a session."""
    fit = start(empty.client, SLOW)
    wait_for(lambda: _epochs(empty, fit["id"]) > 0)
    child = empty.service.fits._process
    assert child is not None
    assert os.getsid(child.pid) == child.pid
    os.kill(child.pid, signal.SIGTERM)
    before = _epochs(empty, fit["id"])
    wait_for(lambda: _epochs(empty, fit["id"]) > before + 3)
    assert child.returncode is None
    empty.client.delete(f"/v1/fits/{fit['id']}")


def test_a_process_that_is_killed_is_a_failed_fit(empty: Running) -> None:
    fit = start(empty.client, SLOW)
    wait_for(lambda: _epochs(empty, fit["id"]) > 0)
    child = empty.service.fits._process
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    done = ended(empty.client, fit["id"])
    assert done["state"] == "failed"
    assert "-9" in done["error"]["what"]


def _epochs(service: Running, key: str) -> int:
    return told(service, key).count('"epoch": ')


def test_a_store_outlives_its_server(tmp_path: Path) -> None:
    """Fitted models are served again, what ran is interrupted and its process gone, what waited waits."""
    with process("--store", str(tmp_path)) as (server, facts), connected(facts["url"]) as client:
        done = start(client, QUICK, name="kept")
        assert ended(client, done["id"])["state"] == "done"
        scores = client.post("/v1/models/kept/detect", json={"rows": rows()}).json()
        broken, waits = start(client, SLOW, name="broken"), start(client, SLOW, name="waits")
        wait_for((tmp_path / "models" / f"{broken['id']}.resume.safetensors").exists)
        child = _child(server.pid)
        server.kill()
        server.wait()
    wait_for(lambda: not Path(f"/proc/{child}").exists())
    with running(store=str(tmp_path)) as service:
        client = service.client
        assert client.post("/v1/models/kept/detect", json={"rows": rows()}).json() == scores
        assert ended(client, broken["id"])["state"] == "interrupted"
        assert events(client, broken["id"])[-1][1] == "interrupted"
        assert client.get(f"/v1/fits/{waits['id']}").json()["state"] in ("queued", "running")
        assert client.post(f"/v1/fits/{done['id']}/resume").status_code == 409
        assert client.post(f"/v1/fits/{broken['id']}/resume").json()["state"] == "queued"
        assert [fit["name"] for fit in client.get("/v1/fits").json()["fits"]] == ["waits", "broken", "kept"]
        client.delete(f"/v1/fits/{waits['id']}")
        wait_for(lambda: "going on after epoch" in told(service, broken["id"]))
    with Store(str(tmp_path)) as store:  # whoever stops a server stops its fit
        assert store.get(FITS, broken["id"])["state"] == "interrupted"


def told(service: Running, key: str) -> str:
    """What a fit has told so far."""
    return service.store.fit_path(key, ".jsonl").read_text()


def _child(pid: int) -> str:
    """The process that a process started, where /proc tells; else one that is gone already."""
    tasks = Path(f"/proc/{pid}/task")
    known = [(task / "children").read_text().split() for task in tasks.iterdir()] if tasks.exists() else []
    return next((found[0] for found in known if found), "none")


def test_two_servers_on_one_store_are_refused(tmp_path: Path) -> None:
    with Store(str(tmp_path)), pytest.raises(DataError, match=f"process {os.getpid()} is at work on it"):
        Store(str(tmp_path))
    with Store(str(tmp_path)):
        pass


def test_a_store_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Exception, match="cannot be a store"):
        Store(str(tmp_path / "file"))
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(Exception, match="the index cannot be used"):
        Store(str(tmp_path))


def test_a_temporary_store_is_removed() -> None:
    with Store(None) as store:
        store.put(FITS, {"id": "x"})
        assert store.get(FITS, "x") == {"id": "x"}
    assert not store.root.exists()


def test_a_file_may_not_have_the_name_of_a_fit_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Models, "__contains__", lambda models, name: name == "m")
    with Store(str(tmp_path)) as store:
        store.put(FITS, {"id": "1", "name": "m", "state": "queued"})
        with pytest.raises(UsageError, match="the store has a fit called 'm' too"):
            Fits(store, Models()).take_up()
