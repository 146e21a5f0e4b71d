"""Every verb over HTTP says what the model itself says, in every form."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image
from serving import Running, connected, numbers, rows

from hourglass import load
from hourglass.data.columns import table_of
from hourglass.data.samples import Frame

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
MIXED = [{"amount": 100, "goods": "tea", "sold": True}, {"amount": 9e3, "goods": "silk", "sold": None}]


def model(folder: Path, name: str = "plain") -> Any:
    return load(folder / f"{name}.safetensors").model_


def frame(count: int = 4) -> Frame:
    return Frame(table_of(numbers(count, 1), ["a", "b", "c"]))


def in_csv(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pa_csv.write_csv(table, out)
    return out.getvalue()


def in_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_detect_says_what_the_model_says(client: httpx.Client, folder: Path) -> None:
    found = client.post("/v1/models/plain/detect", json={"rows": rows()}).json()
    wanted = model(folder).detect(frame())
    np.testing.assert_allclose(found["scores"]["anomaly_score"], wanted.rows.score, rtol=1e-6)
    np.testing.assert_allclose(found["scores"]["p_value"], wanted.p_value)
    assert found["scores"]["is_anomaly"] == wanted.is_anomaly.tolist()
    assert (found["model"], found["rows"], found["threshold"]) == ("plain", 4, wanted.threshold.value)


FORMS = {
    "objects": {"json": {"rows": rows()}},
    "objects in another order": {"json": {"rows": [dict(reversed(row.items())) for row in rows()]}},
    "lists": {"json": {"rows": [list(row.values()) for row in rows()]}},
    "named lists": {"json": {"columns": ["c", "a", "b"], "rows": [[row[x] for x in "cab"] for row in rows()]}},
    "csv": {"content": in_csv(frame().table), "headers": {"content-type": f"{CSV}; charset=utf-8"}},
    "parquet": {"content": in_parquet(frame().table), "headers": {"content-type": PARQUET}},
    "form": {"files": {"file": ("here/new.csv", in_csv(frame().table))}},
    "form, parquet": {"files": {"file": ("new.PARQUET", in_parquet(frame().table))}},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_get_the_same_scores_however_they_are_sent(client: httpx.Client, folder: Path, form: str) -> None:
    found = client.post("/v1/models/plain/detect", **FORMS[form])
    assert found.status_code == 200, found.text
    np.testing.assert_allclose(
        found.json()["scores"]["anomaly_score"], model(folder).detect(frame()).rows.score, rtol=1e-6
    )


def test_words_and_flags_and_missing_cells(client: httpx.Client) -> None:
    found = client.post("/v1/models/mixed/detect?reasons=all", json={"rows": MIXED}).json()
    (odd,) = found["anomalies"]
    assert odd["row"] == 1
    assert {reason["cell"]: reason["value"] for reason in odd["reasons"]} == {
        "amount": 9000.0,
        "goods": "silk",
        "sold": None,
    }
    assert found["reasons"]["0"][0]["cell"] in ("amount", "goods", "sold")
    assert "silk" in found["notices"][0]


def test_encode_decode_reconstruct(client: httpx.Client, folder: Path) -> None:
    fitted, sent = model(folder), {"rows": rows()}
    codes = client.post("/v1/models/plain/encode", json=sent).json()
    np.testing.assert_allclose(codes["rows"], fitted.encode(frame()), rtol=1e-5, atol=1e-6)
    assert codes["columns"] == ["latent0", "latent1"]
    grouped = client.post("/v1/models/plain/encode?clusters=2", json=sent).json()
    assert grouped["columns"] == ["cluster", "latent0", "latent1"]
    assert {row[0] for row in grouped["rows"]} == {0, 1}
    assert client.post("/v1/models/plain/encode?clusters=1", json=sent).status_code == 422
    back = client.post("/v1/models/plain/reconstruct", json=sent).json()
    decoded = client.post("/v1/models/plain/decode", json={"rows": codes["rows"]}).json()
    named = client.post("/v1/models/plain/decode", json={key: codes[key] for key in ("columns", "rows")}).json()
    assert back["columns"] == ["a", "b", "c"]
    np.testing.assert_allclose(back["rows"], decoded["rows"], rtol=1e-5)
    assert named["rows"] == decoded["rows"]


def test_missing_cells_are_filled_in_and_nothing_else(client: httpx.Client) -> None:
    holed = [dict(rows(2)[0], b=None), rows(2)[1]]
    filled = client.post("/v1/models/plain/reconstruct?fill_missing=true", json={"rows": holed}).json()["rows"]
    assert filled[1] == list(holed[1].values())
    assert isinstance(filled[0][1], float)


def test_denoise_says_that_nobody_taught_it(client: httpx.Client) -> None:
    found = client.post("/v1/models/plain/denoise", json={"rows": rows()}).json()
    assert "not trained to remove noise" in found["notices"][0]


def test_generate(client: httpx.Client) -> None:
    one, again, other = (
        client.post(f"/v1/models/plain/generate?number=3&seed={seed}").json()["rows"] for seed in (1, 1, 2)
    )
    assert np.shape(one) == (3, 3)
    assert one == again != other
    assert np.shape(client.post("/v1/models/plain/generate?plane=3").json()["rows"]) == (9, 3)
    ways = client.post("/v1/models/plain/generate?steps=5", json={"rows": rows(2)}).json()
    assert ways["shape"] == [5, 3]


def test_a_series_has_events_and_every_row_its_time(client: httpx.Client) -> None:
    times = np.datetime64("2026-03-01") + np.arange(60) * np.timedelta64(1, "h")
    level = np.sin(np.arange(60) / 4)
    level[30:34] += 8
    sent = [{"time": str(time), "level": value} for time, value in zip(times, level.tolist(), strict=True)]
    found = client.post("/v1/models/waves/detect", json={"rows": sent})
    assert found.status_code == 200, found.text
    document = found.json()
    assert document["events"]
    assert document["scores"]["time"][1] == "2026-03-01T01:00:00"
    assert len(document["scores"]["covered"]) == 60


def png(seed: int = 0) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8)).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_pictures_in_and_out(client: httpx.Client) -> None:
    one = {"content": png(), "headers": {"content-type": "image/png", "accept": "image/png"}}
    back = client.post("/v1/models/dots/reconstruct", **one)
    assert back.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(back.content)).size == (8, 8)
    several = [("file", (f"part {place}.png", png(place))) for place in range(3)]
    found = client.post("/v1/models/dots/detect", files=several).json()
    assert found["scores"]["name"] == ["part 0.png", "part 1.png", "part 2.png"]
    sheet = client.post("/v1/models/dots/generate?number=4", headers={"accept": "image/png"})
    assert Image.open(io.BytesIO(sheet.content)).size == (22, 22)
    pixels = np.asarray(Image.open(io.BytesIO(png()))).tolist()
    assert client.post("/v1/models/dots/detect", json={"rows": [pixels]}).json()["rows"] == 1


def test_sound_in_and_out(client: httpx.Client) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.sin(np.arange(12_000) / 9) * 0.3, 8_000, format="WAV")
    sent = {"content": out.getvalue(), "headers": {"content-type": "audio/wav"}}
    back = client.post("/v1/models/tones/denoise", **sent)
    assert (back.status_code, back.headers["content-type"]) == (200, "audio/wav"), back.text
    sound, rate = soundfile.read(io.BytesIO(back.content))
    assert (len(sound), rate) == (12_000, 8_000)
    tiles = client.post("/v1/models/tones/detect", **sent).json()
    assert tiles["rows"] == len(tiles["scores"]["p_value"]) > 1
    refused = client.post(
        "/v1/models/tones/denoise", content=sent["content"], headers={**sent["headers"], "accept": "application/json"}
    )
    assert refused.status_code == 406


@pytest.mark.parametrize("verb", ["detect", "encode", "reconstruct"])
def test_tables_come_in_the_form_that_is_accepted(client: httpx.Client, verb: str) -> None:
    def answered(form: str) -> httpx.Response:
        return client.post(f"/v1/models/plain/{verb}", json={"rows": rows()}, headers={"accept": form})

    document = answered("application/json").json()
    values = document["scores"]["anomaly_score"] if verb == "detect" else [row[0] for row in document["rows"]]
    column = "anomaly_score" if verb == "detect" else document["columns"][0]
    table = pa_csv.read_csv(io.BytesIO(answered(CSV).content))
    np.testing.assert_allclose(table.column(column), values, rtol=1e-6)
    assert pq.read_table(io.BytesIO(answered(PARQUET).content)).column_names == table.column_names
    if verb != "detect":
        array = np.load(io.BytesIO(answered("application/x-npy").content), allow_pickle=False)
        np.testing.assert_allclose(array[:, 0], values, rtol=1e-6)


def test_each_answer_names_its_model_and_version(client: httpx.Client, folder: Path) -> None:
    import hashlib

    content = (folder / "plain.safetensors").read_bytes()
    version = hashlib.sha256(content).hexdigest()[:12]
    found = client.post("/v1/models/plain/detect", json={"rows": rows()})
    assert found.json()["version"] == found.headers["hourglass-version"] == version
    file = client.get("/v1/models/plain/file")
    assert (file.content, file.headers["hourglass-version"]) == (content, version)


def test_models_are_listed_and_described(client: httpx.Client) -> None:
    listed = {each["name"]: each for each in client.get("/v1/models").json()["models"]}
    assert {name: each["modality"] for name, each in listed.items()} == {
        "plain": "table", "mixed": "table", "waves": "series", "dots": "image", "tones": "audio",
    }  # fmt: skip
    about = client.get("/v1/models/mixed").json()
    assert [column["name"] for column in about["columns"]] == ["amount", "goods", "sold"]
    assert str(about).count("/tmp") == 0


def test_small_requests_that_wait_together_are_answered_as_alone(service: Running) -> None:
    """Forty clients at once: the worker joins what waits; one bad request spoils nobody's answer."""
    sent = [{"rows": rows(1 + place % 3, place)} for place in range(40)]
    sent[7] = {"rows": [{"a": "word", "b": 1.0, "c": 2.0}]}
    alone = [service.client.post("/v1/models/plain/detect", json=each) for each in sent]
    together: list[Any] = [None] * len(sent)

    def ask(place: int) -> None:
        with connected(service.url) as client:
            together[place] = client.post("/v1/models/plain/detect", json=sent[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(sent))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.status_code for each in together] == [200] * 7 + [422] + [200] * 32
    for one, other in zip(alone, together, strict=True):
        if one.status_code == 200:
            np.testing.assert_allclose(
                other.json()["scores"]["anomaly_score"], one.json()["scores"]["anomaly_score"], rtol=1e-6
            )
            assert other.json()["anomalies"] == one.json()["anomalies"]
