"""Plaintext objects that were on the storage before the proxy: refused, or passed where a bucket's rule says so."""

import pytest
from botocore.exceptions import ClientError

from harness.data import md5_etag, noise


def test_reject_is_the_default(s3, raw, bucket, prefix):
    raw.put_object(Bucket=bucket, Key=f"{prefix}old", Body=noise(1000))
    for call, more in ((s3.get_object, {}), (s3.get_object, {"Range": "bytes=0-9"}), (s3.head_object, {})):
        with pytest.raises(ClientError) as error:
            call(Bucket=bucket, Key=f"{prefix}old", **more)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 400
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key=f"{prefix}old")
    # The error says how to allow them.
    assert "unencrypted_objects" in error.value.response["Error"]["Message"]


@pytest.mark.parametrize("size", [0, 10, 1000, 70_000, (1 << 20) + 5])
def test_pass_serves_them_as_they_are(s3, raw, buckets, prefix, size):
    bucket, key, data = buckets["legacy"], f"{prefix}old", noise(size)
    raw.put_object(Bucket=bucket, Key=key, Body=data, Metadata={"own": "1"}, ContentType="text/x-old")
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == data
    assert got["ContentType"] == "text/x-old" and got["Metadata"] == {"own": "1"}
    head = s3.head_object(Bucket=bucket, Key=key)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"][0]
    assert got["ContentLength"] == head["ContentLength"] == listed["Size"] == size
    assert got["ETag"] == head["ETag"] == listed["ETag"] == md5_etag(data)
    assert "ServerSideEncryption" not in got
    if size > 100:
        ranged = s3.get_object(Bucket=bucket, Key=key, Range="bytes=5-99")
        assert ranged["Body"].read() == data[5:100] and ranged["ContentRange"] == f"bytes 5-99/{size}"
        assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=-7")["Body"].read() == data[-7:]


def test_new_objects_in_a_passing_bucket_are_sealed(s3, raw, buckets, prefix):
    bucket, data = buckets["legacy"], noise(5000)
    raw.put_object(Bucket=bucket, Key=f"{prefix}old", Body=b"old" * 400)
    s3.put_object(Bucket=bucket, Key=f"{prefix}new", Body=data)
    assert raw.get_object(Bucket=bucket, Key=f"{prefix}new")["Body"].read() != data
    sizes = {entry["Key"]: entry["Size"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]}
    assert sizes == {f"{prefix}old": 1200, f"{prefix}new": 5000}
    assert s3.get_object(Bucket=bucket, Key=f"{prefix}new")["Body"].read() == data


def test_overwriting_a_plaintext_object_seals_it(s3, raw, bucket, prefix):
    raw.put_object(Bucket=bucket, Key=f"{prefix}old", Body=b"plain")
    s3.put_object(Bucket=bucket, Key=f"{prefix}old", Body=b"sealed now")
    assert s3.get_object(Bucket=bucket, Key=f"{prefix}old")["Body"].read() == b"sealed now"
    assert b"sealed now" not in raw.get_object(Bucket=bucket, Key=f"{prefix}old")["Body"].read()


def test_stripped_object_is_no_plaintext_object(s3, raw, buckets, prefix):
    """Its magic says what it is, where `pass` would serve the ciphertext otherwise."""
    bucket, key = buckets["legacy"], f"{prefix}object"
    s3.put_object(Bucket=bucket, Key=key, Body=noise(100_000))
    stored = raw.get_object(Bucket=bucket, Key=key)["Body"].read()
    raw.put_object(Bucket=bucket, Key=key, Body=stored)
    for more in ({}, {"Range": "bytes=0-99"}, {"Range": "bytes=-600"}):
        with pytest.raises(ClientError):
            s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key=key)


def test_legacy_objects_are_listed_and_deleted_where_they_are_rejected(s3, raw, bucket, prefix):
    raw.put_object(Bucket=bucket, Key=f"{prefix}old", Body=b"x" * 50)
    assert [e["Key"] for e in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]] == [f"{prefix}old"]
    s3.delete_object(Bucket=bucket, Key=f"{prefix}old")
    assert "Contents" not in raw.list_objects_v2(Bucket=bucket, Prefix=prefix)
