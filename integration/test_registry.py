"""A container registry that keeps its images in a bucket: it uploads in chunks, copies each layer to its place, and sends who
pulls to a presigned URL."""

import hashlib
import json
import os
from urllib.parse import urlsplit

import pytest
import urllib3
import yaml

from harness.data import noise, shares_a_run
from harness.process import Child, free_port

MIB = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """A registry over a bucket, and what clients of registries ask of it."""

    def __init__(self, stack, bucket: str, folder):
        self.port, self.folder = free_port(), folder
        settings = {
            "version": 0.1,
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "known to the test"},
            "storage": {
                "s3": {
                    "accesskey": stack.keys.access, "secretkey": stack.keys.secret, "region": "us-east-1",
                    "regionendpoint": stack.endpoint, "bucket": bucket, "rootdirectory": "/registry", "secure": False, "v4auth": True,
                    "chunksize": 5 * MIB, "multipartcopythresholdsize": 16 * MIB, "multipartcopychunksize": 6 * MIB,
                    "multipartcopymaxconcurrency": 4,
                },
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
        }
        self.file = folder / "registry.yaml"
        self.file.write_text(yaml.safe_dump(settings))
        self.pool = urllib3.PoolManager(retries=False, timeout=60)
        self.start()

    def start(self) -> None:
        self.child = Child("registry", ["docker-registry", "serve", str(self.file)], self.folder)
        self.child.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/v2/", 200) is not None
        except urllib3.exceptions.HTTPError:
            return False

    def ask(self, method: str, path: str, status: int, body: bytes = b"", **headers: str):
        url = path if path.startswith("http") else f"http://127.0.0.1:{self.port}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.pool.request(method, url, body=body or None, headers=named, redirect=False)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.data[:500]!r}"
        return answer

    def push(self, name: str, data: bytes, between=lambda: None) -> None:
        """Pushes a blob in chunks; `between` happens between the first and the next."""
        where = self.ask("POST", f"/v2/{name}/blobs/uploads/", 202).headers["location"]
        at = 0
        for size in (len(data) // 3, len(data) - len(data) // 3):
            headers = {"Content_Type": "application/octet-stream", "Content_Range": f"{at}-{at + size - 1}"}
            where = self.ask("PATCH", where, 202, data[at : at + size], **headers).headers["location"]
            if at == 0:
                between()
            at += size
        mark = "&" if "?" in where else "?"
        self.ask("PUT", f"{where}{mark}digest={digest(data)}", 201)

    def pull(self, name: str, what: str) -> tuple[bytes, str]:
        """A blob, and the host that gave it."""
        answer = self.ask("GET", f"/v2/{name}/blobs/{what}", 307)
        where = answer.headers["location"]
        return self.ask("GET", where, 200).data, urlsplit(where).netloc


@pytest.fixture
def registry(stack, s3, tmp_path):
    bucket = f"data-registry-{os.urandom(4).hex()}"
    s3.create_bucket(Bucket=bucket)
    registry = Registry(stack, bucket, tmp_path)
    registry.bucket = bucket
    yield registry
    registry.child.stop()


def test_push_and_pull(registry, stack, s3, raw):
    layers = [noise(21 * MIB + 5), noise(4321)]
    settings = json.dumps({"architecture": "amd64", "os": "linux"}).encode()

    def restart():
        registry.child.stop()
        registry.start()

    registry.push("tests/image", layers[0], between=restart)
    for blob in (layers[1], settings):
        registry.push("tests/image", blob)
    described = [{"mediaType": "application/octet-stream", "size": len(blob), "digest": digest(blob)} for blob in (settings, *layers)]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}).encode()
    registry.ask("PUT", "/v2/tests/image/manifests/latest", 201, manifest, Content_Type=MANIFEST)

    # Another registry over the same bucket, as one that starts elsewhere.
    restart()
    got = registry.ask("GET", "/v2/tests/image/manifests/latest", 200, Accept=MANIFEST)
    assert got.data == manifest and got.headers["docker-content-digest"] == digest(manifest)
    for blob in (settings, *layers):
        head = registry.ask("HEAD", f"/v2/tests/image/blobs/{digest(blob)}", 307)
        head = registry.ask("HEAD", head.headers["location"], 200)
        assert int(head.headers["content-length"]) == len(blob)
        data, host = registry.pull("tests/image", digest(blob))
        assert data == blob and host == urlsplit(stack.endpoint).netloc
    assert json.loads(registry.ask("GET", "/v2/tests/image/tags/list", 200).data)["tags"] == ["latest"]
    assert json.loads(registry.ask("GET", "/v2/_catalog", 200).data)["repositories"] == ["tests/image"]
    registry.ask("POST", f"/v2/tests/other/blobs/uploads/?mount={digest(layers[0])}&from=tests/image", 201)
    assert registry.pull("tests/other", digest(layers[0]))[0] == layers[0]

    # What lies in the bucket is the layer for this proxy alone.
    where = f"registry/docker/registry/v2/blobs/sha256/{digest(layers[0])[7:9]}/{digest(layers[0])[7:]}/data"
    assert s3.get_object(Bucket=registry.bucket, Key=where)["Body"].read() == layers[0]
    stored = raw.get_object(Bucket=registry.bucket, Key=where)["Body"].read()
    assert not shares_a_run(stored[: 2 * MIB], layers[0][:200_000])
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=registry.bucket)

    registry.ask("DELETE", f"/v2/tests/image/manifests/{digest(manifest)}", 202)
    registry.ask("GET", "/v2/tests/image/manifests/latest", 404, Accept=MANIFEST)


def test_a_push_that_lies_is_no_layer(registry, s3):
    where = registry.ask("POST", "/v2/tests/image/blobs/uploads/", 202).headers["location"]
    where = registry.ask("PATCH", where, 202, noise(6 * MIB), Content_Type="application/octet-stream").headers["location"]
    registry.ask("PUT", f"{where}&digest={digest(b'something else')}", 400)
    registry.ask("GET", f"/v2/tests/image/blobs/{digest(b'something else')}", 404)
    # Nor is one that is given up.
    where = registry.ask("POST", "/v2/tests/image/blobs/uploads/", 202).headers["location"]
    where = registry.ask("PATCH", where, 202, noise(6 * MIB), Content_Type="application/octet-stream").headers["location"]
    registry.ask("DELETE", where, 204)
    listed = s3.list_objects_v2(Bucket=registry.bucket).get("Contents", [])
    assert not [entry["Key"] for entry in listed if "/blobs/sha256/" in entry["Key"]]
