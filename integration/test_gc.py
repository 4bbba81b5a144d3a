"""`s3cloak gc` and the sweep of a running proxy, by the real binary in front of real storage servers."""

import time

import pytest
import yaml
from botocore.exceptions import ClientError

from harness import backends
from harness.data import noise
from harness.proxy import Cloak
from harness.wire import wait_for
from test_commands import run

pytestmark = pytest.mark.xdist_group("failures")
BUCKET = "data-gc"
MIB = 1 << 20
SYSTEM = "s3cloak-system"


@pytest.fixture(scope="module", params=backends.STARTERS)
def storage(request, tmp_path_factory):
    storage = backends.STARTERS[request.param](tmp_path_factory.mktemp("storage"))
    storage.client().create_bucket(Bucket=BUCKET)
    yield storage
    storage.stop()


@pytest.fixture
def raw(storage):
    return storage.client()


@pytest.fixture
def proxy(tmp_path, storage):
    proxy = Cloak(tmp_path / "proxy", storage.endpoint, {"services": {"local": {"type": "local", "path": str(tmp_path / "keys")}}})
    yield proxy
    proxy.stop()
    # Each test begins with an area of its own keys.
    raw = storage.client()
    for name in left(raw):
        raw.delete_object(Bucket=SYSTEM, Key=name)


def left(raw) -> list[str]:
    return [entry["Key"] for entry in raw.list_objects_v2(Bucket=SYSTEM, Prefix="mpu/").get("Contents", [])]


def gc(file, *arguments, code=0):
    """What was there before is old."""
    # Storage may tell ages in whole seconds, and what may be younger is left alone before it is looked into.
    time.sleep(2)
    return run("gc", "--min-age", "1ms", "--config", str(file), *arguments, code=code)


def begin(s3, key) -> tuple[dict, dict]:
    named = {"Bucket": BUCKET, "Key": key}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    tags = [s3.upload_part(**named, PartNumber=n, Body=noise(size, n))["ETag"] for n, size in ((1, 5 * MIB), (2, 10))]
    return named, {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}


def test_only_what_ended_goes(proxy, raw):
    s3 = proxy.client()
    dead, _ = begin(s3, "dead")
    live, parts = begin(s3, "live")
    raw.abort_multipart_upload(**dead)
    before = left(raw)
    assert len(before) == 8
    assert "2 younger than 7days" in run("gc", "--config", str(proxy.file))
    assert left(raw) == before
    dry = gc(proxy.file, "--dry-run")
    assert f"would remove upload {dead['UploadId']} of s3://{BUCKET}/dead: 4 objects" in dry
    assert live["UploadId"] not in dry and left(raw) == before
    done = gc(proxy.file)
    assert f"removed upload {dead['UploadId']}" in done and "1 under way" in done
    assert len(left(raw)) == 4
    s3.complete_multipart_upload(**live, MultipartUpload=parts)
    assert s3.get_object(Bucket=BUCKET, Key="live")["Body"].read() == noise(5 * MIB, 1) + noise(10, 2)
    assert left(raw) == [] and "0 uploads looked at" in gc(proxy.file)


def test_what_it_cannot_collect_is_told(proxy, raw):
    s3 = proxy.client()
    named, _ = begin(s3, "lost")
    (state,) = [name for name in left(raw) if name.endswith("/state")]
    whole = raw.get_object(Bucket=SYSTEM, Key=state)["Body"].read()
    raw.put_object(Bucket=SYSTEM, Key=state, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
    told = gc(proxy.file, code=1)
    assert "not usable" in told and "could not be judged" in told and len(left(raw)) == 4
    raw.delete_object(Bucket=SYSTEM, Key=state)
    told = gc(proxy.file)
    assert "without a state" in told and left(raw) == []
    # The storage's own upload is nobody's to end.
    assert f"upload {named['UploadId']} of s3://{BUCKET}/lost" in gc(proxy.file)
    assert raw.list_parts(**named)["Parts"]
    raw.abort_multipart_upload(**named)
    assert "s3://" not in gc(proxy.file)


def test_faults_are_told(proxy, storage, raw):
    begin(proxy.client(), "k")
    assert "no such backend" in gc(proxy.file, "--backend", "other", code=64)
    assert "invalid value" in run("gc", "--min-age", "soon", "--config", str(proxy.file), code=64)
    run("gc", "--config", "no-such-file.yaml", code=64)
    settings = yaml.safe_load(proxy.file.read_text())
    settings["backends"]["default"]["endpoint"] = "http://127.0.0.1:9"
    away = proxy.folder / "away.yaml"
    away.write_text(yaml.safe_dump(settings))
    gc(away, code=1)
    # Another deployment's keys open nothing, and so collect nothing.
    settings = yaml.safe_load(proxy.file.read_text())
    settings["keys"]["services"]["local"]["path"] = str(proxy.folder / "other-keys")
    foreign = proxy.folder / "foreign.yaml"
    foreign.write_text(yaml.safe_dump(settings))
    before = left(raw)
    run("key", "create", "s3cloak-default", "--config", str(foreign))
    gc(foreign, code=1)
    assert left(raw) == before and len(before) == 4


def test_a_running_proxy_sweeps(proxy, raw):
    """Soon after its start, and nothing that is younger than may be set: that is left to `gc`."""
    s3 = proxy.client()
    live, parts = begin(s3, "live")
    dead, _ = begin(s3, "dead")
    raw.abort_multipart_upload(**dead)
    proxy.stop()
    settings = yaml.safe_load(proxy.file.read_text())
    settings["backends"]["default"]["system"]["gc_min_age"] = "59m"
    short = proxy.folder / "short.yaml"
    short.write_text(yaml.safe_dump(settings))
    assert "Write at least 1h" in run("gc", "--config", str(short), code=64)
    proxy.start()
    swept = "swept what ended uploads left behind"
    assert wait_for(lambda: swept in proxy.log(), 120), proxy.log()
    assert "uploads=2" in proxy.log() and "young=2" in proxy.log() and len(left(raw)) == 8
    s3.complete_multipart_upload(**live, MultipartUpload=parts)
    assert f"removed upload {dead['UploadId']}" in gc(proxy.file)
    assert left(raw) == []


def test_a_deleted_bucket_takes_its_uploads_along(proxy, raw):
    s3 = proxy.client()
    s3.create_bucket(Bucket="data-gc-short")
    made = s3.create_multipart_upload(Bucket="data-gc-short", Key="k")
    named = {"Bucket": "data-gc-short", "Key": "k", "UploadId": made["UploadId"]}
    s3.upload_part(**named, PartNumber=1, Body=b"small")
    assert len(left(raw)) == 3
    # Some storage wants its uploads ended first, and then our records are all that is left of them.
    raw.abort_multipart_upload(**named)
    s3.delete_bucket(Bucket="data-gc-short")
    assert left(raw) == []
    s3.create_bucket(Bucket="data-gc-short")
    with pytest.raises(ClientError) as error:
        s3.upload_part(**named, PartNumber=2, Body=b"small")
    assert error.value.response["Error"]["Code"] == "NoSuchUpload"
    s3.delete_bucket(Bucket="data-gc-short")
