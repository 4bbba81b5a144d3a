"""Ranges, as the plaintext has them, over chunk borders and over both kinds of upload."""

import pytest
from botocore.exceptions import ClientError

from harness.data import noise

SIZE = 200_001
BIG = (2 << 20) + 3
RANGES = [
    (0, 0), (0, 9), (5, 5), (15, 16), (100, 65535), (65535, 65536), (65536, 65536), (65536, 131071), (65537, 131072),
    (131071, 199_999), (0, SIZE - 1), (SIZE - 1, SIZE - 1), (196_608, SIZE - 1),
]


@pytest.fixture(scope="module")
def small(s3, bucket):
    data = noise(SIZE, "ranges")
    s3.put_object(Bucket=bucket, Key="ranges/small", Body=data)
    return data


@pytest.fixture(scope="module")
def streamed(s3, bucket):
    data = noise(BIG, "ranges")
    s3.put_object(Bucket=bucket, Key="ranges/streamed", Body=data)
    return data


def fetch(s3, bucket, key, spec):
    answer = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={spec}")
    body = answer["Body"].read()
    assert answer["ContentLength"] == len(body)
    return answer, body


@pytest.mark.parametrize("first,last", RANGES)
def test_closed(s3, bucket, small, first, last):
    answer, body = fetch(s3, bucket, "ranges/small", f"{first}-{last}")
    assert body == small[first : last + 1]
    assert answer["ContentRange"] == f"bytes {first}-{last}/{SIZE}"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206


@pytest.mark.parametrize("first", [0, 1, 65535, 65536, 65537, 131_072, SIZE - 1])
def test_open(s3, bucket, small, first):
    answer, body = fetch(s3, bucket, "ranges/small", f"{first}-")
    assert body == small[first:]
    assert answer["ContentRange"] == f"bytes {first}-{SIZE - 1}/{SIZE}"


@pytest.mark.parametrize("count", [1, 16, 512, 3393, 3394, 65536, SIZE - 1, SIZE, SIZE + 1, 10 * SIZE])
def test_suffix(s3, bucket, small, count):
    answer, body = fetch(s3, bucket, "ranges/small", f"-{count}")
    assert body == small[-count:]
    assert answer["ContentRange"] == f"bytes {max(0, SIZE - count)}-{SIZE - 1}/{SIZE}"


def test_last_byte_past_the_end_is_cut(s3, bucket, small):
    answer, body = fetch(s3, bucket, "ranges/small", f"199999-{SIZE + 600}")
    assert body == small[199_999:]
    assert answer["ContentRange"] == f"bytes 199999-{SIZE - 1}/{SIZE}"


@pytest.mark.parametrize("spec", [f"{SIZE}-", f"{SIZE + 1}-{SIZE + 5}", "-0"])
def test_unsatisfiable(stack, bucket, small, spec):
    """Even a range that the ciphertext could satisfy."""
    answer = stack.request("GET", bucket, "ranges/small", headers={"range": f"bytes={spec}"}).send()
    assert (answer.status, answer.code) == (416, "InvalidRange")
    assert answer.headers.get("content-range", f"bytes */{SIZE}") == f"bytes */{SIZE}"


@pytest.mark.parametrize("spec", ["bytes=9-5", "bytes=0-1,5-6", "bytes=x-y", "chunks=0-5", "bytes=", "bytes=-"])
def test_what_is_no_range_is_ignored(stack, bucket, small, spec):
    answer = stack.request("GET", bucket, "ranges/small", headers={"range": spec}).send()
    assert answer.status == 200
    assert answer.body == small


def test_head_with_range(s3, bucket, small):
    head = s3.head_object(Bucket=bucket, Key="ranges/small", Range="bytes=10-19")
    assert head["ContentLength"] == 10
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_streamed_object(s3, bucket, streamed):
    for first, last in ((0, 0), (65530, 65545), (1 << 20, (1 << 20) + 70_000), (BIG - 1, BIG - 1), (0, BIG - 1)):
        _, body = fetch(s3, bucket, "ranges/streamed", f"{first}-{last}")
        assert body == streamed[first : last + 1]
    assert fetch(s3, bucket, "ranges/streamed", "-70000")[1] == streamed[-70000:]


def test_empty_object(s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=f"{prefix}empty", Body=b"")
    for spec in ("bytes=0-0", "bytes=0-", "bytes=-0"):
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key=f"{prefix}empty", Range=spec)
        assert error.value.response["Error"]["Code"] == "InvalidRange"
    # The last bytes of nothing are nothing, and the whole of it.
    last = s3.get_object(Bucket=bucket, Key=f"{prefix}empty", Range="bytes=-1")
    assert last["ResponseMetadata"]["HTTPStatusCode"] == 200 and last["Body"].read() == b""


def test_if_range(stack, s3, bucket, small):
    etag = s3.head_object(Bucket=bucket, Key="ranges/small")["ETag"]
    holds = stack.request("GET", bucket, "ranges/small", headers={"range": "bytes=0-9", "if-range": etag}).send()
    assert (holds.status, holds.body) == (206, small[:10])
    fails = stack.request("GET", bucket, "ranges/small", headers={"range": "bytes=0-9", "if-range": '"other"'}).send()
    assert (fails.status, fails.body) == (200, small)


def test_part_number_of_a_single_put(s3, bucket, small):
    part = s3.get_object(Bucket=bucket, Key="ranges/small", PartNumber=1)
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert part["Body"].read() == small
    assert part["ContentRange"] == f"bytes 0-{SIZE - 1}/{SIZE}"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="ranges/small", PartNumber=2)
    assert error.value.response["Error"]["Code"] == "InvalidPartNumber"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="ranges/small", PartNumber=1, Range="bytes=0-1")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
