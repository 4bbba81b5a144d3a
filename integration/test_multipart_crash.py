"""A replica is killed (SIGKILL) at each of its steps through a multipart upload, and another one, which shares nothing with it
but storage and keys, goes on: the object is whole and right, or is not there."""

import hashlib
import signal
import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness import backends
from harness.data import noise
from harness.proxy import Cloak
from harness.steps import Steps
from test_commands import run

pytestmark = pytest.mark.xdist_group("failures")
BUCKET = "data-crashes"
MIB = 1 << 20
BODIES = [noise(5 * MIB, "large"), noise(1000, "small")]
WHOLE = b"".join(BODIES)
ETAG = f'"{hashlib.md5(b"".join(hashlib.md5(body).digest() for body in BODIES)).hexdigest()}-2"'


@pytest.fixture(scope="module", params=backends.STARTERS)
def storage(request, tmp_path_factory):
    storage = backends.STARTERS[request.param](tmp_path_factory.mktemp("storage"))
    storage.client().create_bucket(Bucket=BUCKET)
    yield storage
    storage.stop()


class Replicas:
    """One that is killed and started again, over a relay that counts its steps, and one that stays."""

    def __init__(self, folder, storage):
        keys = {"services": {"local": {"type": "local", "path": str(folder / "keys")}}}
        self.steps = Steps(storage.port)
        self.steady = Cloak(folder / "steady", storage.endpoint, keys)
        self.doomed = Cloak(folder / "doomed", f"http://127.0.0.1:{self.steps.port}", keys)
        self.s3 = self.steady.client()

    def killed_at(self, step: int, call) -> tuple[bool, object]:
        """Has `call` sent to the replica that dies at that step; whether it died, and what the client got otherwise."""
        got = []

        def ask():
            try:
                got.append(call(self.doomed.client()))
            except (ClientError, BotoCoreError) as error:
                got.append(error)

        self.steps.hold(step)
        client = threading.Thread(target=ask)
        client.start()
        while client.is_alive() and not self.steps.held.wait(0.02):
            pass
        died = self.steps.held.is_set()
        if died:
            assert self.doomed.stop(signal.SIGKILL) == -signal.SIGKILL
        client.join()
        self.steps.release()
        if died:
            self.doomed.start()
        return died, got[0]

    def begin(self, key: str) -> dict:
        made = self.s3.create_multipart_upload(Bucket=BUCKET, Key=key)
        return {"Bucket": BUCKET, "Key": key, "UploadId": made["UploadId"]}

    def send(self, named: dict, s3=None) -> dict:
        tags = [(s3 or self.s3).upload_part(**named, PartNumber=n, Body=body)["ETag"] for n, body in enumerate(BODIES, 1)]
        return {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}

    def is_whole(self, key: str) -> bool:
        """Whether it is there; then all of it is right."""
        try:
            got = self.s3.get_object(Bucket=BUCKET, Key=key)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchKey"
            return False
        assert (got["Body"].read(), got["ETag"]) == (WHOLE, ETAG)
        return True

    def stop(self):
        self.doomed.stop()
        self.steady.stop()
        self.steps.close()


@pytest.fixture(scope="module")
def replicas(storage, tmp_path_factory):
    replicas = Replicas(tmp_path_factory.mktemp("replicas"), storage)
    yield replicas
    replicas.stop()


@pytest.mark.timeout(300)
def test_killed_at_each_step(replicas, storage):
    counts = {}
    for what in ("create", "part", "held part", "complete", "abort"):
        for step in range(40):
            key = f"{what}-{step}".replace(" ", "-")
            named = replicas.begin(key)
            if what == "create":
                died, got = replicas.killed_at(step, lambda s3: s3.create_multipart_upload(Bucket=BUCKET, Key=key))
                replicas.s3.abort_multipart_upload(**named)
                named = replicas.begin(key) if died else {**named, "UploadId": got["UploadId"]}
                parts = replicas.send(named)
            elif what in ("part", "held part"):
                number = 1 if what == "part" else 2
                parts = {"PartNumber": number, "Body": BODIES[number - 1]}
                died, got = replicas.killed_at(step, lambda s3: s3.upload_part(**named, **parts))
                parts = replicas.send(named)
            elif what == "complete":
                parts = replicas.send(named)
                died, got = replicas.killed_at(step, lambda s3: s3.complete_multipart_upload(**named, MultipartUpload=parts))
                there = replicas.is_whole(key)
                assert died or (there and got["ETag"] == ETAG)
            else:
                replicas.send(named)
                died, got = replicas.killed_at(step, lambda s3: s3.abort_multipart_upload(**named))
                if died:
                    try:
                        replicas.s3.abort_multipart_upload(**named)
                    except ClientError as error:
                        assert error.response["Error"]["Code"] == "NoSuchUpload"
                with pytest.raises(ClientError) as error:
                    replicas.s3.list_parts(**named)
                assert error.value.response["Error"]["Code"] == "NoSuchUpload"
                assert not replicas.is_whole(key)
                if not died:
                    break
                continue
            done = replicas.s3.complete_multipart_upload(**named, MultipartUpload=parts)
            assert done["ETag"] == ETAG and replicas.is_whole(key), f"{what}, killed at step {step}"
            if not died:
                break
        counts[what] = step
    assert counts["create"] >= 2 and counts["part"] >= 2 and counts["held part"] >= 3, counts
    assert counts["complete"] >= 6 and counts["abort"] >= 5, counts
    # What the dead left behind is collected, and nothing of what stands.
    raw = storage.client()

    def left():
        return [entry["Key"] for entry in raw.list_objects_v2(Bucket="s3cloak-system", Prefix="mpu/").get("Contents", [])]

    # Uploads that began and whose ids no client was told are the storage's to keep or to end, as on S3.
    for lost in raw.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        raw.abort_multipart_upload(Bucket=BUCKET, Key=lost["Key"], UploadId=lost["UploadId"])
    live = replicas.begin("live")
    parts = replicas.send(live)
    assert len(left()) > 4
    run("gc", "--min-age", "1ms", "--config", str(replicas.steady.file))
    assert len({name.split("/")[2] for name in left()}) == 1
    replicas.s3.complete_multipart_upload(**live, MultipartUpload=parts)
    assert replicas.is_whole("live") and not left()
