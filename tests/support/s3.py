"""An S3 server (moto) in this process, for tests of remote stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serve_s3() -> Iterator[str]:
    """Serve S3 on a free local port, and yield the server's URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def use_s3(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Set the server's address and credentials and the folder of mirrors, outside of a GitHub job."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GATE_CACHE": str(cache),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("GATE_STORE_KEY", "GATE_STORE_WRITE", "GITHUB_ACTIONS", "GITHUB_EVENT_NAME"):
        monkeypatch.delenv(name, raising=False)


class Bucket:
    """The objects of a bucket, accessed without our own code."""

    def __init__(self, name: str) -> None:
        import boto3

        self.name = name
        self._s3 = boto3.client("s3")
        self._s3.create_bucket(Bucket=name)
        self.url = f"s3://{name}/team/store"

    def objects(self) -> dict[str, bytes]:
        """Return the content of every object by key."""
        keys = [entry["Key"] for entry in self._s3.list_objects_v2(Bucket=self.name).get("Contents", [])]
        return {key: self._s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}

    def put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self.name, Key=key)

    def only_key(self, suffix: str) -> str:
        """Return the key of the only object whose key ends with `suffix`."""
        (key,) = (key for key in self.objects() if key.endswith(suffix))
        return key
