"""Put, get, head and delete as a client sees them, and what the storage holds meanwhile."""

import io

import pytest
from botocore.exceptions import ClientError

from harness.data import md5_etag, noise, shares_a_run
from harness.sizes import sealed_len

# Around a cipher block, a chunk, the buffer for small uploads, and some chunks more.
SIZES = [0, 1, 15, 16, 17, 65535, 65536, 65537, 131072, 200_001, 1 << 20, (1 << 20) + 1, (3 << 20) + 17]


def code_of(error) -> str:
    return error.value.response["Error"]["Code"]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_put_comes_back(s3, bucket, prefix, size):
    key, data = f"{prefix}object", noise(size)
    put = s3.put_object(Bucket=bucket, Key=key, Body=data)
    got = s3.get_object(Bucket=bucket, Key=key)
    head = s3.head_object(Bucket=bucket, Key=key)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert got["Body"].read() == data
    assert got["ContentLength"] == head["ContentLength"] == listed[0]["Size"] == size
    assert [entry["Key"] for entry in listed] == [key]
    assert put["ETag"] == got["ETag"] == head["ETag"] == listed[0]["ETag"] == md5_etag(data)
    assert got["LastModified"] == head["LastModified"]


@pytest.mark.parametrize("size", SIZES)
def test_storage_holds_ciphertext_of_the_promised_size(s3, raw, bucket, prefix, size):
    key, data = f"{prefix}object", noise(size)
    s3.put_object(Bucket=bucket, Key=key, Body=data)
    stored = raw.get_object(Bucket=bucket, Key=key)
    body = stored["Body"].read()
    assert len(body) == sealed_len(size)
    assert not shares_a_run(body, data[:200_000])
    assert "s3cloak" in {name.lower() for name in stored["Metadata"]}
    if size:
        assert stored["ETag"] != md5_etag(data)


def test_equal_plaintexts_have_unequal_ciphertexts(s3, raw, bucket, prefix):
    data = noise(100_000)
    for name in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=prefix + name, Body=data)
    a, b = (raw.get_object(Bucket=bucket, Key=prefix + name)["Body"].read() for name in ("a", "b"))
    assert len(a) == len(b)
    # The last 512 bytes begin with padding and end with the format's magic.
    assert not shares_a_run(a[:-512], b[:-512])


@pytest.mark.parametrize("size", [0, 5, 65536, (1 << 20) + 1])
def test_opaque_etags_are_one_value_everywhere_and_no_md5(s3, storage, buckets, prefix, size):
    bucket, key, data = buckets["opaque"], f"{prefix}object", noise(size)
    put = s3.put_object(Bucket=bucket, Key=key, Body=data)["ETag"]
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == data
    head = s3.head_object(Bucket=bucket, Key=key)["ETag"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"][0]
    assert put == got["ETag"] == head == listed["ETag"]
    assert listed["Size"] == size
    digest, dash, parts = put.strip('"').partition("-")
    assert len(digest) == 32 and int(digest, 16) >= 0 and dash and parts == "1"
    assert not size or digest != md5_etag(data).strip('"')


def test_metadata_and_system_headers_are_kept(s3, bucket, prefix):
    key = f"{prefix}object"
    given = {
        "Metadata": {"a": "1", "mixed-case": "v V", "bin": "+/==", "word": "=?UTF-8?B?w6k=?="},
        "ContentType": "text/x-test; charset=utf-8",
        "ContentLanguage": "de",
        "ContentDisposition": 'attachment; filename="a b.txt"',
        "ContentEncoding": "gzip",
        "CacheControl": "max-age=5, no-transform",
    }
    s3.put_object(Bucket=bucket, Key=key, Body=b"body", Expires=2_000_000_000, **given)
    for answer in (s3.get_object(Bucket=bucket, Key=key), s3.head_object(Bucket=bucket, Key=key)):
        assert {name: answer[name] for name in given} == given
        assert answer["ExpiresString"] == "Wed, 18 May 2033 03:33:20 GMT"


def test_content_encoding_does_not_gain_aws_chunked(stack, s3, bucket, prefix):
    """SDKs send `Content-Encoding: gzip,aws-chunked`; only the first is the object's."""
    from harness.wire import UNSIGNED_TRAILER, crc32, frame_unsigned

    body = noise(1000)
    for key, sent, kept in (("both", "gzip,aws-chunked", "gzip"), ("alone", "aws-chunked", None)):
        request = stack.request(
            "PUT", bucket, prefix + key, payload=UNSIGNED_TRAILER,
            headers={
                "content-encoding": sent, "x-amz-decoded-content-length": "1000", "x-amz-trailer": "x-amz-checksum-crc32",
            },
            body=frame_unsigned(body) + f"x-amz-checksum-crc32:{crc32(body)}\r\n\r\n".encode(),
        )
        assert request.send().status == 200
        got = s3.get_object(Bucket=bucket, Key=prefix + key)
        assert got["Body"].read() == body
        assert got.get("ContentEncoding") == kept


def test_own_metadata_is_never_shown(stack, s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=b"body", Metadata={"mine": "1"})
    for method in ("GET", "HEAD"):
        answer = stack.request(method, bucket, f"{prefix}object").send()
        assert answer.status == 200
        assert not [name for name in answer.headers if "s3cloak" in name]
        assert answer.headers["x-amz-meta-mine"] == "1"


def test_default_content_type_is_kept_as_aws_has_it(s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=b"x")
    assert s3.get_object(Bucket=bucket, Key=f"{prefix}object")["ContentType"] == "binary/octet-stream"


def test_response_overrides(s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=b"body", ContentType="text/plain", CacheControl="no-cache")
    got = s3.get_object(
        Bucket=bucket, Key=f"{prefix}object", ResponseContentType="application/x-other", ResponseCacheControl="max-age=1",
        ResponseContentDisposition="inline", ResponseContentLanguage="fr", ResponseContentEncoding="identity",
    )
    assert got["ContentType"] == "application/x-other"
    assert got["CacheControl"] == "max-age=1"
    assert got["ContentDisposition"] == "inline"
    assert got["ContentLanguage"] == "fr"
    assert got["Body"].read() == b"body"


def test_overwriting_replaces_everything(s3, bucket, prefix):
    key = f"{prefix}object"
    s3.put_object(Bucket=bucket, Key=key, Body=noise(200_000), Metadata={"old": "1"})
    s3.head_object(Bucket=bucket, Key=key)
    s3.put_object(Bucket=bucket, Key=key, Body=b"short", Metadata={"new": "1"})
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == b"short"
    assert got["Metadata"] == {"new": "1"}
    assert got["ETag"] == md5_etag(b"short") == s3.head_object(Bucket=bucket, Key=key)["ETag"]


def test_delete(s3, raw, bucket, prefix):
    key = f"{prefix}object"
    s3.put_object(Bucket=bucket, Key=key, Body=b"body")
    assert s3.delete_object(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (s3.get_object, s3.head_object):
        with pytest.raises(ClientError) as error:
            call(Bucket=bucket, Key=key)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert "Contents" not in raw.list_objects_v2(Bucket=bucket, Prefix=prefix)
    assert s3.delete_object(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_batch_delete(s3, bucket, prefix):
    keys = [f"{prefix}{name}" for name in ("a", "b c", "ü&<>", "d+e")]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in [*keys[:3], f"{prefix}none"]]})
    assert not answer.get("Errors")
    assert {entry["Key"] for entry in answer["Deleted"]} == {*keys[:3], f"{prefix}none"}
    assert [e["Key"] for e in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]] == [keys[3]]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": keys[3]}], "Quiet": True})
    assert not quiet.get("Deleted") and not quiet.get("Errors")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)


def test_missing_things_are_404(s3, bucket, prefix):
    for call in (s3.get_object, s3.head_object):
        with pytest.raises(ClientError) as error:
            call(Bucket=bucket, Key=f"{prefix}none")
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key=f"{prefix}none")
    assert code_of(error) == "NoSuchKey"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="data-that-is-nowhere", Key="none")
    assert code_of(error) == "NoSuchBucket"


def test_directory_markers(s3, bucket, prefix):
    key = f"{prefix}folder/"
    put = s3.put_object(Bucket=bucket, Key=key, Body=b"")
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == b"" and got["ContentLength"] == 0
    assert put["ETag"] == got["ETag"] == md5_etag(b"")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert [(e["Key"], e["Size"]) for e in listed] == [(key, 0)]
    s3.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)


def test_streamed_body_of_known_length(s3, bucket, prefix):
    """boto3 from a file object, over the buffer for small uploads."""
    data = noise(5 << 20)
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=io.BytesIO(data))
    body = s3.get_object(Bucket=bucket, Key=f"{prefix}object")["Body"]
    assert b"".join(iter(lambda: body.read(99_999), b"")) == data


def test_tls(stack, storage, bucket, prefix):
    """Over TLS boto3 sends checksums as trailers, in chunks without signatures."""
    s3 = stack.client(tls=True)
    for size in (0, 1000, 200_001, (2 << 20) + 5):
        data = noise(size, "tls")
        put = s3.put_object(Bucket=bucket, Key=f"{prefix}{size}", Body=io.BytesIO(data), ChecksumAlgorithm="CRC32")
        got = s3.get_object(Bucket=bucket, Key=f"{prefix}{size}")
        assert got["Body"].read() == data
        assert put["ETag"] == got["ETag"] == md5_etag(data)


def test_every_answer_says_that_the_object_is_encrypted(stack, bucket, prefix):
    asked = stack.request("PUT", bucket, f"{prefix}asked", body=b"x", headers={"x-amz-server-side-encryption": "AES256"})
    unasked = stack.request("PUT", bucket, f"{prefix}unasked", body=b"x")
    for put, key in ((asked, f"{prefix}asked"), (unasked, f"{prefix}unasked")):
        for answer in (put.send(), stack.request("GET", bucket, key).send(), stack.request("HEAD", bucket, key).send()):
            assert answer.status == 200
            assert answer.headers["x-amz-server-side-encryption"] == "AES256"


def test_nothing_of_the_backends_own_shows(stack, bucket, prefix):
    """Answers are built from a list of what S3 has, not handed on."""
    stack.request("PUT", bucket, f"{prefix}object", body=b"x").send()
    for request in (
        stack.request("GET", bucket, f"{prefix}object"), stack.request("HEAD", bucket, f"{prefix}object"),
        stack.request("GET", bucket, f"{prefix}none"), stack.request("GET", bucket, query=[("list-type", "2")]),
    ):
        answer = request.send()
        assert len(answer.headers["x-amz-request-id"]) >= 16 and answer.headers["date"]
        text = str(answer.headers).lower() + answer.body.decode(errors="replace").lower()
        assert "seaweed" not in text and "versity" not in text
        assert "127.0.0.1" not in text


def test_storage_folder_holds_no_plaintext(s3, stack, bucket, prefix):
    """On disk, whatever files the storage makes of it."""
    data = noise(300_000)
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=data)
    folder = stack.storage.folder if stack.storage else stack.proxy.data
    runs = [data[start : start + 16] for start in range(0, len(data) - 16, 997)]
    seen = 0
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            seen += len(content)
            assert not [run for run in runs if run in content], path
    assert seen > len(data)
