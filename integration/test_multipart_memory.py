"""Memory of the real proxy while large objects go up in parts and come back: it does not grow with their size."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import backends
from harness.data import noise
from harness.proxy import Cloak

pytestmark = pytest.mark.xdist_group("failures")
MIB = 1 << 20
BUCKET = "data-memory"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    storage = backends.versitygw(tmp_path_factory.mktemp("storage"))
    folder = tmp_path_factory.mktemp("proxy")
    proxy = Cloak(folder, storage.endpoint, {"services": {"local": {"type": "local", "path": str(folder / "keys")}}})
    proxy.client().create_bucket(Bucket=BUCKET)
    yield proxy
    proxy.stop()
    storage.stop()


def peak(proxy) -> float:
    """The most memory that the proxy held since `forget_peak`, in MiB."""
    status = Path(f"/proc/{proxy.child.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def forget_peak(proxy) -> None:
    Path(f"/proc/{proxy.child.pid}/clear_refs").write_text("5")


def there_and_back(proxy, part: int, parts: int) -> tuple[float, float]:
    """Sends an object of that many parts, four at once, and reads it; the peaks of memory meanwhile."""
    s3 = proxy.client(max_pool_connections=8)
    body = noise(part)
    named = {"Bucket": BUCKET, "Key": "large"}
    forget_peak(proxy)
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    send = lambda number: s3.upload_part(**named, PartNumber=number, Body=body)["ETag"]  # noqa: E731
    with ThreadPoolExecutor(4) as pool:
        tags = list(pool.map(send, range(1, parts + 1)))
    listed = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": listed})
    up = peak(proxy)
    forget_peak(proxy)
    digest, size = hashlib.sha256(), 0
    for piece in s3.get_object(Bucket=BUCKET, Key="large")["Body"].iter_chunks(MIB):
        digest.update(piece)
        size += len(piece)
    expected = hashlib.sha256()
    for _ in range(parts):
        expected.update(body)
    assert size == part * parts and digest.digest() == expected.digest()
    down = peak(proxy)
    s3.delete_object(Bucket=BUCKET, Key="large")
    return up, down


def test_memory_does_not_grow_with_the_object(proxy):
    # Once to warm up: what a first request allocates stays.
    there_and_back(proxy, 8 * MIB, 4)
    small = there_and_back(proxy, 8 * MIB, 4)
    large = there_and_back(proxy, 64 * MIB, 6)
    for before, after in zip(small, large):
        # Twelve times the bytes, and eight times the size of a part.
        assert after < before + 24, (small, large)
        assert after < 160, (small, large)
