"""What every test shares: one thread, SciPy's array checks, hypothesis without a clock, real data, the command line."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before any import of torch, SciPy or scikit-learn, which read these once.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", SCIPY_ARRAY_API="1")

import hypothesis
import pytest
from commands import Command, Done

from hourglass.interfaces.cli import run

# A deadline would make a slow machine fail tests; see the rule on timed tests.
hypothesis.settings.register_profile("hourglass", deadline=None, print_blob=True)
hypothesis.settings.load_profile("hourglass")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def need() -> Callable[[Path], Path]:
    """The path itself, or a skip that names what is absent: `need(shared_data / "mnist")`."""

    def present(path: Path) -> Path:
        if not path.exists():
            pytest.skip(f"needs {path.name}, which is not among the shared data of this machine")
        return path

    return present


@pytest.fixture(scope="session")
def shared_data(need: Callable[[Path], Path]) -> Path:
    """The folder of real data beside the repository; a test that asks for it is skipped where there is none."""
    return need(SHARED_DATA)


@pytest.fixture(scope="session")
def turns() -> Callable[[int, int], int]:
    """`turns(short, long)`: how often to try something; long under `make torture` (HOURGLASS_TORTURE=1)."""
    return lambda short, long: long if os.environ.get("HOURGLASS_TORTURE") else short


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Callable[[int], None]:
    """`counted(tried)`: how many tries this test stands for in the report; it is one where nothing is said."""
    return lambda tried: record_property("tried", tried)


@pytest.fixture
def hourglass(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process."""

    def call(*words: object) -> Done:
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def object_server() -> Iterator[tuple[Any, int]]:
    """An S3 server on this machine; a test that asks for it is skipped where none is installed."""
    from stores import serving

    with serving() as server:
        yield server


@pytest.fixture
def store(object_server: tuple[Any, int], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A bucket of its own for a test."""
    from pyarrow import fs
    from stores import Store

    from hourglass.data import remote

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, word in {**keys, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, word)
    application, port = object_server
    application.store = None
    place = f"127.0.0.1:{port}"
    client = fs.S3FileSystem(endpoint_override=place, scheme="http", allow_bucket_creation=True)
    bucket = f"b{abs(hash(request.node.nodeid)):x}"
    client.create_dir(bucket)
    remote._system.cache_clear()
    application.store = Store(port, client, bucket)
    return application.store
