"""A shared store on an S3 server (moto, over HTTP): mirrored, verified, and read-only for pull requests."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.s3 import Bucket
from support.sample_sets import MODEL, write_set

from gate.errors import ConfigError, EvaluationError, SampleError
from gate.store import SampleSet, Store
from gate.store.history import Record, open_history
from gate.store.remote import RemoteStore, open_store
from gate.store.trust import WritePolicy

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

KEY = "k" * 32
MAY_WRITE = WritePolicy(True, "a test")
MAY_NOT_WRITE = WritePolicy(False, "a pull_request run may read the store, not write to it")
TASK = "a" * 64


def baseline_folder(store: Store) -> Path:
    return store.folder("baseline", MODEL.name, MODEL.fingerprint, "facts", TASK)


def find(store: Store) -> SampleSet | None:
    return store.find(baseline_folder(store), MODEL.fingerprint, TASK)


def publish(url: str, score: float = 1.0) -> RemoteStore:
    """Publish a baseline's set of 7 items in two data files from a run that may write."""
    store = RemoteStore(url, policy=MAY_WRITE)
    store.publish(write_set(baseline_folder(store), score))
    return store


def forget(store: Store) -> None:
    """Delete the mirror, as if this were another machine."""
    shutil.rmtree(store.root, ignore_errors=True)


def scores(found: SampleSet | None) -> set[float]:
    assert found is not None
    return set(found.read().table["score"].to_pylist())


def test_a_set_uploaded_by_one_machine_is_found_by_another(bucket: Bucket) -> None:
    messages: list[str] = []
    first = RemoteStore(bucket.url, messages.append, MAY_WRITE)
    assert find(first) is None
    sample_set = write_set(baseline_folder(first))
    first.publish(sample_set)
    assert any("uploaded to s3://" in line for line in messages)
    folder = "team/store/baseline/org-model-ffffffffffff/facts-aaaaaaaaaaaa"
    data_files = {f"{folder}/{data_file.sha256}.parquet" for data_file in sample_set.manifest.data_files}
    assert set(bucket.objects()) == {f"{folder}/manifest.json", *data_files}

    forget(first)
    second = RemoteStore(bucket.url, messages.append, MAY_WRITE)
    found = find(second)
    assert found is not None
    assert found.manifest == sample_set.manifest
    assert found.read().table.num_rows == 7
    assert "fetched from s3://" in messages[-1]
    count = len(messages)
    assert scores(find(second)) == {1.0}
    assert len(messages) == count  # the mirror is current


def test_a_newer_baseline_replaces_the_mirrored_one(bucket: Bucket) -> None:
    publish(bucket.url)
    reader = RemoteStore(bucket.url, policy=MAY_NOT_WRITE)
    assert scores(find(reader)) == {1.0}
    publish(bucket.url, score=0.0)
    assert scores(find(reader)) == {0.0}


def test_a_damaged_mirror_is_fetched_again(bucket: Bucket) -> None:
    store = publish(bucket.url)
    for damage in (lambda path: path.write_bytes(b"x"), Path.unlink):
        damage(baseline_folder(store) / "shard-00001.parquet")
        assert scores(find(store)) == {1.0}


def test_a_mirror_of_a_run_that_may_not_write_is_never_read_by_a_run_that_may(
    bucket: Bucket,
) -> None:
    """A set that a pull request left on the runner's disk is never the baseline of a protected branch."""
    request = RemoteStore(bucket.url, policy=MAY_NOT_WRITE)
    request.publish(write_set(baseline_folder(request), score=0.0))
    assert scores(find(request)) == {0.0}
    assert bucket.objects() == {}
    assert find(RemoteStore(bucket.url, policy=MAY_WRITE)) is None


def test_a_pull_request_reads_and_is_told_that_it_does_not_upload(bucket: Bucket) -> None:
    publish(bucket.url)
    before = bucket.objects()
    messages: list[str] = []
    request = RemoteStore(bucket.url, messages.append, MAY_NOT_WRITE)
    assert scores(find(request)) == {1.0}
    request.publish(write_set(baseline_folder(request), score=0.0))
    assert "is not uploaded" in messages[-1]
    assert "a pull_request run may read the store, not write to it" in messages[-1]
    assert bucket.objects() == before
    assert scores(find(request)) == {1.0}


def test_a_failed_upload_is_repeated_by_the_next_run(bucket: Bucket) -> None:
    store = RemoteStore(bucket.url, policy=MAY_WRITE)
    write_set(baseline_folder(store))
    assert scores(find(store)) == {1.0}
    forget(store)
    assert scores(find(store)) == {1.0}


@pytest.mark.parametrize("content", [None, b"", b"not Parquet"])
def test_an_altered_or_missing_data_file_is_refused(bucket: Bucket, content: bytes | None) -> None:
    store = publish(bucket.url)
    key = sorted(key for key in bucket.objects() if key.endswith(".parquet"))[0]
    if content is None:
        bucket.delete(key)
    else:
        bucket.put(key, content)
    forget(store)
    with pytest.raises(SampleError, match="missing" if content is None else "altered") as caught:
        find(store)
    assert bucket.url in str(caught.value)
    assert not baseline_folder(store).exists()
    publish(bucket.url)  # as the message advises
    forget(store)
    assert scores(find(store)) == {1.0}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"schema_version": 2}', b""])
def test_an_invalid_manifest_is_refused(bucket: Bucket, content: bytes) -> None:
    store = publish(bucket.url)
    bucket.put(bucket.only_key("manifest.json"), content)
    with pytest.raises(SampleError):
        find(store)


def test_a_set_of_another_model_is_refused(bucket: Bucket) -> None:
    store = publish(bucket.url)
    key = bucket.only_key("manifest.json")
    manifest = json.loads(bucket.objects()[key])
    manifest["model"]["fingerprint"] = "e" * 64
    bucket.put(key, json.dumps(manifest).encode())
    with pytest.raises(SampleError, match="a different model or task"):
        find(store)


def test_with_a_key_a_consistent_forgery_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifest and data files are consistent; only the signature differs."""
    monkeypatch.setenv("GATE_STORE_KEY", KEY)
    store = publish(bucket.url)
    assert bucket.only_key(".sig")
    forget(store)
    assert scores(find(store)) == {1.0}

    monkeypatch.delenv("GATE_STORE_KEY")
    publish(bucket.url, score=0.0)  # by somebody with write access but without the key
    assert scores(find(store)) == {0.0}
    monkeypatch.setenv("GATE_STORE_KEY", KEY)
    assert find(store) is None  # unsigned: evaluated again

    monkeypatch.setenv("GATE_STORE_KEY", "another key that is long enough!")
    publish(bucket.url, score=0.0)
    monkeypatch.setenv("GATE_STORE_KEY", KEY)
    with pytest.raises(SampleError, match="not signed with the key in GATE_STORE_KEY"):
        find(store)
    publish(bucket.url)
    forget(store)
    assert scores(find(store)) == {1.0}


def test_a_signed_set_is_refused_in_another_folder(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_STORE_KEY", KEY)
    store = Store(tmp_path / "store")
    store.publish(write_set(baseline_folder(store)))
    assert scores(find(store)) == {1.0}
    other = store.folder("baseline", "other-name", MODEL.fingerprint, "facts", TASK)
    other.parent.mkdir(parents=True)
    baseline_folder(store).rename(other)
    with pytest.raises(SampleError, match="not signed with the key"):
        store.find(other, MODEL.fingerprint, TASK)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://host/store", "unsupported scheme ftp://"),
        ("s3://key:secret@bucket/store", "the URL contains credentials"),
    ],
)
def test_unsupported_schemes_and_credentials_in_urls_are_refused(tmp_path: Path, url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        open_store(url, tmp_path)
    assert "key:secret" not in str(caught.value)


def test_a_folder_is_a_local_store(tmp_path: Path) -> None:
    store = open_store(".gate", tmp_path)
    assert type(store) is Store
    assert store.root == tmp_path / ".gate"


def test_an_unavailable_store_is_an_evaluation_error_without_secrets(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RemoteStore("s3://no-such-bucket-here/store", policy=MAY_WRITE)
    sample_set = write_set(baseline_folder(store))
    with pytest.raises(EvaluationError, match=r"s3://no-such-bucket-here/store cannot be written") as caught:
        store.publish(sample_set)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EvaluationError, match="cannot be read") as unreachable:
        find(RemoteStore(bucket.url, policy=MAY_WRITE))
    for error in (caught, unreachable):
        assert "hush-hush" not in str(error.value)
        assert error.value.exit_code == 4


def record(p_value: float = 0.5, series: str = "nightly") -> Record:
    values: dict[str, Any] = {"drop": 0.0, "flip_rate": 0.1, "baseline": "b", "candidate": "c", "alpha": 0.05}
    return Record(time="2026-01-01T00:00:00+00:00", series=series, verdict="PASS", p_value=p_value, **values)


def test_the_history_keeps_order_and_series_are_separate(bucket: Bucket) -> None:
    history = open_history(RemoteStore(bucket.url, policy=MAY_WRITE))
    assert history.read("nightly") == []
    with history.lock():
        for number in range(4):
            history.append(record(number / 100), after=number)
    history.append(record(0.9, "weekly"), after=None)
    assert [one.p_value for one in history.read("nightly")] == [number / 100 for number in range(4)]
    assert [one.p_value for one in history.read("weekly")] == [0.9]
    assert len(bucket.objects()) == 5


def test_two_runs_never_spend_the_same_alpha(bucket: Bucket) -> None:
    history = open_history(RemoteStore(bucket.url, policy=MAY_WRITE))
    history.append(record(), after=0)
    history.append(record(0.1), after=1)
    with pytest.raises(EvaluationError, match="this verdict does not count"):
        history.append(record(0.2), after=1)
    assert len(history.read("nightly")) == 2


def test_concurrent_runs_are_all_appended(bucket: Bucket) -> None:
    """Each thread has its own client and connection, like another machine."""

    def run(number: int) -> None:
        open_history(RemoteStore(bucket.url, policy=MAY_WRITE)).append(record(number / 10), after=None)

    with ThreadPoolExecutor(4) as machines:
        list(machines.map(run, range(4)))
    kept = open_history(RemoteStore(bucket.url, policy=MAY_WRITE)).read("nightly")
    assert sorted(one.p_value for one in kept) == [number / 10 for number in range(4)]


def test_a_pull_request_does_not_append_to_the_history(bucket: Bucket) -> None:
    open_history(RemoteStore(bucket.url, policy=MAY_WRITE)).append(record(), after=0)
    history = open_history(RemoteStore(bucket.url, policy=MAY_NOT_WRITE))
    history.append(record(), after=1)
    assert len(history.read("nightly")) == 1


def test_an_invalid_record_is_refused(bucket: Bucket) -> None:
    bucket.put("team/store/history/nightly/000001.json", b'{"verdict": "PASS"}')
    with pytest.raises(SampleError, match=r"history/nightly/000001\.json is not a record"):
        open_history(RemoteStore(bucket.url, policy=MAY_WRITE)).read("nightly")
