"""Objects of a store: addresses, faults as errors, and that an object is put whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from hourglass.data import remote
from hourglass.data.opening import opened, size_of
from hourglass.data.shards import _matches
from hourglass.errors import DataError, HourglassError, StoreError, UsageError

Store = Any
"""See `stores.Store`."""


@pytest.mark.parametrize(
    ("bare", "query", "parts"),
    [
        ("s3://bucket", "", []),
        ("s3://bucket/a/b.csv", "", ["a", "b.csv"]),
        ("gs://bucket/a", "?scheme=http", ["a"]),
        ("gs://anonymous@bucket/a", "", ["a"]),
        ("s3://bucket/part-?.csv", "?region=x&scheme=http", ["part-?.csv"]),
        ("s3://bucket/a b%20c#d.csv", "", ["a b%20c#d.csv"]),
        ("s3://bucket", "?endpoint_override=http://h:1/x", []),
    ],
)
def test_an_address_is_a_bucket_a_key_and_options(bare: str, query: str, parts: list[str]) -> None:
    assert remote.bare(f"{bare}{query}") == remote.bare(f"{bare}/{query}") == bare
    assert remote.parts_of(f"{bare}{query}") == parts
    assert remote.at(f"{bare}{query}", parts) == f"{bare}{query}"
    assert remote.joined(f"{bare}{query}", "x/y.csv") == f"{bare}/x/y.csv{query}"


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIAKEY:hidden@bucket/logs",
        "s3://AKIAKEY@bucket/logs",
        "s3://bucket/logs?secret_key=hidden&access_key=AKIAKEY",
        "gs://bucket/logs?access_token=hidden",
        "gs://me:hidden@bucket",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UsageError, match="holds a password or key") as caught:
        remote.stamp_of(address)
    assert "hidden" not in str(caught.value)
    assert "AKIA" not in str(caught.value)
    with pytest.raises(DataError, match="is an address") as refused, opened(f"http{address}", "text"):
        pass
    assert "hidden" not in str(refused.value)


def test_options_that_there_are_not_are_refused() -> None:
    with pytest.raises(UsageError, match="s3://bucket: Unexpected query parameter"):
        remote.stamp_of("s3://bucket/a.csv?colour=red&region=x")
    with pytest.raises(UsageError, match="names no bucket"):
        remote.stamp_of("s3:///a.csv")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "s/b.csv", "s/t/c.csv"]),
        ("*/*.csv", ["s/b.csv"]),
        ("s/**", ["s/b.csv", "s/t/c.csv"]),
        ("[ab].csv", ["a.csv"]),
        (".*", [".h.csv"]),
        ("**", ["a.csv", "s/b.csv", "s/t/c.csv"]),
    ],
)
def test_a_glob_means_what_it_means_in_a_folder(pattern: str, names: list[str]) -> None:
    there = ["a.csv", ".h.csv", "s/b.csv", "s/t/c.csv", ".s/d.csv"]
    assert [name for name in there if _matches(name.split("/"), pattern.split("/"))] == names


FAULTS = [
    ("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Couldn't connect to server", StoreError),
    ("google::cloud::Status(UNAVAILABLE: Retry policy exhausted in GetObjectMetadata: ...)", StoreError),
    ("When resolving region for bucket 'b': AWS Error NETWORK_CONNECTION during HeadBucket operation: x", StoreError),
    ("Bucket 'b' not found", StoreError),
    ("AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation: The specified bucket does not exist", StoreError),
    ("AWS Error INVALID_ACCESS_KEY_ID during ListObjectsV2 operation: The key does not exist", StoreError),
    ("AWS Error SIGNATURE_DOES_NOT_MATCH during ListObjectsV2 operation: differs", StoreError),
    ("AWS Error UNKNOWN (HTTP status 301) during HeadObject operation: No response body.", StoreError),
    ("google::cloud::Status(UNAUTHENTICATED: Anonymous caller does not have storage.objects.get)", StoreError),
    ("AWS Error ACCESS_DENIED during HeadObject operation: No response body.", DataError),
    ("google::cloud::Status(UNAVAILABLE: Could not create a OAuth2 access token to authenticate", StoreError),
    ("google::cloud::Status(PERMISSION_DENIED: Permanent error in GetObjectMetadata)", DataError),
    ("AWS Error UNKNOWN (HTTP status 500) during GetObject operation: oh", DataError),
]


@pytest.mark.parametrize(("words", "kind"), FAULTS)
def test_a_fault_of_all_objects_is_the_stores(words: str, kind: type[HourglassError]) -> None:
    error = remote._error(words, "s3://bucket/a.csv?scheme=http", False)
    assert type(error) is kind
    assert error.where == ("s3://bucket" if kind is StoreError else "s3://bucket/a.csv")
    assert error.how


def test_no_store_is_thought_of_before_one_is_asked() -> None:
    code = "import sys, hourglass.data.remote as r; r.bare('s3://b/a'); sys.exit('pyarrow.fs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_object_is_read_from_any_place_in_it(store: Store) -> None:
    content = bytes(range(256)) * 1_000
    store.put("in/a.bin", content)
    store.put("in/a.csv", b"x\n1\n2")
    with remote.reading(store.at("in/a.bin")) as handle:
        assert handle.read(3) == content[:3]
        handle.seek(-5, os.SEEK_END)
        assert handle.read() == content[-5:]
        handle.seek(100_000)
        assert handle.read(100) == content[100_000:100_100]
    with opened(store.at("in/a.csv"), "text") as handle:
        assert handle.readline() == b"x\n"
        assert handle.read() == b"1\n2"
    assert size_of(store.at("in/a.csv")) == 5
    assert remote.stamps_below(store.at("in")).keys() == {"a.bin", "a.csv"}
    assert remote.stamp_of(store.at("in/a.csv")) == remote.stamps_below(store.at("in"))["a.csv"]
    assert remote.stamp_of(store.at("in")) is None
    remote.remove(store.at("in/a.csv"))
    remote.remove(store.at("in/a.csv"))
    assert store.names("in") == ["a.bin"]
    with pytest.raises(DataError, match=r"in/a.csv: there is no such object"), remote.reading(store.at("in/a.csv")):
        pass


def test_what_is_lost_on_the_way_is_not_taken_for_damage(store: Store) -> None:
    store.put("a.bin", bytes(1_000_000))
    with remote.reading(store.at("a.bin")) as handle:
        store.fault = lambda request: "403 FORBIDDEN"
        with pytest.raises(DataError, match="access is denied"):
            handle.read(100)


def test_what_fails_while_it_is_made_leaves_the_old_object(store: Store) -> None:
    store.put("a.csv", b"old")
    pieces = (b"new" * (12_000_000 // (3 - place)) for place in range(4))
    with pytest.raises(ZeroDivisionError), remote.replacing(store.at("a.csv")) as handle:
        handle.writelines(pieces)
    assert store.get("a.csv") == b"old"


@pytest.mark.parametrize("step", ["POST uploads", "PUT partNumber=2", "POST uploadId"])
def test_an_upload_that_fails_leaves_nothing(store: Store, step: str) -> None:
    method, _, mark = step.partition(" ")

    def fault(request: dict[str, Any]) -> str | None:
        asked = request["REQUEST_METHOD"] == method and mark in request["QUERY_STRING"]
        return "403 FORBIDDEN" if asked else None

    store.fault = fault
    with pytest.raises(DataError, match="access is denied"), remote.replacing(store.at("a.bin")) as handle:
        handle.write(bytes(21_000_000))  # parts have ten megabytes
    store.fault = lambda request: None
    assert store.names() == []


KILLED = """
import sys
from hourglass.data import remote
with remote.replacing(sys.argv[1]) as handle:
    handle.write(bytes(21_000_000))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_upload_that_is_killed_leaves_nothing_or_all(store: Store, how: signal.Signals) -> None:
    begun, over = threading.Event(), threading.Event()

    def fault(request: dict[str, Any]) -> None:
        if "partNumber=2" in request["QUERY_STRING"]:
            begun.set()
            over.wait(2)

    store.fault = fault
    with subprocess.Popen([sys.executable, "-c", KILLED, store.at("a.bin")], stderr=subprocess.DEVNULL) as process:
        assert begun.wait(30)
        process.send_signal(how)
        if how == signal.SIGKILL:
            process.wait(10)
        over.set()
    assert process.returncode != 0
    assert [len(store.get(name)) for name in store.names()] in ([], [21_000_000] * (how != signal.SIGKILL))


def test_a_full_disk_is_told_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.tempfile, "tempdir", "/nowhere")
    with (
        pytest.raises(DataError, match=r"a.csv: cannot be written: .*\nhint: .*TMPDIR"),
        remote.replacing(store.at("a.csv")),
    ):
        pass
