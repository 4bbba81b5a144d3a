"""Copies by real clients in front of real storage: moves, renames, changes of time stamps and keys. The stored bytes stay the same, and only the envelope is another."""

import json
import os
import subprocess

import pytest
from botocore.exceptions import ClientError

from harness.data import md5_etag, noise
from harness.process import clean_env, tool

ENVELOPE = "s3cloak"


def run(argv, cwd, env=None) -> str:
    """Runs a program to its end and gives what it printed."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env or clean_env(), capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{argv}\n{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def code_of(call, **arguments) -> tuple[int, str]:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"], error.value.response["Error"]["Code"]


def behind_of(raw, bucket, key) -> tuple[bytes, str]:
    """Stored bytes and envelope."""
    stored = raw.get_object(Bucket=bucket, Key=key)
    return stored["Body"].read(), stored["Metadata"][ENVELOPE]


@pytest.mark.parametrize("size", [0, 1, 100_000, (3 << 20) + 7])
def test_copies_share_their_bytes(s3, raw, buckets, prefix, size):
    data = noise(size)
    source, bucket = f"{prefix}source +ü%41", buckets["data"]
    own = {"ContentType": "a/b", "CacheControl": "no-cache", "ContentLanguage": "de", "ContentDisposition": "inline", "Metadata": {"own": "1"}}
    s3.put_object(Bucket=bucket, Key=source, Body=data, Tagging="t=1", **own)
    before = behind_of(raw, bucket, source)
    for to, asked, shown in (
        ("data", {}, "AES256"),
        ("opaque", {}, "AES256"),
        ("data", {"ServerSideEncryption": "aws:kms"}, "aws:kms"),
    ):
        key = f"{prefix}copy/{to}/{shown}"
        answer = s3.copy_object(Bucket=buckets[to], Key=key, CopySource={"Bucket": bucket, "Key": source}, **asked)
        assert answer["ServerSideEncryption"] == shown
        got = s3.get_object(Bucket=buckets[to], Key=key)
        assert got["Body"].read() == data and got["ServerSideEncryption"] == shown
        assert got["ETag"] == answer["CopyObjectResult"]["ETag"] == s3.head_object(Bucket=buckets[to], Key=key)["ETag"]
        listed = s3.list_objects_v2(Bucket=buckets[to], Prefix=key)["Contents"][0]
        assert (listed["ETag"], listed["Size"]) == (got["ETag"], size)
        if to == "data":
            assert got["ETag"] == md5_etag(data)
        assert {name: got[name] for name in own} == own
        tags = s3.get_object_tagging(Bucket=buckets[to], Key=key)["TagSet"]
        assert tags == [{"Key": "t", "Value": "1"}]
        after = behind_of(raw, buckets[to], key)
        assert after[0] == before[0] and after[1] != before[1]


def test_an_object_is_changed_in_place(s3, raw, bucket, prefix):
    data, key = noise(70_000), f"{prefix}o"
    where = {"Bucket": bucket, "Key": key}
    s3.put_object(**where, Body=data, Metadata={"a": "1"}, Tagging="t=1")
    before = behind_of(raw, bucket, key)
    assert code_of(s3.copy_object, **where, CopySource=where) == (400, "InvalidRequest")
    s3.copy_object(**where, CopySource=where, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="n/w")
    head = s3.head_object(**where)
    assert (head["Metadata"], head["ContentType"], head["ETag"]) == ({"b": "2"}, "n/w", md5_etag(data))
    s3.copy_object(**where, CopySource=where, ServerSideEncryption="aws:kms")
    head = s3.head_object(**where)
    assert (head["Metadata"], head["ServerSideEncryption"], head["ETag"]) == ({"b": "2"}, "aws:kms", md5_etag(data))
    arn = f"arn:aws:kms:us-east-1:123456789012:key/{head['SSEKMSKeyId']}"
    s3.update_object_encryption(**where, ObjectEncryption={"SSEKMS": {"KMSKeyArn": arn, "BucketKeyEnabled": True}})
    head = s3.head_object(**where)
    assert head["BucketKeyEnabled"] and head["ContentType"] == "n/w"
    assert s3.get_object(**where)["Body"].read() == data
    assert s3.get_object_tagging(**where)["TagSet"] == [{"Key": "t", "Value": "1"}]
    after = behind_of(raw, bucket, key)
    assert after[0] == before[0] and after[1] != before[1]


def test_conditions(s3, bucket, prefix):
    source, there = {"Bucket": bucket, "Key": f"{prefix}source"}, {"Bucket": bucket, "Key": f"{prefix}there"}
    etag = s3.put_object(**source, Body=b"source")["ETag"]
    old = s3.put_object(**there, Body=b"there")["ETag"]
    wrong = '"0123456789abcdef0123456789abcdef"'
    for bad in ({"CopySourceIfMatch": wrong}, {"CopySourceIfNoneMatch": etag}, {"IfMatch": wrong}, {"IfNoneMatch": "*"}):
        assert code_of(s3.copy_object, **there, CopySource=source, **bad) == (412, "PreconditionFailed"), bad
    assert s3.get_object(**there)["Body"].read() == b"there"
    s3.copy_object(**there, CopySource=source, CopySourceIfMatch=etag, IfMatch=old)
    assert s3.get_object(**there)["Body"].read() == b"source"
    s3.copy_object(Bucket=bucket, Key=f"{prefix}new", CopySource=source, IfNoneMatch="*")


def test_versions(stack, s3, storage, versioned):
    bucket = versioned
    where = {"Bucket": bucket, "Key": "o"}
    first = s3.put_object(**where, Body=b"first", Metadata={"n": "1"})["VersionId"]
    second = s3.put_object(**where, Body=b"second")["VersionId"]
    copy = s3.copy_object(Bucket=bucket, Key="copy", CopySource={**where, "VersionId": first})
    assert copy["CopySourceVersionId"] == first and copy["VersionId"]
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Body"].read(), got["Metadata"]) == (b"first", {"n": "1"})
    assert s3.copy_object(Bucket=bucket, Key="copy", CopySource=where)["CopySourceVersionId"] == second
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"second"
    # The old one becomes the latest again, which changes something without a word.
    s3.copy_object(**where, CopySource={**where, "VersionId": first})
    assert s3.get_object(**where)["Body"].read() == b"first"
    assert s3.get_object(**where, VersionId=second)["Body"].read() == b"second"
    marker = s3.delete_object(**where)["VersionId"]
    assert code_of(s3.copy_object, Bucket=bucket, Key="copy", CopySource=where) == (404, "NoSuchKey")
    named = code_of(s3.copy_object, Bucket=bucket, Key="copy", CopySource={**where, "VersionId": marker})
    # Where the storage itself says of a delete marker that there is no such key, nothing else can be told.
    plain = code_of(storage.client().get_object, **where, VersionId=marker)
    assert named == ((404, "NoSuchKey") if plain == (404, "NoSuchKey") else (400, "InvalidRequest"))
    assert code_of(s3.copy_object, Bucket=bucket, Key="copy", CopySource={**where, "VersionId": "0" * 32})[0] in (400, 404)


def test_aws_cli_moves(stack, bucket, prefix, tmp_path, s3):
    env = clean_env(
        AWS_ACCESS_KEY_ID=stack.keys.access, AWS_SECRET_ACCESS_KEY=stack.keys.secret, AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1",
    )
    data, base = noise(3 << 20), f"s3://{bucket}/{prefix}"
    s3.put_object(Bucket=bucket, Key=f"{prefix}a b", Body=data, Metadata={"own": "1"})
    aws = [tool("aws"), "--endpoint-url", stack.endpoint, "s3"]
    run([*aws, "mv", f"{base}a b", f"{base}moved"], tmp_path, env)
    assert code_of(s3.get_object, Bucket=bucket, Key=f"{prefix}a b") == (404, "NoSuchKey")
    run([*aws, "cp", f"{base}moved", f"{base}copied", "--sse", "AES256"], tmp_path, env)
    run([*aws, "sync", base, f"s3://{bucket}/synced/{prefix}"], tmp_path, env)
    for key in (f"{prefix}moved", f"{prefix}copied", f"synced/{prefix}moved"):
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == data and got["Metadata"] == {"own": "1"}


def test_rclone_moves_and_time_stamps(stack, bucket, prefix, tmp_path, s3):
    config = tmp_path / "rclone.conf"
    config.write_text(
        "[there]\ntype = s3\nprovider = Other\nenv_auth = false\n"
        f"access_key_id = {stack.keys.access}\nsecret_access_key = {stack.keys.secret}\nendpoint = {stack.endpoint}\nregion = us-east-1\n"
    )
    (tmp_path / "file").write_bytes(noise(200_000))
    os.utime(tmp_path / "file", (1_000_000_000,) * 2)
    rclone = [tool("rclone"), "--config", config, "--retries", "1", "--low-level-retries", "1", "--stats", "0", "-vv"]
    base = f"there:{bucket}/{prefix}"
    run([*rclone, "copyto", tmp_path / "file", f"{base}a"], tmp_path)
    moved = run([*rclone, "moveto", f"{base}a", f"{base}dir/b c"], tmp_path)
    assert "server-side" in moved.lower(), moved
    listed = json.loads(run([tool("rclone"), "--config", config, "lsjson", "-R", "--files-only", base], tmp_path))
    assert [(entry["Path"], entry["Size"], entry["ModTime"][:10]) for entry in listed] == [("dir/b c", 200_000, "2001-09-09")]
    # The same content with another time: only the metadata changes.
    os.utime(tmp_path / "file", (1_100_000_000,) * 2)
    again = run([*rclone, "copyto", tmp_path / "file", f"{base}dir/b c"], tmp_path)
    assert "Updated modification time" in again, again
    got = s3.get_object(Bucket=bucket, Key=f"{prefix}dir/b c")
    assert got["Body"].read() == noise(200_000) and got["Metadata"]["mtime"].startswith("1100000000")
    assert got["ETag"] == md5_etag(noise(200_000))


def test_s5cmd_moves(stack, bucket, prefix, tmp_path, s3):
    env = clean_env(
        AWS_ACCESS_KEY_ID=stack.keys.access, AWS_SECRET_ACCESS_KEY=stack.keys.secret, AWS_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    )
    s3.put_object(Bucket=bucket, Key=f"{prefix}a", Body=noise(1000))
    run([tool("s5cmd"), "-r", "0", "--endpoint-url", stack.endpoint, "mv", f"s3://{bucket}/{prefix}a", f"s3://{bucket}/{prefix}b"], tmp_path, env)
    assert s3.get_object(Bucket=bucket, Key=f"{prefix}b")["Body"].read() == noise(1000)
    assert code_of(s3.get_object, Bucket=bucket, Key=f"{prefix}a") == (404, "NoSuchKey")
