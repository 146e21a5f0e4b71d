"""Tables in an object store: the answers of local ones, to the bit, and what a store refuses is told within seconds."""

from __future__ import annotations

import io
import json
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command

from hourglass.core.checkpoints import read_document, save_model
from hourglass.core.fitted import DETECTOR
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.data import remote
from hourglass.data.files import read
from hourglass.data.shards import find_shards
from hourglass.errors import StoreError
from hourglass.interfaces import cluster, large_fits, remote_fits, sharding
from hourglass.interfaces.learning import Nobody
from hourglass.interfaces.options import Fit
from hourglass.interfaces.shard_manifest import Manifest
from hourglass.interfaces.shard_tasks import Task
from hourglass.settings import Training

Store = Any
"""See `stores.Store`."""
SHARDS = {"a.parquet": 300, "b.csv": 200, "sub/c.parquet": 70}


def table(rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    odd = 30 * (np.arange(rows) % 100 == 0)
    return pa.table({"x": x, "y": 2 * x + odd, "w": np.where(x > 0, "up", "down")})


def parquet(of: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(of, sink, row_group_size=100)
    return sink.getvalue()


def csv(of: pa.Table) -> bytes:
    return "\n".join(["x,y,w", *(f"{x},{y},{w}" for x, y, w in zip(*of.to_pydict().values(), strict=True))]).encode()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    pq.write_table(table(300, 9), folder / "train.parquet")
    plan = experiment("table", "plain").replace(training=Training(epochs=2))
    fitted = fit_model(read(folder / "train.parquet"), plan)  # type: ignore[arg-type]
    fitted.card["task"] = DETECTOR
    return str(save_model(fitted, folder / "model"))


@pytest.fixture
def logs(store: Store, tmp_path: Path) -> Path:
    """The same shards in a folder, which is given, and below `logs` in the store."""
    for seed, (name, rows) in enumerate(SHARDS.items()):
        content = (csv if name.endswith(".csv") else parquet)(table(rows, seed))
        store.put(f"logs/{name}", content)
        (tmp_path / "logs" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "logs" / name).write_bytes(content)
    store.put("logs/_SUCCESS", b"")
    store.put("logs/.old/d.parquet", b"PAR1")
    return tmp_path / "logs"


def results(of: Store | Path, folder: str = "") -> dict[str, pa.Table]:
    """The results in a folder, or in a folder of the store, by name."""
    if isinstance(of, Path):
        return {each.relative_to(of).as_posix(): pq.read_table(each) for each in of.rglob("*.parquet")}
    names = [name for name in of.names(folder) if name.endswith(".parquet")]
    return {name: pq.read_table(io.BytesIO(of.get(f"{folder}/{name}"))) for name in names}


@pytest.mark.parametrize("verb", ["detect", "encode", "reconstruct", "denoise"])
def test_a_store_gives_what_a_folder_gives(
    hourglass: Command, model: str, store: Store, logs: Path, tmp_path: Path, verb: str
) -> None:
    here = hourglass(verb, model, logs, "-o", tmp_path / "out", "--json")
    there = hourglass(verb, model, store.at("logs"), "-o", store.at("out"), "--json")
    assert (here.code, there.code) == (0, 0), there.err
    names = ["a.parquet", "b.parquet", "sub/c.parquet"]
    assert store.names("out") == ["_manifest.json", *names]
    assert results(store, "out") == results(tmp_path / "out")
    left, right = (
        json.loads(text) for text in (store.get("out/_manifest.json"), (tmp_path / "out/_manifest.json").read_bytes())
    )
    assert [{**each, "modified": 0} for each in left["files"]] == [{**each, "modified": 0} for each in right["files"]]
    for fact in ("rows", "shards", "skipped", "notices"):
        assert there.document[fact] == here.document[fact]


@pytest.mark.parametrize(("data", "output"), [("logs", "STORE"), ("STORE", "out"), ("STORE/a.parquet", "STORE")])
def test_each_place_may_be_here_or_there(
    hourglass: Command, model: str, store: Store, logs: Path, tmp_path: Path, data: str, output: str
) -> None:
    asked = store.at(data.replace("STORE", "logs")) if "STORE" in data else tmp_path / data
    done = hourglass("detect", model, asked, "-o", store.at("out/") if output == "STORE" else tmp_path / "out")
    assert done.code == 0, done.err
    assert hourglass("detect", model, logs, "-o", tmp_path / "expected").code == 0
    expected, found = (
        results(tmp_path / "expected"),
        results(store, "out") if output == "STORE" else results(tmp_path / "out"),
    )
    assert found == ({"a.parquet": expected["a.parquet"]} if "a.parquet" in data else expected)


def test_a_glob_names_the_shards_that_it_would_name_in_a_folder(store: Store, logs: Path) -> None:
    for pattern in ("*.parquet", "**/*.parquet", "*/*", "[ab].*"):
        here, there = find_shards(f"{logs}/{pattern}"), find_shards(store.at(f"logs/{pattern}"))
        assert here is not None
        assert there is not None
        assert there.names == here.names
        assert remote.bare(there.folder) == here.folder.replace(str(logs.parent), f"s3://{store.bucket}")


def test_a_second_run_does_only_what_has_changed(
    hourglass: Command, model: str, store: Store, logs: Path, tmp_path: Path
) -> None:
    words = ("detect", model, store.at("logs/**"), "-o", store.at("out"), "--json")
    assert hourglass(*words).document["skipped"] == 0
    assert hourglass(*words).document["skipped"] == 3
    store.put("logs/b.csv", csv(table(50, 5)))
    store.remove("logs/a.parquet")
    store.remove("out/sub/c.parquet")
    done = hourglass(*words)
    assert (done.code, done.document["skipped"], done.document["rows"]) == (0, 0, 120)
    assert store.names("out") == ["_manifest.json", "b.parquet", "sub/c.parquet"]
    other = hourglass(*words, "--false-alarm-rate", "0.2")
    assert "another model or other options" in other.err


def test_what_cannot_be_done_is_named_and_the_rest_is_done(
    hourglass: Command, model: str, store: Store, logs: Path
) -> None:
    store.put("logs/a.parquet", b"PAR1 and no more")
    store.put("logs/broken.csv", b"x,y,w\n1,2\n")
    denied = f"/{store.bucket}/logs/sub/c.parquet"
    store.fault = lambda request: "403 FORBIDDEN" if request["PATH_INFO"] == denied else None
    done = hourglass("detect", model, store.at("logs"), "-o", store.at("out"), "--json")
    assert done.code == 3
    failed = dict(each.split(": ", 1) for each in done.document["failed"])
    assert sorted(failed) == ["a.parquet", "broken.csv", "sub/c.parquet"]
    assert "damaged" in failed["a.parquet"]
    assert "line 2" in failed["broken.csv"]
    assert failed["sub/c.parquet"] == f"s3:/{denied}: access is denied"
    assert store.names("out") == ["_manifest.json", "b.parquet"]


def test_a_store_that_is_lost_ends_the_run_and_the_next_goes_on(
    hourglass: Command, model: str, store: Store, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = remote._put

    def lost(place: str, system: Any, path: str) -> None:
        if path.endswith("out/b.parquet"):
            raise OSError("AWS Error NETWORK_CONNECTION during UploadPart operation: curlCode: 28, Timeout was reached")
        put(place, system, path)

    words = ("encode", model, store.at("logs"), "-o", store.at("out"), "--json")
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_put", lost)
        done = hourglass(*words)
    assert done.code == 3
    assert f"s3://{store.bucket}: cannot be reached: curlCode: 28, Timeout was reached\nhint: " in done.err
    assert hourglass(*words).document["skipped"] == 1


def check_same(folder: Path) -> None:
    """Two models are the same to the bit, but for how long they took."""
    documents, weights = [], []
    for path in (folder / "here.safetensors", folder / "there.safetensors"):
        content = path.read_bytes()
        weights.append(content[8 + int.from_bytes(content[:8], "little") :])
        documents.append(read_document(path))
        del documents[-1]["history"]["seconds"]
    assert weights[0] == weights[1]
    assert documents[0] == documents[1]


@pytest.mark.parametrize("memory", [None, "64MB"])
def test_a_fit_to_a_store_is_the_fit_to_a_folder(
    hourglass: Command, store: Store, logs: Path, tmp_path: Path, memory: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if memory:
        monkeypatch.setattr(large_fits, "_COPIES", 10**6)
    words = ["--kind", "plain", "--epochs", "2", "--modality", "table", *(["--memory", memory] if memory else [])]
    for name, data in (("here", f"{logs}/**"), ("there", store.at("logs/**"))):
        done = hourglass("fit", data, "-o", tmp_path / name, *words)
        assert done.code == 0, done.err
    check_same(tmp_path)


def test_one_table_of_a_store_is_learned_from_as_a_file(
    hourglass: Command, store: Store, logs: Path, tmp_path: Path
) -> None:
    words = ["--kind", "plain", "--epochs", "2", "--modality", "table"]
    for name, data in (("here", logs / "b.csv"), ("there", store.at("logs/b.csv"))):
        assert hourglass("fit", data, "-o", tmp_path / name, *words).code == 0
    check_same(tmp_path)


def test_large_text_is_read_block_by_block(
    hourglass: Command, model: str, store: Store, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hourglass.data import files

    monkeypatch.setattr(files, "LARGE", 1)
    monkeypatch.setattr(files, "BLOCK", 2_000)
    for data, output in ((store.at("logs/*.csv"), store.at("out")), (f"{logs}/*.csv", tmp_path / "out")):
        assert hourglass("detect", model, data, "-o", output).code == 0
    assert results(store, "out") == results(tmp_path / "out")


def test_what_travels_to_a_cluster_is_words(model: str, store: Store, logs: Path, tmp_path: Path) -> None:
    shards = find_shards(store.at("logs/*.parquet"))
    assert shards is not None
    [todo] = Manifest(shards, store.at("out"), {"verb": "encode"}).pending()
    assert (todo.source, todo.target) == (store.at("logs/a.parquet"), store.at("out/a.parquet"))
    facts = cluster._score(Path(model).read_bytes(), Task("encode", 10**8), todo.source, todo.target)
    assert facts == {"rows": 300}
    assert store.names("out") == ["a.parquet"]
    asked = Fit(data=store.at("logs"), output="m", noise=())
    assert remote_fits._absolute(asked).data == store.at("logs")


def test_a_store_that_a_worker_loses_ends_the_run_too(store: Store, logs: Path) -> None:
    lost = StoreError("cannot be reached", where="s3://bucket", how="see to it")

    def lose() -> None:
        raise lost

    shards = find_shards(store.at("logs/*.parquet"))
    assert shards is not None
    manifest = Manifest(shards, store.at("out"), {"verb": "encode"})
    answers = [(todo, cluster._guarded(lose)) for todo in manifest.pending()]
    with pytest.raises(StoreError, match="cannot be reached"):
        sharding._work(manifest, lambda *words: answers, b"", Task("encode", 10**8), Nobody())
    assert manifest.failed == {}


REFUSALS: dict[str, tuple[list[str], int, str]] = {
    "no bucket": (["detect", "MODEL", "NOBUCKET", "-o", "OUT"], 3, "s3://nobucket: there is no such bucket"),
    "no bucket for results": (
        ["detect", "MODEL", "LOGS", "-o", "NOBUCKET"],
        3,
        "s3://nobucket: there is no such bucket",
    ),
    "no bucket to learn from": (["fit", "NOBUCKET", "-o", "m"], 3, "s3://nobucket: there is no such bucket"),
    "nothing there": (["detect", "MODEL", "STORE/nowhere", "-o", "OUT"], 3, "/nowhere: matches no table"),
    "no table there": (["detect", "MODEL", "STORE/logs/_SUC*", "-o", "OUT"], 3, "matches no table, but other files"),
    "among its shards": (["detect", "MODEL", "LOGS", "-o", "STORE/logs/out"], 2, "lies in the folder that is read"),
    "beside its shards": (["detect", "MODEL", "STORE/logs/*.csv", "-o", "LOGS"], 2, "lies in the folder that is read"),
    "over other files": (["detect", "MODEL", "LOGS", "-o", "STORE/mine"], 3, "files that are not from here, such as x"),
    "to one file": (["detect", "MODEL", "LOGS", "-o", "STORE/scores.csv"], 2, "wanted a place on this machine"),
    "a web address": (["detect", "MODEL", "HERE", "-o", "https://host/out"], 2, "wanted a place on this machine"),
    "a model there": (["fit", "LOGS", "-o", "STORE/m"], 2, "wanted a place on this machine"),
    "without a model": (["detect", "LOGS", "-o", "out.csv"], 3, "is an address, wanted a file"),
    "another verb": (["predict", "MODEL", "LOGS", "-o", "x.csv"], 3, "is an address, wanted a file"),
    "a model from there": (
        ["detect", "s3://me:word@b/m.safetensors", "HERE", "-o", "x.csv"],
        3,
        "is an address, wanted",
    ),
    "a code there": (["decompress", "s3://me:word@b/x.hgz", "MODEL"], 3, "is an address, wanted"),
    "maps there": (
        ["detect", "MODEL", "HERE", "-o", "x.csv", "--map", "s3://me:word@b/x"],
        2,
        "wanted a place on this",
    ),
    "a secret": (["detect", "MODEL", "s3://AKIA:word@bucket/x", "-o", "OUT"], 2, "holds a password or key"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_refused_before_any_work(
    hourglass: Command, model: str, store: Store, logs: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.put("mine/x", b"mine")
    words, code, says = REFUSALS[name]
    before = store.names()
    places = {
        "MODEL": model,
        "NOBUCKET": store.at("logs", "nobucket"),
        "LOGS": store.at("logs"),
        "OUT": store.at("out"),
        "HERE": str(logs),
    }
    spoken = [store.at(word[6:]) if word.startswith("STORE/") else places.get(word, word) for word in words]
    done = hourglass(*spoken)
    assert done.code == code, done.err
    assert done.err.count("error: ") == 1
    assert says in done.err
    assert "\nhint: " in done.err
    assert "word@" not in done.err
    assert store.names() == before
    assert [each.name for each in tmp_path.iterdir()] == ["logs"]


def test_wrong_keys_are_told_of(
    hourglass: Command, model: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto import settings
    from moto.core.responses import ActionAuthenticatorMixin

    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    monkeypatch.setattr(ActionAuthenticatorMixin, "request_count", 0)
    done = hourglass("detect", model, store.at("logs"), "-o", tmp_path / "out")
    assert done.code == 3
    assert f"s3://{store.bucket}: does not accept the credentials: The AWS Access Key Id you provided" in done.err
    assert "\nhint: see whether AWS_ACCESS_KEY_ID" in done.err


@pytest.mark.usefixtures("store")
def test_endpoints_that_do_not_answer_are_told_of_soon(
    hourglass: Command, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = [each.getsockname()[1] for each in (silent, closed)]
        closed.close()
        for port in ports:
            began = time.perf_counter()
            address = f"s3://bucket/logs?endpoint_override=127.0.0.1:{port}&scheme=http"
            done = hourglass("detect", model, address, "-o", tmp_path / "out")
            assert time.perf_counter() - began < 5
            assert done.code == 3
            assert "error: s3://bucket: has not answered for 1 seconds\nhint: see whether the network" in done.err
    assert not (tmp_path / "out").exists()
