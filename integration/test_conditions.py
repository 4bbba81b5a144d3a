"""Conditional reads and writes, on the ETags that clients see."""

from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from harness.data import md5_etag

DATA = b"conditional content"
YESTERDAY, TOMORROW = (datetime.now(timezone.utc) + timedelta(days=d) for d in (-1, 1))


@pytest.fixture(scope="module", params=["data", "opaque"])
def there(request, s3, buckets):
    """An object in a bucket of each ETag policy, and its ETag."""
    bucket, key = buckets[request.param], "conditions/object"
    s3.put_object(Bucket=bucket, Key=key, Body=DATA)
    return bucket, key, s3.head_object(Bucket=bucket, Key=key)["ETag"]


def status(call, **arguments) -> int:
    try:
        return call(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("method", ["get_object", "head_object"])
def test_reads(s3, there, method):
    bucket, key, etag = there
    call = getattr(s3, method)

    def ask(**conditions):
        return status(call, Bucket=bucket, Key=key, **conditions)

    assert ask(IfMatch=etag) == 200
    assert ask(IfMatch=etag.strip('"')) == 200
    assert ask(IfMatch="*") == 200
    assert ask(IfMatch='"00000000000000000000000000000000"') == 412
    assert ask(IfNoneMatch=etag) == 304
    assert ask(IfNoneMatch="*") == 304
    assert ask(IfNoneMatch='"00000000000000000000000000000000"') == 200
    assert ask(IfModifiedSince=YESTERDAY) == 200
    assert ask(IfUnmodifiedSince=TOMORROW) == 200
    assert ask(IfUnmodifiedSince=YESTERDAY) == 412
    # If-Match that holds beats If-Unmodified-Since; If-None-Match that fails beats If-Modified-Since.
    assert ask(IfMatch=etag, IfUnmodifiedSince=YESTERDAY) == 200
    assert ask(IfNoneMatch='"other"', IfModifiedSince=YESTERDAY) == 200
    assert ask(IfNoneMatch=etag, IfModifiedSince=YESTERDAY) == 304


def test_not_modified_since(s3, there):
    bucket, key, _ = there
    modified = s3.head_object(Bucket=bucket, Key=key)["LastModified"]
    assert status(s3.get_object, Bucket=bucket, Key=key, IfModifiedSince=modified) == 304
    assert status(s3.get_object, Bucket=bucket, Key=key, IfUnmodifiedSince=modified) == 200


def test_304_has_no_body_and_names_the_object(stack, there):
    bucket, key, etag = there
    answer = stack.request("GET", bucket, key, headers={"if-none-match": etag}).send()
    assert answer.status == 304 and answer.headers["etag"] == etag and answer.body == b""


def test_the_ciphertexts_etag_is_worth_nothing(stack, storage, raw, s3, buckets, prefix):
    bucket, key = buckets["data"], f"{prefix}object"
    s3.put_object(Bucket=bucket, Key=key, Body=DATA)
    hidden = raw.head_object(Bucket=bucket, Key=key)["ETag"]
    assert hidden != md5_etag(DATA)
    assert status(s3.get_object, Bucket=bucket, Key=key, IfMatch=hidden) == 412
    assert status(s3.get_object, Bucket=bucket, Key=key, IfNoneMatch=hidden) == 200


@pytest.mark.parametrize("kind", ["data", "opaque"])
@pytest.mark.parametrize("size", [20, (1 << 20) + 9], ids=["small", "streamed"])
def test_create_only(s3, buckets, prefix, kind, size):
    bucket, key = buckets[kind], f"{prefix}object"
    assert status(s3.put_object, Bucket=bucket, Key=key, Body=b"a" * size, IfNoneMatch="*") == 200
    assert status(s3.put_object, Bucket=bucket, Key=key, Body=b"b" * size, IfNoneMatch="*") == 412
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"a" * size


@pytest.mark.parametrize("kind", ["data", "opaque"])
@pytest.mark.parametrize("size", [20, (1 << 20) + 9], ids=["small", "streamed"])
def test_replace_only_what_was_seen(s3, buckets, prefix, kind, size):
    bucket, key = buckets[kind], f"{prefix}object"
    first = s3.put_object(Bucket=bucket, Key=key, Body=b"a" * size)["ETag"]
    assert status(s3.put_object, Bucket=bucket, Key=key, Body=b"b" * size, IfMatch=first) == 200
    assert status(s3.put_object, Bucket=bucket, Key=key, Body=b"c" * size, IfMatch=first) == 412
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"b" * size
    assert status(s3.put_object, Bucket=bucket, Key=f"{prefix}none", Body=b"c", IfMatch=first) in (404, 412)


def test_delete_only_what_was_seen(s3, bucket, prefix):
    key = f"{prefix}object"
    etag = s3.put_object(Bucket=bucket, Key=key, Body=b"a")["ETag"]
    assert status(s3.delete_object, Bucket=bucket, Key=key, IfMatch='"00000000000000000000000000000000"') in (412, 501)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"a"
    assert status(s3.delete_object, Bucket=bucket, Key=key, IfMatch=etag) in (204, 501)
