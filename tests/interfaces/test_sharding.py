"""Tables of a folder or a glob through a model, one by one: the same answers as alone, and a run that goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command

from hourglass.core.checkpoints import save_model
from hourglass.core.fitted import DETECTOR
from hourglass.core.fitting import fit_model
from hourglass.core.kinds import experiment
from hourglass.data.files import read
from hourglass.interfaces import sharding
from hourglass.interfaces.shard_tasks import run_task
from hourglass.settings import Training

ROWS = {"a.parquet": 9_000, "b.parquet": 8_192, "sub/c.parquet": 70}
"""A chunk of the network's and a part of one, one chunk, and a few rows."""


def table(rows: int, seed: int) -> pa.Table:
    """Columns that go together, and in one row of 500 do not."""
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    odd = 30 * (np.arange(rows) % 500 == 0)
    numbers = {"x": x, "y": 2 * x + odd, "z": random.normal(size=rows) - x}
    return pa.table({**numbers, "w": np.where(x > 0, "up", "down")})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    pq.write_table(table(300, 9), folder / "train.parquet")
    plan = experiment("table", "masked-cell")
    plan = plan.replace(network=plan.network.replace(layers=(8, 8)), training=Training(epochs=2))
    fitted = fit_model(read(folder / "train.parquet"), plan)  # type: ignore[arg-type]
    fitted.card["task"] = DETECTOR
    return str(save_model(fitted, folder / "model"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for seed, (name, rows) in enumerate(ROWS.items()):
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(table(rows, seed), folder / name, row_group_size=3_000)
    return folder


@pytest.fixture
def few(shards: Path, tmp_path: Path) -> Path:
    """A folder of three small shards, to be changed."""
    for name in ("a", "b", "c"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(shards / "sub/c.parquet", tmp_path / f"in/{name}.parquet")
    return tmp_path / "in"


def manifest(folder: Path) -> dict[str, dict[str, object]]:
    """What the manifest says of each shard that is done."""
    document = json.loads((folder / "_manifest.json").read_text())
    return {each["name"]: each for each in document["files"] if "rows" in each}


@pytest.mark.parametrize(
    ("verb", "options"),
    [("detect", []), ("encode", []), ("reconstruct", []), ("reconstruct", ["--fill-missing"]), ("denoise", [])],
    ids=lambda words: "".join(words),
)
def test_a_shard_gives_what_it_gives_alone(
    hourglass: Command, model: str, shards: Path, tmp_path: Path, verb: str, options: list[str]
) -> None:
    done = hourglass(verb, model, shards, "-o", tmp_path / "out", "--memory", "64MB", "--json", *options)
    assert done.code == 0
    assert (done.document["shards"], done.document["rows"]) == (3, sum(ROWS.values()))
    for name, rows in ROWS.items():
        assert hourglass(verb, model, shards / name, "-o", tmp_path / "alone.parquet", *options).code == 0
        alone = pq.read_table(tmp_path / "alone.parquet")
        assert pq.read_table(tmp_path / "out" / name).equals(alone)
        assert manifest(tmp_path / "out")[name]["rows"] == rows == alone.num_rows


def test_shards_of_whole_chunks_give_what_all_rows_give_together(
    hourglass: Command, model: str, shards: Path, tmp_path: Path
) -> None:
    hourglass("detect", model, f"{shards}/[ab].parquet", "-o", tmp_path / "out")
    names = ("b.parquet", "a.parquet")  # the last may end within a chunk
    pq.write_table(pa.concat_tables([pq.read_table(shards / name) for name in names]), tmp_path / "all.parquet")
    hourglass("detect", model, tmp_path / "all.parquet", "-o", tmp_path / "scores.parquet")
    joined = pa.concat_tables([pq.read_table(tmp_path / "out" / name) for name in names])
    together = pq.read_table(tmp_path / "scores.parquet")
    for column in ("anomaly_score", "p_value", "is_anomaly", "reasons"):
        assert joined.column(column).to_pylist() == together.column(column).to_pylist()
    assert sum(joined.column("is_anomaly").to_pylist()) > 20


def test_a_second_run_does_only_what_has_changed_or_is_not_there(
    hourglass: Command, model: str, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def run(*words: object) -> object:
        called.append(Path(str(words[2])).name)
        return run_task(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(sharding, "run_task", run)
    words = ("detect", model, few, "-o", tmp_path / "out", "--json")
    assert hourglass(*words).document["skipped"] == 0
    assert called == ["a.parquet", "b.parquet", "c.parquet"]
    again = hourglass(*words).document
    assert (again["skipped"], again["rows"]) == (3, 210)
    assert called[3:] == []
    pq.write_table(table(50, 5), few / "b.parquet")
    (tmp_path / "out/c.parquet").unlink()
    (few / "a.parquet").unlink()
    changed = hourglass(*words).document
    assert called[3:] == ["b.parquet", "c.parquet"]
    assert (changed["rows"], changed["shards"]) == (120, 2)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["_manifest.json", "b.parquet", "c.parquet"]


def test_another_model_or_option_makes_all_anew_and_says_so(
    hourglass: Command, model: str, few: Path, tmp_path: Path
) -> None:
    words = ("detect", model, few, "-o", tmp_path / "out")
    assert "anew" not in hourglass(*words).err
    other = hourglass(*words, "--false-alarm-rate", "0.2", "--json")
    assert "another model or other options" in other.err
    assert other.document["skipped"] == 0
    assert other.document["false_alarm_rate"] == 0.2


def test_a_killed_run_goes_on_and_cleans_up(
    hourglass: Command, model: str, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def dying(found: object, task: object, source: str, target: str) -> object:
        if source.endswith("b.parquet"):
            Path(target).with_name(".b.parquet.0123456789ab.tmp").write_bytes(b"half")
            raise Killed
        return run_task(found, task, source, target)  # type: ignore[arg-type]

    words = ("detect", model, few, "-o", tmp_path / "out", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(sharding, "run_task", dying)
        with pytest.raises(Killed):
            hourglass(*words)
    assert sorted(manifest(tmp_path / "out")) == ["a.parquet"]

    done = hourglass(*words)
    assert (done.code, done.document["skipped"], done.document["rows"]) == (0, 1, 210)
    names = ["_manifest.json", "a.parquet", "b.parquet", "c.parquet"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == names


def test_what_cannot_be_done_is_named_and_the_rest_is_done(
    hourglass: Command, model: str, few: Path, tmp_path: Path
) -> None:
    (few / "a.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(table(5, 0).drop_columns(["y"]), few / "b.parquet")
    pq.write_table(table(0, 0), few / "empty.parquet")
    done = hourglass("detect", model, few, "-o", tmp_path / "out", "--json")
    assert done.code == 3
    failed = done.document["failed"]
    assert [each.partition(":")[0] for each in failed] == ["a.parquet", "b.parquet"]
    assert "damaged" in failed[0]
    assert "1 column is missing: y" in failed[1]
    assert (done.document["rows"], sorted(manifest(tmp_path / "out"))) == (70, ["c.parquet", "empty.parquet"])


def test_where_no_shard_can_be_done_the_run_is_refused(
    hourglass: Command, model: str, few: Path, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        pq.write_table(pa.table({"q": [1]}), few / f"{name}.parquet")
    done = hourglass("encode", model, few, "-o", tmp_path / "out")
    assert done.code == 3
    assert "none of its 3 shards can be done; a.parquet:" in done.err


def test_a_fault_within_a_shard_names_the_row(hourglass: Command, model: str, few: Path, tmp_path: Path) -> None:
    rows = table(9_000, 0).to_pydict()
    rows["y"][8_500] = float("inf")
    pq.write_table(pa.table(rows), few / "b.parquet")
    failed = hourglass("detect", model, few, "-o", tmp_path / "out", "--json").document["failed"]
    assert "row 8500, column 'y'" in failed[0]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["_manifest.json", "a.parquet", "c.parquet"]


def test_text_is_cut_where_that_is_safe_and_read_whole_where_not(
    hourglass: Command, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hourglass.data import files

    monkeypatch.setattr(files, "LARGE", 1)
    monkeypatch.setattr(files, "BLOCK", 2_000)
    (tmp_path / "in").mkdir()
    lines = [f"{x:.3f},{y:.3f},{z:.3f},{w}" for x, y, z, w in zip(*table(300, 1).to_pydict().values(), strict=True)]
    (tmp_path / "in/safe.csv").write_text("\n".join(["x,y,z,w", *lines]) + "\n")
    (tmp_path / "in/quoted.tsv").write_text("\n".join(["x,y,z,w", *lines, '1,2,3,"down"']).replace(",", "\t") + "\n")
    (tmp_path / "in/broken.csv").write_text("\n".join(["x,y,z,w", *lines, "1,2"]) + "\n")
    done = hourglass("detect", model, tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert (done.code, done.document["rows"]) == (3, 601)
    assert "line 302" in done.document["failed"][0]
    for name in ("safe.csv", "quoted.tsv"):
        hourglass("detect", model, tmp_path / "in" / name, "-o", tmp_path / "alone.parquet")
        shard = pq.read_table(tmp_path / "out" / Path(name).with_suffix(".parquet"))
        assert shard.equals(pq.read_table(tmp_path / "alone.parquet"))


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["detect", "MODEL", "FEW", "-o", "FEW/out"], 2, "lies in the folder that is read"),
        (["detect", "MODEL", "FEW/*.parquet", "-o", "FEW"], 2, "lies in the folder that is read"),
        (["detect", "MODEL", "FEW", "-o", "OTHER"], 3, "files that are not from here, such as mine.txt"),
        (["detect", "MODEL", "FEW", "-o", "out", "--report", "r.html"], 2, "for all rows at once"),
        (["detect", "MODEL", "FEW", "-o", "out", "--false-discovery-rate", ".1"], 2, "for all rows at once"),
        (["encode", "MODEL", "FEW", "-o", "out", "--clusters", "3"], 2, "for all rows at once"),
        (["detect", "MODEL", "FEW", "-o", "out", "--memory", "much"], 2, "got 'much', wanted a size"),
        (["detect", "MODEL", "FEW/a.parquet", "-o", "s.csv", "--on", "ray"], 2, "scored shard by shard"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    hourglass: Command, model: str, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], code: int, complaint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    places = {"MODEL": model, "FEW": str(few), "OTHER": str(tmp_path / "other")}
    for word, place in places.items():
        words = [each.replace(word, place) for each in words]
    done = hourglass(*words)
    assert done.code == code
    assert complaint in done.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "other"]


def test_a_manifest_that_names_files_elsewhere_is_not_believed(
    hourglass: Command, model: str, few: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    hourglass("detect", model, few, "-o", tmp_path / "out")
    place = tmp_path / "out/_manifest.json"
    document = json.loads(place.read_text())
    document["files"].append({"file": "../precious.txt", "name": "x", "rows": 1})
    place.write_text(json.dumps(document))
    assert hourglass("detect", model, few, "-o", tmp_path / "out").code == 0
    assert (tmp_path / "precious.txt").read_text() == "mine"
