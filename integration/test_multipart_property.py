"""Random multipart uploads, sent through the proxy and straight to the same storage: each answer that a client sees is the
same, and so are the bytes, the ETag, the size and the listing of what they become."""

import random
from datetime import datetime

import pytest
from botocore.exceptions import ClientError

from harness import backends
from harness.data import noise
from harness.proxy import Cloak

pytestmark = pytest.mark.xdist_group("failures")
MIB = 1 << 20
MIN = 5 * MIB
# Seeds whose last part is empty.
EMPTY_LAST = (3, 6, 11)
BUCKETS = ("straight", "data-through", "opaque-through")


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    """The storage itself and the proxy before it, by the name of the bucket that each has: ETags are S3's in one, opaque in
    another."""
    storage = backends.versitygw(tmp_path_factory.mktemp("storage"))
    folder = tmp_path_factory.mktemp("proxy")
    proxy = Cloak(folder, storage.endpoint, {"services": {"local": {"type": "local", "path": str(folder / "keys")}}})
    clients = {bucket: storage.client() if bucket == "straight" else proxy.client() for bucket in BUCKETS}
    for bucket, s3 in clients.items():
        s3.create_bucket(Bucket=bucket)
    yield clients
    proxy.stop()
    storage.stop()


class Layout:
    """One upload: which parts, in which order they are sent, which of them first with other bytes, which are listed."""

    def __init__(self, seed: int):
        draw = random.Random(seed)
        self.seed = seed
        count = draw.choice([1, 1, 2, 2, 3, 4])
        numbers = draw.choice(
            [range(1, count + 1), sorted(draw.sample(range(1, 10_001), count)), range(10_001 - count, 10_001)]
        )
        sizes = [MIN + draw.choice([0, 1, 65_535, 65_536, draw.randrange(2 * MIB)]) for _ in range(count - 1)]
        sizes.append(draw.choice([0, 1, 65_536, MIN - 1, MIN, MIN + 1, draw.randrange(1, 6 * MIB)]))
        # Whatever was drawn: some end in a part of nothing, alone and behind others.
        if seed in EMPTY_LAST:
            sizes[-1] = 0
        self.parts = {number: noise(size, f"{seed}/{number}") for number, size in zip(numbers, sizes)}
        self.sends = [(number, body) for number, body in self.parts.items()]
        for number in draw.sample(list(self.parts), draw.randrange(count + 1)):
            self.sends.append((number, noise(draw.choice([1, MIN, MIN + 7]), f"{seed}/{number}/before")))
        draw.shuffle(self.sends)
        # What counts is what was sent last.
        last = dict(self.sends)
        self.sends += [(number, body) for number, body in self.parts.items() if last[number] is not body]
        # Parts that nobody lists are dropped.
        self.listed = [number for number in self.parts if number == max(self.parts) or draw.random() < 0.8]

    @property
    def whole(self) -> bytes:
        return b"".join(self.parts[number] for number in self.listed)


def code(call, **arguments) -> str:
    try:
        call(**arguments)
        return "no error"
    except ClientError as error:
        return error.response["Error"]["Code"]


def shown(part: dict) -> tuple:
    assert isinstance(part["LastModified"], datetime)
    return part["PartNumber"], part["Size"], part["ETag"]


def upload(s3, bucket: str, layout: Layout) -> list:
    """Everything that a client is told on the way."""
    named = {"Bucket": bucket, "Key": f"k-{layout.seed:02}"}
    told = []
    named["UploadId"] = s3.create_multipart_upload(**named, ContentType="text/x", Metadata={"a": "b"})["UploadId"]
    tags = {}
    for number, body in layout.sends:
        tags[number] = s3.upload_part(**named, PartNumber=number, Body=body)["ETag"]
        told.append((number, tags[number]))
    page = s3.list_parts(**named, MaxParts=2)
    told.append(([shown(part) for part in page["Parts"]], page["IsTruncated"]))
    told.append([shown(part) for part in s3.list_parts(**named)["Parts"]])
    parts = [{"PartNumber": number, "ETag": tags[number]} for number in layout.listed]
    complete = s3.complete_multipart_upload
    told.append(code(complete, **named, MultipartUpload={"Parts": [{**parts[0], "ETag": f'"{"0" * 32}"'}, *parts[1:]]}))
    # Which of two faults is told is nobody's promise.
    if len(parts) > 1 and len(layout.parts[layout.listed[-1]]) >= MIN:
        told.append(code(complete, **named, MultipartUpload={"Parts": parts[::-1]}))
    done = complete(**named, MultipartUpload={"Parts": parts})
    told.append((done["ETag"], done["Bucket"].replace(bucket, ""), done["Key"]))
    told.append(code(s3.list_parts, **named))
    return told


def without_tags(told):
    """The same with every ETag left out; they are text in quotes."""
    if isinstance(told, (list, tuple)):
        return [without_tags(one) for one in told if not (isinstance(one, str) and one.startswith('"'))]
    return told


@pytest.mark.parametrize("through", BUCKETS[1:])
@pytest.mark.parametrize("seed", range(14))
def test_same_as_without(clients, seed, through):
    layout = Layout(seed)
    opaque = through.startswith("opaque")
    compared = without_tags if opaque else lambda told: told
    both = [("straight", clients["straight"]), (through, clients[through])]
    told = [upload(s3, bucket, layout) for bucket, s3 in both]
    assert compared(told[1]) == compared(told[0])
    key = f"k-{seed:02}"
    heads, lists = [], []
    for bucket, s3 in both:
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == layout.whole
        head = s3.head_object(Bucket=bucket, Key=key)
        assert head["ETag"] == got["ETag"]
        heads.append((head["ETag"], head["ContentLength"], head["ContentType"], head["Metadata"]))
        (entry,) = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        lists.append((entry["Key"], entry["Size"], entry["ETag"]))
    assert compared(heads[0]) == compared(heads[1]) and compared(lists[0]) == compared(lists[1])
    # One tag for one object, wherever it is told; and none that tells its bytes.
    assert {heads[1][0], lists[1][2]} == {told[1][-2][0]}
    assert not opaque or heads[1][0] != heads[0][0]
    draw = random.Random(f"ranges of {seed}")
    size = len(layout.whole)
    for _ in range(6 if size else 0):
        first = draw.randrange(size)
        last = draw.randrange(first, size + 10)
        span = draw.choice([f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{max(1, size - first)}"])
        bodies = [s3.get_object(Bucket=bucket, Key=key, Range=span) for bucket, s3 in both]
        assert bodies[0]["ContentRange"] == bodies[1]["ContentRange"], span
        assert bodies[0]["Body"].read() == bodies[1]["Body"].read(), span
    for bucket, s3 in both:
        s3.delete_object(Bucket=bucket, Key=key)
