"""Further programs that cut files into parts, as their users run them, and uploads into a bucket with Object Lock."""

import hashlib
import json
from datetime import datetime, timedelta, timezone

import pyarrow.fs
import pytest
from botocore.exceptions import ClientError

from harness.data import noise, shares_a_run
from harness.process import clean_env
from test_clients import assert_same, run
from test_multipart import s3_etag, upload

MIB = 1 << 20


def test_pyarrow(stack, bucket, prefix, s3):
    there = pyarrow.fs.S3FileSystem(
        access_key=stack.keys.access,
        secret_key=stack.keys.secret,
        endpoint_override=stack.endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
    )
    data, path = noise(27 * MIB + 5), f"{bucket}/{prefix}table"
    with there.open_output_stream(path, metadata={"Content-Type": "text/x"}) as out:
        for at in range(0, len(data), 3 * MIB):
            out.write(data[at : at + 3 * MIB])
    info = there.get_file_info(path)
    assert (info.size, info.type) == (len(data), pyarrow.fs.FileType.File)
    head = s3.head_object(Bucket=bucket, Key=f"{prefix}table")
    assert head["ETag"].strip('"').split("-")[1] >= "2" and head["ContentType"] == "text/x"
    with there.open_input_file(path) as back:
        for at, size in ((0, 100), (10 * MIB - 7, 20), (len(data) - 3, 10), (5 * MIB, 12 * MIB)):
            back.seek(at)
            assert back.read(size) == data[at : at + size]
    with there.open_input_stream(path) as back:
        assert back.read() == data
    assert [found.base_name for found in there.get_file_info(pyarrow.fs.FileSelector(f"{bucket}/{prefix}"))] == ["table"]
    there.delete_file(path)


def test_restic(stack, bucket, prefix, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(noise(40 * MIB))
    (source / "small").write_text("small " * 1000)
    env = clean_env(
        AWS_ACCESS_KEY_ID=stack.keys.access, AWS_SECRET_ACCESS_KEY=stack.keys.secret, RESTIC_PASSWORD="known to the test",
        RESTIC_REPOSITORY=f"s3:{stack.endpoint}/{bucket}/{prefix.rstrip('/')}", RESTIC_CACHE_DIR=str(tmp_path / "cache"),
    )

    def restic(*arguments):
        return run(["restic", "-o", "s3.bucket-lookup=path", "-o", "s3.region=us-east-1", *arguments], tmp_path, env)

    restic("init")
    restic("backup", source)
    assert "no errors were found" in restic("check", "--read-data")
    assert "0 new,     0 changed" in restic("backup", source)
    restic("restore", "latest", "--target", tmp_path / "back")
    assert_same(source, tmp_path / "back" / str(source).lstrip("/"))


def test_aws_cli_2(stack, bucket, prefix, tmp_path, s3):
    env = clean_env(
        AWS_ACCESS_KEY_ID=stack.keys.access, AWS_SECRET_ACCESS_KEY=stack.keys.secret, AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=str(tmp_path / "none"), AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "none"),
        AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1",
    )

    def aws(*arguments, code=0):
        return run(["/usr/bin/aws", "--endpoint-url", stack.endpoint, *arguments], tmp_path, env, code)

    assert aws("--version").startswith("aws-cli/2.")
    source = tmp_path / "source"
    source.mkdir()
    sizes = {"exact": 16 * MIB, "odd": 19 * MIB + 3, "small": 70_001}
    for name, size in sizes.items():
        (source / name).write_bytes(noise(size, name))
    url = f"s3://{bucket}/{prefix}"
    aws("s3", "cp", "--recursive", source, url)
    head = s3.head_object(Bucket=bucket, Key=f"{prefix}odd")
    assert head["ETag"] == s3_etag(noise(sizes["odd"], "odd"), 8 * MIB)
    assert aws("s3", "sync", "--size-only", source, url) == ""
    aws("s3", "cp", "--recursive", url, tmp_path / "back")
    assert_same(source, tmp_path / "back")
    # By hand, as scripts do that resume where they were.
    names = ["--bucket", bucket, "--key", f"{prefix}by-hand"]
    named = [*names, "--upload-id", json.loads(aws("s3api", "create-multipart-upload", *names))["UploadId"]]
    pieces = [noise(5 * MIB, 1), noise(9, 2)]
    for number, piece in enumerate(pieces, 1):
        (tmp_path / "piece").write_bytes(piece)
        aws("s3api", "upload-part", *named, "--part-number", str(number), "--body", tmp_path / "piece")
    parts = json.loads(aws("s3api", "list-parts", *named))["Parts"]
    assert [part["Size"] for part in parts] == [len(piece) for piece in pieces]
    listed = {"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]}
    done = json.loads(aws("s3api", "complete-multipart-upload", *named, "--multipart-upload", json.dumps(listed)))
    md5s = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-2"'
    assert "NoSuchUpload" in aws("s3api", "list-parts", *named, code=None)


@pytest.mark.parametrize(
    "given",
    [
        {"Tagging": "a=1&b=two%20words"},
        {"StorageClass": "STANDARD"},
        {"StorageClass": "STANDARD_IA"},
        {"ACL": "private"},
        {"ACL": "public-read"},
        {"CacheControl": "no-cache", "ContentDisposition": "inline", "ContentEncoding": "br", "ContentLanguage": "de"},
        {"Expires": datetime(2030, 1, 1, tzinfo=timezone.utc), "Metadata": {"a": "1", "b": "two words"}},
        {"WebsiteRedirectLocation": "/other"},
    ],
    ids=lambda given: "-".join(given.values()) if set(given) & {"StorageClass", "ACL"} else "-".join(given),
)
def test_what_create_is_given_is_the_objects(storage, s3, raw, bucket, prefix, given):
    """The same as of an upload straight to the storage, which need not take all of it."""
    seen = []
    for client, key in ((raw, f"{prefix}straight"), (s3, f"{prefix}through")):
        try:
            upload(client, bucket, key, {1: noise(5 * MIB), 2: b"end"}, **given)
        except ClientError as error:
            seen.append(error.response["Error"]["Code"])
            continue
        head = client.head_object(Bucket=bucket, Key=key)
        headers = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires", "WebsiteRedirectLocation")
        shown = {name: head.get(name) for name in (*headers, "StorageClass")}
        shown["metadata"] = {name: head["Metadata"].get(name) for name in given.get("Metadata", {})}
        for what, answer in (("get_object_tagging", "TagSet"), ("get_object_acl", "Grants")):
            try:
                told = getattr(client, what)(Bucket=bucket, Key=key)[answer]
                shown[what] = sorted(told, key=str)
            except ClientError as error:
                shown[what] = error.response["Error"]["Code"]
        seen.append(shown)
    assert seen[1] == seen[0]
    if "Tagging" in given:
        assert seen[1]["get_object_tagging"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "two words"}]
    if "Metadata" in given:
        assert seen[1]["metadata"] == given["Metadata"]


def test_bucket_with_object_lock(stack, storage, s3, raw, prefix):
    bucket = "data-locked"
    try:
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "BucketAlreadyOwnedByYou"
    until = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    parts = {1: noise(5 * MIB, 1), 2: noise(5 * MIB + 77, 2), 9: noise(333, 9)}
    key = f"{prefix}locked"
    upload(s3, bucket, key, parts, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    kept = s3.get_object_retention(Bucket=bucket, Key=key)["Retention"]
    assert (kept["Mode"], kept["RetainUntilDate"]) == ("GOVERNANCE", until)
    upload(s3, bucket, f"{prefix}held", {1: b"small"}, ObjectLockLegalHoldStatus="ON")
    assert s3.get_object_legal_hold(Bucket=bucket, Key=f"{prefix}held")["LegalHold"]["Status"] == "ON"
    got = s3.get_object(Bucket=bucket, Key=key)
    whole = b"".join(parts[number] for number in sorted(parts))
    assert got["Body"].read() == whole and got["VersionId"]
    stored = raw.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert not shares_a_run(stored[: 2 * MIB], whole[:100_000])
    with pytest.raises(ClientError) as error:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=got["VersionId"])
    assert error.value.response["Error"]["Code"] in ("AccessDenied", "ObjectLocked", "InvalidRequest")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == whole
