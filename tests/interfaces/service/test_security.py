"""Who may ask, what a name can be, how much fits: what must not get through does not, and says why."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path

import httpx
import pytest
from serving import Running, connected, rows, running

from hourglass.errors import UsageError
from hourglass.interfaces.service.answers import accepted
from hourglass.interfaces.service.faults import Refusal
from hourglass.interfaces.service.security import check_host, check_origin
from hourglass.interfaces.service.server import _check_reach

TOKEN = "a-long-and-secret-token"


def document(answer: httpx.Response) -> dict[str, str]:
    """A refusal, whose three parts are always there."""
    found: dict[str, str] = answer.json()
    assert set(found) == {"what", "where", "how"}
    assert found["what"]
    assert "Traceback" not in answer.text
    return found


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Running:  # type: ignore[misc]
    with running(folder / "plain.safetensors", token=TOKEN, max_body=1, allow_host=("My.Own.Name",)) as made:
        yield made


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", TOKEN, f"bearer {TOKEN}", f"Bearer {TOKEN}x"])
def test_without_the_token_nothing_is_told(guarded: Running, given: str | None) -> None:
    headers = {} if given is None else {"authorization": given}
    for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/fits", "/nowhere"):
        answer = guarded.client.get(path, headers=headers)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in document(answer)["how"]


def test_with_the_token_and_where_none_is_needed(guarded: Running) -> None:
    assert guarded.client.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert [guarded.client.get(path).status_code for path in ("/healthz", "/readyz", "/")] == [200, 200, 200]


HOSTS = {
    **dict.fromkeys(("localhost", "localhost:8000", "127.0.0.1:9", "[::1]:80", "192.168.0.7", "my.own.name:1"), True),
    **dict.fromkeys(("", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "[::1", "a@localhost"), False),
    **dict.fromkeys(("localhost#x", "localhost/..", "localhost\\x", "0x7f.1"), False),
}


@pytest.mark.parametrize("host", [host for host, ours in HOSTS.items() if ours])
def test_names_of_ours_are_answered_to(host: str) -> None:
    check_host(host, ("my.own.name",))


@pytest.mark.parametrize("host", [host for host, ours in HOSTS.items() if not ours], ids=repr)
def test_other_names_are_not(host: str) -> None:
    with pytest.raises(Refusal, match="none of ours"):
        check_host(host, ("my.own.name",))


def test_a_foreign_host_is_refused_over_the_wire(client: httpx.Client) -> None:
    answer = client.get("/v1/models", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert document(answer)["where"] == "Host"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "{url}"}, 200),
        ({"origin": "{url}", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "{url}.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_pages_of_other_origins_change_nothing(service: Running, headers: dict[str, str], status: int) -> None:
    sent = {name: value.replace("{url}", service.url) for name, value in headers.items()}
    answer = service.client.post("/v1/models/plain/detect", json={"rows": rows()}, headers=sent)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_an_origin_of_another_scheme_is_another() -> None:
    with pytest.raises(Refusal):
        check_origin("http", {b"origin": "https://localhost", b"host": "localhost"})


def test_behind_a_proxy_that_speaks_tls_the_page_of_an_allowed_name_is_ours() -> None:
    allowed = ("my.own.name",)
    for host in ("my.own.name", "My.own.name:8443"):
        check_origin("http", {b"origin": f"https://{host}", b"host": host, b"sec-fetch-site": "same-origin"}, allowed)
    for host, more in (("localhost", {}), ("my.own.name", {b"sec-fetch-site": "cross-site"})):
        with pytest.raises(Refusal):
            check_origin("http", {b"origin": f"https://{host}", b"host": host, **more}, allowed)
    with pytest.raises(Refusal):
        check_origin("http", {b"origin": "https://other.name", b"host": "my.own.name"}, allowed)


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/nowhere", "/v1/models/none", "/openapi.json", "/"])
def test_every_answer_forbids_what_nobody_needs(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_who_can_be_reached_needs_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="needs a token"):
        _check_reach(host, None)
    with pytest.raises(UsageError, match="8 or more"):
        _check_reach(host, "short")
    _check_reach(host, TOKEN)


PATHS = [
    *("..", "../x", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "%2e%2e%2f", "%2e%2e/%2e%2e/", "....//"),
    *("..\\..\\windows", "%5c..%5c", "..%5c..%5cx", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd"),
    *("plain.safetensors", "plain%00", "plain%00.png", "%00", "plain/", "plain%2f", "plain%2fdetect", "plain;x"),
    "%252e%252e%252f",
    *("plain%20", "%20plain", "plain%0a", "plain%0d%0aX: y", "PLAIN", "Plain", "pla\u0131n", "plain%EF%BC%8E"),
    *("%F0%9F%92%A9", "%c0%ae%c0%ae/", "%ff", "%", "%2", "%zz", "$(id)", "`id`", "|id", "'or'1'='1", '"', "<script>"),
    *("{{7*7}}", "${x}", "file:///etc/passwd", "http://localhost/", "data:,x", "~root", "*", "con", "-"),
    *("nul.safetensors", "plain?", "?", ".", pytest.param("a" * 300, id="a x 300")),
]  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_a_name_is_never_a_path(service: Running, name: str, tmp_path: Path) -> None:
    """Sent as it is, byte by byte, since clients mend paths before they send them."""
    raw = name.encode().replace(b" ", b"%20").replace(b"\r", b"").replace(b"\n", b"")
    for template in (b"/v1/models/%s", b"/v1/models/%s/file", b"/v1/uploads/%s", b"/v1/fits/%s/report", b"/page/%s"):
        status, body = asked(service, b"GET " + template.replace(b"%s", raw) + b" HTTP/1.1")
        expected = (200, 400, 404, 405) if raw == b"plain?" else (400, 404, 405)
        assert status in expected, (status, body[:200])
        assert b"root:" not in body
        assert str(service.store.root).encode() not in body


def asked(service: Running, line: bytes) -> tuple[int, bytes]:
    """The status and body that a request line gets."""
    host = service.url.removeprefix("http://")
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(line + f"\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_a_file_name_of_a_client_stays_a_word(service: Running) -> None:
    content = b"a,b,c\n1,2,3\n"
    for name in ("../../x.csv", "/etc/cron.d/x.csv", "..\\x.csv", "a\x00.csv", "C:\\x.csv", "<b>.csv"):
        before = set(service.store.root.parent.glob("*.csv"))  # others use the folder too
        answer = service.client.post("/v1/models/plain/detect", files={"file": (name, content)})
        assert answer.status_code in (200, 400), answer.text
        assert set(service.store.root.parent.glob("*.csv")) == before
    kept = [path.name for path in (service.store.root / "uploads").rglob("*.csv")]
    assert all(name == "00000.csv" for name in kept)


BODIES = {
    "nothing": b"",
    "no JSON": b"{rows: []}",
    "cut": b'{"rows": [[1, 2',
    "no UTF-8": b'{"rows": [["\xff"]]}',
    "a list": b"[1]",
    "a word": b'"rows"',
    "rows no list": b'{"rows": 3}',
    "unknown key": b'{"rows": [[1, 2, 3]], "row": 1}',
    "names no words": b'{"rows": [[1, 2, 3]], "columns": [1, 2, 3]}',
    "NaN": b'{"rows": [[NaN, 1, 2]]}',
    "Infinity": b'{"rows": [[1, -Infinity, 2]]}',
    "nested": b'{"rows": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "nested objects": b'{"rows": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    "a number of 5,000 digits": b'{"rows": [[' + b"9" * 5_000 + b", 1, 2]]}",
}
UNUSABLE = {
    "no rows": {"rows": []},
    "empty rows": {"rows": [[]]},
    "empty objects": {"rows": [{}]},
    "too few cells": {"rows": [[1, 2]]},
    "uneven": {"rows": [[1, 2, 3], [1, 2]]},
    "mixed shapes": {"rows": [{"a": 1, "b": 2, "c": 3}, [1, 2, 3]]},
    "a row of words": {"rows": ["abc"]},
    "words": {"rows": [["x", 1, 2]]},
    "lists in cells": {"rows": [{"a": [1], "b": 2, "c": 3}]},
    "deep lists": {"rows": [[[[[[[[[[[1]]]]]]]]]]]},
    "objects in cells": {"rows": [{"a": {"x": 1}, "b": 2, "c": 3}]},
    "several types": {"rows": [{"a": 1, "b": 2, "c": 3}, {"a": "x", "b": True, "c": 3}]},
    "a whole number beyond all": {"rows": [[10**400, 1, 2]]},
    "an unknown column": {"rows": [[1, 2, 3]], "columns": ["a", "b", "d"]},
    "names twice": {"rows": [[1, 2, 3]], "columns": ["a", "a", "c"]},
    "a lone surrogate": {"rows": [{"a": "\ud800", "b": 1, "c": 2}]},
    "a missing column": {"rows": [{"a": 1, "b": 2}]},
}


@pytest.mark.parametrize("name", BODIES)
def test_what_is_no_request_is_400(client: httpx.Client, name: str) -> None:
    answer = client.post("/v1/models/plain/detect", content=BODIES[name], headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    document(answer)


@pytest.mark.parametrize("name", UNUSABLE)
@pytest.mark.parametrize("verb", ["detect", "encode"])
def test_rows_that_cannot_be_used_are_422(client: httpx.Client, name: str, verb: str) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post(f"/v1/models/plain/{verb}", content=json.dumps(UNUSABLE[name]), headers=headers)
    assert answer.status_code == 422, answer.text
    document(answer)


@pytest.mark.parametrize(("verb", "cells"), [("detect", 3), ("encode", 3), ("reconstruct", 3), ("decode", 2)])
def test_a_number_beyond_all_floats_is_422(client: httpx.Client, verb: str, cells: int) -> None:
    content = f'{{"rows": [[1e999{", 1" * (cells - 1)}]]}}'
    answer = client.post(f"/v1/models/plain/{verb}", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    document(answer)


@pytest.mark.parametrize("depth", range(100, 1_000, 150))
@pytest.mark.parametrize("form", ['{"rows": %s}', '{"rows": [%s]}', '{"rows": [[%s, 1, 2]]}', '{"rows": [{"a": %s}]}'])
def test_lists_within_lists_are_refused_at_any_depth(client: httpx.Client, form: str, depth: int) -> None:
    headers = {"content-type": "application/json"}
    for content in ("[" * depth + "1" + "]" * depth, '{"x": ' * depth + "1" + "}" * depth):
        answer = client.post("/v1/models/plain/encode", content=form % content, headers=headers)
        assert answer.status_code in (400, 422), answer.text
        document(answer)


def test_json_is_limited_to_what_may_be_held_in_memory(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.interfaces.service.bodies._MOST_JSON", 64)
    answer = client.post("/v1/models/plain/detect", json={"rows": rows(9)})
    assert answer.status_code == 413
    assert "CSV" in document(answer)["how"]


QUERIES = {
    "unknown": "reason=all",
    "no choice": "reasons=some",
    "no number": "false_alarm_rate=x",
    "too large": "false_alarm_rate=2",
    "not finite": "false_alarm_rate=nan",
    "a path": "model=/etc/passwd",
    "an output": "output=/tmp/x",
    "two thresholds": "false_discovery_rate=0.1&false_alarm_rate=0.1",
    "no upload": "upload=../x",
}
TOO_MANY = ("number=100000000", "plane=1000000", "steps=1000000000", "plane=9223372036854775807")


@pytest.mark.parametrize("query", TOO_MANY)
def test_nobody_can_have_the_memory_filled_with_samples(client: httpx.Client, query: str) -> None:
    answer = client.post(f"/v1/models/plain/generate?{query}", json={"rows": rows()} if "steps" in query else None)
    assert answer.status_code == 422
    assert "samples to make" in document(answer)["what"]


@pytest.mark.parametrize("name", QUERIES)
def test_options_are_checked_by_name(client: httpx.Client, name: str) -> None:
    answer = client.post(f"/v1/models/plain/detect?{QUERIES[name]}", json={"rows": rows()})
    assert answer.status_code == (404 if "upload" in name else 422), answer.text
    assert str(tempfile.gettempdir()) not in answer.text
    document(answer)


def test_kinds_of_content(client: httpx.Client) -> None:
    def status(content: bytes, kind: str, **headers: str) -> int:
        answer = client.post("/v1/models/plain/detect", content=content, headers={"content-type": kind, **headers})
        if answer.status_code != 200:
            document(answer)
        return answer.status_code

    good = b"a,b,c\n1,2,3\n"
    assert status(good, "text/csv") == 200
    assert status(good, "text/csv", accept="text/html, */*;q=0.1") == 200
    assert [status(good, kind) for kind in ("", "text/html", "application/x-python-pickle")] == [415, 415, 415]
    assert status(good, "application/vnd.apache.parquet") == 400  # no such file
    assert status(b"", "text/csv") == 400
    assert status(good, "text/csv", accept="text/html") == 406
    assert status(good, "text/csv", accept="image/png") == 406
    assert status(b"\x89PNG\r\n\x1a\nxx", "image/png") == 400
    assert client.post("/v1/models/plain/detect", files={"file": ("x.exe", b"MZ")}).status_code == 415
    assert client.post("/v1/models/plain/detect", files=[("file", ("x.csv", good))] * 2).status_code == 415
    assert client.post("/v1/models/plain/detect", data={"other": "x"}).status_code == 415
    assert status(b"--x\r\nnonsense", "multipart/form-data; boundary=x") == 400
    assert status(good, "multipart/form-data") == 400


def test_accept_takes_the_first_known_form() -> None:
    assert accepted("") == accepted("*/*") == ""
    assert accepted("text/html, text/csv;q=0.9, */*") == "text/csv"


def test_large_bodies_are_refused_while_they_come(guarded: Running) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "text/csv"}

    def pieces() -> object:
        for _ in range(64):
            yield b"1,2,3\n" * 8_192

    with connected(guarded.url) as client:
        told = client.post("/v1/models/plain/detect", content=b"x" * (2 << 20), headers=headers)
    assert told.status_code == 413
    document(told)
    try:
        with connected(guarded.url) as client:
            untold = client.post("/v1/models/plain/detect", content=pieces(), headers=headers)  # type: ignore[arg-type]
            assert untold.status_code == 413
    except httpx.WriteError:
        pass  # the connection was closed while we still sent
    assert not list((guarded.store.root / "uploads").iterdir())


def test_a_form_has_a_limited_number_of_parts(client: httpx.Client) -> None:
    answer = client.post("/v1/models/dots/detect", files=[("file", ("x.png", b"x"))] * 1_001)
    assert answer.status_code == 400
    answer = client.post("/v1/uploads", data={f"k{i}": "v" for i in range(20)}, files={"file": ("x.csv", b"a\n1\n")})
    assert answer.status_code == 400
    assert "1,000 files" in document(answer)["how"]


def test_ranges_are_not_looked_at(client: httpx.Client) -> None:
    """Many of them have brought other servers down."""
    page = client.get("/").text.partition('src="')[2].partition("main.js")[0]
    for given in ("bytes=0-9", f"bytes={','.join(f'{place}-' for place in range(5_000))}", "bytes=x", "rows=1"):
        answer = client.get(f"{page}plotly.min.js", headers={"range": given})
        assert answer.status_code == 200
        assert len(answer.content) > 1_000_000


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/v1/models", 405), ("DELETE", "/v1/models/plain", 405), ("GET", "/v1/models/plain/detect", 405),
     ("POST", "/v1/models/plain/nothing", 404), ("GET", "/docs", 404), ("GET", "/redoc", 404), ("PATCH", "/", 405),
     ("POST", "/v1/models/none/detect", 404), ("GET", "/v1/fits/none", 404), ("GET", "/v1/uploads/none", 404),
     ("DELETE", "/v1/fits/none", 404), ("POST", "/v1/fits/none/stop", 404), ("GET", "/v1/fits/none/events", 404),
     ("GET", "/v1/uploads/none/files/x", 404), ("GET", f"/v1/models/{'x' * 20_000}", 404)],
)  # fmt: skip
def test_what_is_not_there(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    document(answer)
    if status == 405:
        assert {"GET", "POST"} & set(answer.headers["allow"].split(", "))


def test_a_fault_of_ours_is_told_without_its_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(folder / "plain.safetensors") as made:
        monkeypatch.setattr("hourglass.interfaces.service.scoring.VERBS", {})
        monkeypatch.setattr("hourglass.interfaces.service.app.asked", lambda verb, given: 1 / 0)
        answer = made.client.post("/v1/models/plain/detect", json={"rows": rows()})
    assert answer.status_code == 500
    assert document(answer)["how"].split()[-1] in caplog.text
    assert "ZeroDivisionError" not in answer.text
