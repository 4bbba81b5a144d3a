"""Multipart uploads by the clients that make them, each above its own threshold; what S3 would show, and what the
storage holds."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import boto3.s3.transfer
import minio
import pytest
from botocore.exceptions import ClientError

from harness.data import noise, shares_a_run
from harness.process import clean_env, tool
from test_clients import run

MIB = 1 << 20


def s3_etag(data: bytes, part: int) -> str:
    """What S3 names an object that came in parts of one size."""
    md5s = [hashlib.md5(data[at : at + part]).digest() for at in range(0, len(data), part)]
    return f'"{hashlib.md5(b"".join(md5s)).hexdigest()}-{len(md5s)}"'


def upload(s3, bucket, key, bodies: dict[int, bytes], **create) -> dict:
    """Uploads parts in falling order of their numbers and completes them."""
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, **create)
    tags = {}
    for number, body in sorted(bodies.items(), reverse=True):
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=made["UploadId"], PartNumber=number, Body=body)
        tags[number] = part["ETag"]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(tags.items())]
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=made["UploadId"], MultipartUpload={"Parts": parts})


def test_managed_transfer_there_and_back(s3, raw, bucket, prefix):
    data, key = noise(21 * MIB + 7), f"{prefix}managed"
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(data), bucket, key, ExtraArgs={"Metadata": {"a": "1"}}, Config=config)
    head = s3.head_object(Bucket=bucket, Key=key)
    assert (head["ContentLength"], head["ETag"], head["Metadata"]) == (len(data), s3_etag(data, 5 * MIB), {"a": "1"})
    back = io.BytesIO()
    s3.download_fileobj(bucket, key, back, Config=config)
    assert back.getvalue() == data
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"][0]
    assert (listed["Size"], listed["ETag"]) == (len(data), head["ETag"])
    stored = raw.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert not shares_a_run(stored[: 2 * MIB], data[: 200_000])
    at = 5 * MIB
    part = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={at - 3}-{at + 3}")["Body"].read()
    assert part == data[at - 3 : at + 4]
    second = s3.get_object(Bucket=bucket, Key=key, PartNumber=2)
    assert (second["PartsCount"], second["Body"].read()) == (5, data[at : 2 * at])


def test_managed_copy_between_buckets(stack, s3, behind, buckets, prefix):
    """What boto3 does with anything over its threshold: UploadPartCopy, some at once, pinned to the source."""
    data, source, target = noise(64 * MIB), buckets["data"], buckets["opaque"]
    s3.put_object(Bucket=source, Key=f"{prefix}source", Body=data)
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=15 * MIB, max_concurrency=4)
    named = {"Bucket": source, "Key": f"{prefix}source"}
    for bucket in (source, target):
        s3.copy(named, bucket, f"{prefix}copy", ExtraArgs={"Metadata": {"a": "1"}, "MetadataDirective": "REPLACE"}, Config=config)
        got = s3.get_object(Bucket=bucket, Key=f"{prefix}copy")
        assert got["Body"].read() == data
        assert (got["ContentLength"], got["Metadata"]) == (len(data), {"a": "1"})
        if bucket == source:
            assert got["ETag"] == s3_etag(data, 15 * MIB)
        assert s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}copy")["Contents"][0]["ETag"] == got["ETag"]
        # The demo shows nothing of what it stores.
        if stack.storage:
            stored = behind.get_object(Bucket=bucket, Key=f"{prefix}copy", Range="bytes=0-1048575")["Body"].read()
            assert not shares_a_run(stored, data[:200_000])


def test_part_copies(s3, bucket, prefix):
    data, key = noise(12 * MIB), f"{prefix}k"
    s3.put_object(Bucket=bucket, Key=f"{prefix}source", Body=data)
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="CRC32C")
    named = {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"], "CopySource": f"{bucket}/{prefix}source"}
    first = s3.upload_part_copy(**named, PartNumber=1, CopySourceRange=f"bytes=100-{100 + 6 * MIB - 1}")["CopyPartResult"]
    last = s3.upload_part_copy(**named, PartNumber=2, CopySourceRange="bytes=5-5")["CopyPartResult"]
    assert first["ETag"] == f'"{hashlib.md5(data[100 : 100 + 6 * MIB]).hexdigest()}"' and first["ChecksumCRC32C"]

    def refused(**more):
        with pytest.raises(ClientError) as error:
            s3.upload_part_copy(**{**named, "PartNumber": 3, **more})
        return error.value.response["Error"]["Code"]

    assert refused(CopySourceRange=f"bytes=0-{len(data)}") == "InvalidArgument"
    assert refused(CopySourceIfMatch="other") == "PreconditionFailed"
    assert refused(CopySource=f"{bucket}/{prefix}none") == "NoSuchKey"
    listed = s3.list_parts(Bucket=bucket, Key=key, UploadId=made["UploadId"])["Parts"]
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed] == [(1, 6 * MIB, first["ETag"]), (2, 1, last["ETag"])]
    parts = [{"PartNumber": n, "ETag": p["ETag"], "ChecksumCRC32C": p["ChecksumCRC32C"]} for n, p in ((1, first), (2, last))]
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=made["UploadId"], MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == data[100 : 100 + 6 * MIB] + data[5:6]


@pytest.mark.parametrize(
    "bodies",
    [{1: 5 * MIB, 2: 5 * MIB + 1, 3: 1}, {2: 6 * MIB + 123, 7: 5 * MIB}, {4: 12}, {1: 0}, {9_999: 5 * MIB, 10_000: 6 * MIB}],
    ids=str,
)
def test_layouts(s3, bucket, prefix, bodies):
    parts = {number: noise(size, number) for number, size in bodies.items()}
    done = upload(s3, bucket, f"{prefix}k", parts, ContentType="text/x")
    whole = b"".join(parts[number] for number in sorted(parts))
    md5s = b"".join(hashlib.md5(parts[number]).digest() for number in sorted(parts))
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-{len(parts)}"'
    got = s3.get_object(Bucket=bucket, Key=f"{prefix}k")
    assert (got["Body"].read(), got["ETag"], got["ContentType"]) == (whole, done["ETag"], "text/x")


def test_a_part_is_sent_again(s3, bucket, prefix):
    """The last one counts, also where the storage keeps the one before beside it; whatever both are like."""
    key = f"{prefix}k"
    for before, after in ((5 * MIB, 5 * MIB), (5 * MIB, 6 * MIB), (6 * MIB, 5 * MIB), (10, 5 * MIB), (5 * MIB, 10)):
        named = {"Bucket": bucket, "Key": key}
        named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
        bodies = {3: noise(before, "before"), 2: noise(after, "after"), 1: noise(5 * MIB, "first")}
        tags = [s3.upload_part(**named, PartNumber=min(n, 2), Body=body)["ETag"] for n, body in bodies.items()]
        listed = [(part["PartNumber"], part["ETag"], part["Size"]) for part in s3.list_parts(**named)["Parts"]]
        assert listed == [(1, tags[2], 5 * MIB), (2, tags[1], after)]
        parts = [{"PartNumber": 1, "ETag": tags[2]}, {"PartNumber": 2, "ETag": tags[1]}]
        s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == bodies[1] + bodies[2]


def test_a_repeat_of_complete_tells_the_version_again(s3, versioned):
    named = {"Bucket": versioned, "Key": "k"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(**named, PartNumber=1, Body=b"small")["ETag"]}]
    first = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    again = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert first["VersionId"] and (again["VersionId"], again["ETag"]) == (first["VersionId"], first["ETag"])


def test_list_abort_and_wrong_lists(s3, bucket, prefix):
    key = f"{prefix}k"
    made = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    named = {"Bucket": bucket, "Key": key, "UploadId": made}
    tags = [s3.upload_part(**named, PartNumber=n, Body=noise(100 * n, n))["ETag"] for n in (1, 2)]
    listed = s3.list_parts(**named)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == [(1, 100, tags[0]), (2, 200, tags[1])]
    assert made in [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix)["Uploads"]]

    def refused(parts):
        with pytest.raises(ClientError) as error:
            s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
        return error.value.response["Error"]["Code"]

    one, two = ({"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1))
    assert refused([one, two]) == "EntityTooSmall"
    assert refused([two, one]) == "InvalidPartOrder"
    assert refused([{**one, "ETag": tags[1]}]) == "InvalidPart"
    s3.abort_multipart_upload(**named)
    assert refused([one]) == "NoSuchUpload"
    with pytest.raises(ClientError) as error:
        s3.list_parts(**named)
    assert error.value.response["Error"]["Code"] == "NoSuchUpload"


def test_parts_on_more_than_one_page(s3, bucket, prefix):
    """More than a page holds, each sent twice, in no order: 1000 to a page where nobody asks for fewer."""
    named = {"Bucket": bucket, "Key": f"{prefix}k"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    numbers = [n * 7 for n in range(1, 1006)]

    def send(at):
        for body in (b"before", b"%d" % numbers[at]):
            etag = s3.upload_part(**named, PartNumber=numbers[at], Body=body)["ETag"]
        return numbers[at], etag, len(body)

    with ThreadPoolExecutor(8) as pool:
        sent = sorted(pool.map(send, sorted(range(len(numbers)), key=lambda at: at * 389 % 1005)))
    pages = list(s3.get_paginator("list_parts").paginate(**named))
    assert [len(page["Parts"]) for page in pages] == [1000, 5]
    assert [page["IsTruncated"] for page in pages] == [True, False]
    assert [(part["PartNumber"], part["ETag"], part["Size"]) for page in pages for part in page["Parts"]] == sent
    few = s3.list_parts(**named, PartNumberMarker=numbers[500], MaxParts=3)
    assert [part["PartNumber"] for part in few["Parts"]] == numbers[501:504] and few["NextPartNumberMarker"] == numbers[503]
    s3.abort_multipart_upload(**named)


def test_an_upload_goes_on_where_it_was_cut_off(stack, s3, bucket, prefix):
    """By another client, who knows of the upload what the lists tell."""
    data, key = noise(17 * MIB + 3), f"{prefix}k"
    pieces = {n: data[at : at + 5 * MIB] for n, at in enumerate(range(0, len(data), 5 * MIB), 1)}
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"a": "1"})["UploadId"]
    for number in (4, 1, 2):
        s3.upload_part(Bucket=bucket, Key=key, UploadId=begun, PartNumber=number, Body=pieces[number])
    other = stack.client()
    (found,) = other.list_multipart_uploads(Bucket=bucket, Prefix=key)["Uploads"]
    assert (found["Key"], found["UploadId"]) == (key, begun)
    named = {"Bucket": bucket, "Key": key, "UploadId": found["UploadId"]}
    there = {part["PartNumber"]: part["ETag"] for part in other.list_parts(**named)["Parts"]}
    assert there == {n: f'"{hashlib.md5(pieces[n]).hexdigest()}"' for n in (1, 2, 4)}
    for number in pieces.keys() - there.keys():
        there[number] = other.upload_part(**named, PartNumber=number, Body=pieces[number])["ETag"]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(there.items())]
    assert other.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})["ETag"] == s3_etag(data, 5 * MIB)
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["Body"].read() == data and got["Metadata"] == {"a": "1"}


def test_rclone(stack, bucket, prefix, tmp_path):
    (tmp_path / "rclone.conf").write_text(
        "[there]\ntype = s3\nprovider = Other\nenv_auth = false\nregion = us-east-1\nchunk_size = 5Mi\nupload_cutoff = 5Mi\n"
        f"access_key_id = {stack.keys.access}\nsecret_access_key = {stack.keys.secret}\nendpoint = {stack.endpoint}\n"
    )
    source = tmp_path / "source"
    source.mkdir()
    for name, size in (("exact", 10 * MIB), ("odd", 12 * MIB + 1)):
        (source / name).write_bytes(noise(size, name))
    there = f"there:{bucket}/{prefix}"

    def rclone(*arguments):
        return run([tool("rclone"), "--config", tmp_path / "rclone.conf", "--retries", "1", "-v", "--stats", "0", *arguments], tmp_path)

    rclone("copy", source, there)
    rclone("check", source, there)
    rclone("check", "--download", source, there)
    assert "Copied" not in rclone("copy", source, there)


def test_s3cmd(stack, s3, bucket, prefix, tmp_path):
    (tmp_path / "s3cfg").write_text("[default]\n")
    host, source = stack.endpoint.removeprefix("http://"), tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(noise(11 * MIB + 3))

    def s3cmd(*arguments):
        base = [
            tool("s3cmd"), "-c", tmp_path / "s3cfg", "--access_key", stack.keys.access, "--secret_key", stack.keys.secret, "--host", host,
            "--host-bucket", host, "--no-ssl", "--region", "us-east-1", "--no-progress", "--multipart-chunk-size-mb", "5",
        ]
        return run([*base, *arguments], tmp_path)

    s3cmd("sync", f"{source}/", f"s3://{bucket}/{prefix}")
    assert "upload" not in s3cmd("sync", f"{source}/", f"s3://{bucket}/{prefix}")
    s3cmd("get", f"s3://{bucket}/{prefix}large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (source / "large").read_bytes()
    # Cut off after two of three parts, one of them with other bytes: it goes on with what is missing.
    data, key = (source / "large").read_bytes(), f"{prefix}resumed"
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    for number, piece in ((1, data[: 5 * MIB]), (2, noise(5 * MIB, "other"))):
        s3.upload_part(Bucket=bucket, Key=key, UploadId=begun, PartNumber=number, Body=piece)
    told = s3cmd("--verbose", "put", "--continue-put", source / "large", f"s3://{bucket}/{key}")
    assert "part 1, skipping" in told and "part 2, skipping" not in told, told
    # It was this very upload.
    with pytest.raises(ClientError) as error:
        s3.list_parts(Bucket=bucket, Key=key, UploadId=begun)
    assert error.value.response["Error"]["Code"] == "NoSuchUpload"
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ETag"] == s3_etag(data, 5 * MIB) and s3.get_object(Bucket=bucket, Key=key)["Body"].read() == data


def test_s5cmd(stack, bucket, prefix, tmp_path):
    env = clean_env(AWS_ACCESS_KEY_ID=stack.keys.access, AWS_SECRET_ACCESS_KEY=stack.keys.secret, AWS_REGION="us-east-1")
    (tmp_path / "large").write_bytes(noise(16 * MIB + 5))

    def s5cmd(*arguments):
        return run([tool("s5cmd"), "-r", "0", "--endpoint-url", stack.endpoint, *arguments], tmp_path, env)

    s5cmd("cp", "--part-size", "5", tmp_path / "large", f"s3://{bucket}/{prefix}large")
    s5cmd("cp", "--part-size", "5", f"s3://{bucket}/{prefix}large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_minio_py(stack, bucket, prefix):
    client = minio.Minio(
        stack.endpoint.removeprefix("http://"), access_key=stack.keys.access, secret_key=stack.keys.secret, secure=False
    )
    data = noise(13 * MIB)
    put = client.put_object(bucket, f"{prefix}large", io.BytesIO(data), len(data), part_size=5 * MIB)
    assert f'"{put.etag}"' == s3_etag(data, 5 * MIB)
    assert client.get_object(bucket, f"{prefix}large").read() == data
