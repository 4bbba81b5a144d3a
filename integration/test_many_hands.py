"""A minute of writers, copies, uploads in parts, changes of keys and deletes on the same few keys, through two replicas of the
real binary at once: whatever is read, then and at the end, is whole and one of the values that were written."""

import hashlib
import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError

from harness import backends
from harness.data import md5_etag, noise
from harness.proxy import Cloak, config
from test_commands import file, run  # noqa: F401  (`file` is a fixture)
from test_multipart import MIB

BUCKET = "data-many-hands"
KEYS = [f"k{at}" for at in range(4)]
SECONDS = 60
# Not there just now, or replaced all the time, of which an answer to HEAD has only the status; the last is what versitygw says
# of a file that goes while it looks at it.
PASSING = {"NoSuchKey", "404", "SlowDown", "503", "ExistingObjectIsDirectory"}
# What the storage says where an object is replaced while it copies it; ours of a broken object is another.
THEIRS = "We encountered an internal error. Please try again."
# versitygw looks up an object's attributes and opens its bytes by its path, one after the other: of an object that is
# replaced in between it answers with those of one and the bytes of the other, which is what tampering looks like. The proxy
# looks three times; so often can all of them meet that here. An answer to HEAD has no message of ours.
TORN = {"versitygw": 3}
REFUSED = {"The stored object failed its integrity check and is not served. Tell the operator the request id.", "Internal Server Error"}
# An answer that began and lost its object cannot end well, and must not end as if it had.
BROKEN_OFF = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ResponseStreamingError,
    urllib3.exceptions.ProtocolError,
)


class Written:
    """What was written, under the ETag that shows it: the sizes and seeds of its pieces."""

    def __init__(self):
        self._pieces: dict[str, list[tuple[int, str]]] = {}

    def note(self, etag: str, *pieces: tuple[int, str]) -> bytes:
        """Notes a value before it is sent, and gives it."""
        self._pieces[etag] = list(pieces)
        return self.value(etag)

    def value(self, etag: str) -> bytes:
        assert etag in self._pieces, f"nobody wrote {etag}"
        return b"".join(noise(size, seed) for size, seed in self._pieces[etag])


class Hands:
    """What is done, each a few hundred times; every hand has its own clients, one to each replica."""

    def __init__(self, proxies, command, torn):
        self.proxies, self.command, self.torn = proxies, command, torn
        self.written, self.until = Written(), time.monotonic() + SECONDS
        self.done: Counter[str] = Counter()
        self.lock = threading.Lock()

    def work(self, name: str, pause: float, number: int) -> None:
        clients = [proxy.client() for proxy in self.proxies]
        for turn in itertools.count():
            if time.monotonic() > self.until:
                return
            outcome = name
            try:
                getattr(self, name)(clients[turn // 2 % 2], turn, f"{number}/{turn}", KEYS[turn % len(KEYS)])
            except ClientError as error:
                code = error.response["Error"]["Code"]
                passing = code in PASSING or (name, code) == ("read", "PreconditionFailed")
                message = error.response["Error"]["Message"]
                passing |= message == THEIRS or (self.torn > 0 and message in REFUSED)
                assert passing, f"{name}: {error} {error.response}"
                outcome = f"{name}: {code}"
            except BROKEN_OFF:
                outcome = f"{name}: broken off"
            with self.lock:
                self.done[outcome] += 1
            # Others test on this machine too.
            time.sleep(pause or 0.01)

    def put(self, s3, turn, seed, key):
        size = (0, 30, 70_000, MIB + 300_000)[turn % 4 if turn % 3 else turn // 3 % 4]
        body = noise(size, seed)
        self.written.note(md5_etag(body), (size, seed))
        put = s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata={"of": md5_etag(body)})
        assert put["ETag"] == md5_etag(body)

    def parts(self, s3, turn, seed, key):
        sizes = [(5 * MIB, f"{seed}/1"), (100 + turn, f"{seed}/2")]
        md5s = b"".join(hashlib.md5(noise(*piece)).digest() for piece in sizes)
        etag = f'"{hashlib.md5(md5s).hexdigest()}-2"'
        self.written.note(etag, *sizes)
        begun = s3.create_multipart_upload(Bucket=BUCKET, Key=key, Metadata={"of": etag})
        upload = {"Bucket": BUCKET, "Key": key, "UploadId": begun["UploadId"]}
        tags = [
            {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=noise(*piece))["ETag"]}
            for number, piece in enumerate(sizes, 1)
        ]
        assert s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": tags})["ETag"] == etag

    def copy(self, s3, turn, seed, key):
        source = KEYS[(turn + 1 + turn // len(KEYS) % (len(KEYS) - 1)) % len(KEYS)]
        s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": source})

    def change(self, s3, turn, seed, key):
        mode = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "second"} if turn % 8 < 4 else {"ServerSideEncryption": "AES256"}
        s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": key}, **mode)

    def update(self, s3, turn, seed, key):
        arn = f"arn:aws:kms:us-east-1:123456789012:key/{('second', 's3cloak-default')[turn // 4 % 2]}"
        s3.update_object_encryption(Bucket=BUCKET, Key=key, ObjectEncryption={"SSEKMS": {"KMSKeyArn": arn}})

    def delete(self, s3, turn, seed, key):
        s3.delete_object(Bucket=BUCKET, Key=key)

    def rewrap(self, s3, turn, seed, key):
        reseal = ["--reseal"] if turn % 3 == 2 else []
        text = self.command("rewrap", f"s3://{BUCKET}", "--key", ("second", "s3cloak-default")[turn % 2], *reseal, code=None)
        assert "objects\n" in text and (self.torn or "tampered" not in text), text

    def read(self, s3, turn, seed, key):
        if turn % 2:
            self.read_range(s3, turn, key)
            return
        got = s3.get_object(Bucket=BUCKET, Key=key)
        assert got["Body"].read() == self.written.value(got["ETag"])

    def read_range(self, s3, turn, key):
        head = s3.head_object(Bucket=BUCKET, Key=key)
        value, start = self.written.value(head["ETag"]), turn * 101
        assert head["ContentLength"] == len(value)
        if start < len(value):
            got = s3.get_object(Bucket=BUCKET, Key=key, IfMatch=head["ETag"], Range=f"bytes={start}-{start + 70_000}")
            assert got["Body"].read() == value[start : start + 70_001]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(f"hands-{name}")) for name in backends.STARTERS])
def test_under_many_hands_every_object_stays_whole(tmp_path, file, name):  # noqa: F811
    storage = backends.STARTERS[name](tmp_path / "storage")
    keys = {"services": {"local": {"type": "local", "path": str(tmp_path / "keys")}}}
    path = file(config(storage.endpoint, keys, 18999))

    def command(*arguments, code=0):
        return run(*arguments, "--config", path, code=code)

    proxies = [Cloak(tmp_path / which, storage.endpoint, keys) for which in ("one", "two")]
    command("key", "create", "second")
    proxies[0].client().create_bucket(Bucket=BUCKET)
    torn = TORN.get(name, 0)
    hands = Hands(proxies, command, torn)
    pauses = {"put": 0.0, "parts": 0.3, "copy": 0.0, "change": 0.0, "update": 0.0, "delete": 0.2, "rewrap": 1.0, "read": 0.0}
    with ThreadPoolExecutor(2 * len(pauses)) as pool:
        all_of_them = [*pauses.items(), ("put", 0.0), ("read", 0.0)]
        at_work = [pool.submit(hands.work, *hand, number) for number, hand in enumerate(all_of_them)]
        for hand in at_work:
            hand.result()
    for hand in pauses:
        assert hands.done[hand] >= 5, hands.done

    # At rest, and by one that has seen nothing of it, everything is one of them, and everyone shows the same.
    fresh = Cloak(tmp_path / "three", storage.endpoint, keys)
    shown = []
    for proxy in (*proxies, fresh):
        s3, found = proxy.client(), {}
        for key in KEYS:
            try:
                got = s3.get_object(Bucket=BUCKET, Key=key)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "NoSuchKey"
                continue
            assert got["Body"].read() == hands.written.value(got["ETag"])
            assert got["Metadata"] == {"of": got["ETag"]}
            found[key] = (got["ETag"], got["ContentLength"])
        listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        assert {entry["Key"]: (entry["ETag"], entry["Size"]) for entry in listed} == found
        shown.append(found)
        assert "panicked" not in proxy.log()
        # What was torn once is rare, and at rest nothing is.
        assert proxy.log().count('"alert":"tampered"') <= (0 if proxy is fresh else torn)
        proxy.stop()
    assert shown[0] == shown[1] == shown[2]
    command("verify", f"s3://{BUCKET}")
    storage.stop()
