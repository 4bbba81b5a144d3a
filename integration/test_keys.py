"""Keys are bytes: what a client calls an object reaches the storage as that, whatever characters it has.

Which keys a storage takes is asked of the storage itself, straight; the proxy then has to do as well.
"""

import contextlib
import posixpath
import subprocess

import pytest
from botocore.exceptions import ClientError

from harness.data import noise
from harness.process import clean_env
from harness.wire import path_of

ODD = [
    "with space", " lead and trail ", "plus+plus", "a%2Fb", "100%", "percent%25", "():=!,@;$*'&", "ünïcödé-日本-🙂", "tilde~dash-dot.us_",
    "q?u#e[r]y", "back\\slash", "quote\"single'", "<xml>&amp;", "{braces}|pipe^", "semi;colon", "tab\tbed", "double//slash",
    "triple///slash", "a/../b", "../up", "./dot", "a/./b", "..", "trailing/", "/leading", "k" * 255, "d/" * 100 + "deep",
    "x" * 900, "y" * 1024, "é" * 512, "e\u0301 is not \u00e9", "UPPER/lower", "colon:colon", "=equals=", "caf%C3%A9",
]


def trip(client, bucket: str, key: str, data: bytes):
    """Puts, gets, heads, lists and deletes; gives what came out, or the code of the first refusal."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=data, Metadata={"name": "odd"})
        got = client.get_object(Bucket=bucket, Key=key)
        head = client.head_object(Bucket=bucket, Key=key)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        listed = key in [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        result = got["Body"].read(), got["Metadata"], head["ContentLength"], listed
        client.delete_object(Bucket=bucket, Key=key)
        return result
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def other_name(key: str) -> str:
    """The key that a storage on a file system makes of this one."""
    name = posixpath.normpath("/" + key.replace("\\", "/")).lstrip("/")
    return name + "/" * (key.endswith("/") and name != "")


def is_folded(client, bucket: str, key: str) -> bool:
    """Whether the storage takes this key for another one: what is written to one is read as the other."""
    other = other_name(key)
    if other in ("", key):
        return False
    data = b"" if other.endswith("/") else b"by its other name"
    client.put_object(Bucket=bucket, Key=other, Body=data, Metadata={"by": "other"})
    try:
        client.put_object(Bucket=bucket, Key=key, Body=data, Metadata={"by": "key"})
        return client.head_object(Bucket=bucket, Key=other)["Metadata"] == {"by": "key"}
    except ClientError:
        return False
    finally:
        for written in key, other:
            with contextlib.suppress(ClientError):
                client.delete_object(Bucket=bucket, Key=written)


@pytest.mark.parametrize("key", ODD)
def test_as_good_as_the_storage(s3, storage, raw, bucket, prefix, key):
    for name in (prefix + key)[:1024], key:
        if len(name.encode()) > 1024:
            continue
        data = noise(300)
        if is_folded(raw, bucket, name):
            # It would be another object there.
            assert trip(s3, bucket, name, data) == 400, name
            continue
        straight = trip(raw, bucket, name, data)
        through = trip(s3, bucket, name, data)
        assert through == straight or (isinstance(straight, int) and isinstance(through, int) and through < 500), name


@pytest.mark.parametrize("key", ["double//slash", "/leading", "a/./b", "a/../b", "a/b/.", "back\\slash"])
def test_what_is_one_object_there_is_not_overwritten_by_another_name(stack, s3, storage, raw, bucket, prefix, key):
    """Storage on file systems: the object stays whole, nothing is stored, and nobody is alarmed."""
    name, other = prefix + key, other_name(prefix + key)
    folded = is_folded(raw, bucket, name)
    alarms = stack.proxy.log().count("tampered")
    s3.put_object(Bucket=bucket, Key=other, Body=b"the one that is there")
    if not folded:
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key=name)
        # A storage may refuse such a key itself.
        assert 400 <= error.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    else:
        for call, code in (
            (lambda: s3.put_object(Bucket=bucket, Key=name, Body=b"x"), "InvalidRequest"),
            (lambda: s3.create_multipart_upload(Bucket=bucket, Key=name), "InvalidRequest"),
            (lambda: s3.get_object(Bucket=bucket, Key=name), "NoSuchKey"),
            (lambda: s3.delete_object(Bucket=bucket, Key=name), "NoSuchKey"),
            (lambda: s3.copy_object(Bucket=bucket, Key=prefix + "copy", CopySource={"Bucket": bucket, "Key": name}), "NoSuchKey"),
            (lambda: s3.copy_object(Bucket=bucket, Key=name, CopySource={"Bucket": bucket, "Key": other}), "InvalidRequest"),
        ):
            with pytest.raises(ClientError) as error:
                call()
            assert error.value.response["Error"]["Code"] == code
        failed = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name}]})["Errors"]
        assert [entry["Code"] for entry in failed] == ["NoSuchKey"]
    assert s3.get_object(Bucket=bucket, Key=other)["Body"].read() == b"the one that is there"
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert [(entry["Key"], entry["Size"]) for entry in listed] == [(other, 21)]
    assert stack.proxy.log().count("tampered") == alarms


@pytest.mark.parametrize("key", ODD)
def test_the_demos_own_storage_takes_them_all(embedded, s3, bucket, prefix, key):
    data = noise(300)
    for name in (prefix + key, key):
        if len(name.encode()) > 1024:
            continue
        if key.endswith("/"):
            data = b""
        assert trip(s3, bucket, name, data) == (data, {"name": "odd"}, len(data), True)


def test_most_odd_keys_are_taken(s3, bucket, prefix):
    """So that the comparison above does not compare refusals alone."""
    taken = [key for key in ODD if isinstance(trip(s3, bucket, (prefix + key)[:200], b"x"), tuple)]
    assert len(taken) >= 20, taken


def test_too_long(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="z" * 1025, Body=b"x")
    assert error.value.response["Error"]["Code"] == "KeyTooLongError"


@pytest.mark.parametrize("raw_path", ["a(b)c", "k=v", "p+q", "x!y", "m,n", "u@v", "s;t", "d$e", "st*ar", "ap'os", "am&p", "co:lon", "a%2fb"])
def test_spelling_on_the_wire_does_not_matter(stack, s3, bucket, prefix, raw_path):
    """A client may leave `()+=` and the like as they are in its path, signing that or the canonical form."""
    from urllib.parse import unquote

    key = prefix + unquote(raw_path)
    s3.put_object(Bucket=bucket, Key=key, Body=b"spelled")
    canonical = stack.request("GET", bucket, key, path=path_of(bucket, key))
    assert canonical.send().body == b"spelled"
    head, _ = canonical.head()
    loose = head.replace(path_of(bucket, key).encode(), f"/{bucket}/{prefix}{raw_path}".encode(), 1)
    connection = canonical.connect()
    connection.sendall(loose)
    from harness.wire import read_answer

    assert read_answer(connection).body == b"spelled"
    connection.close()


def test_bytes_that_are_not_utf8_are_refused_or_kept(stack, bucket):
    """Never taken for something else."""
    path = f"/{bucket}/bytes-%FF%FE"
    put = stack.request("PUT", bucket, path=path, body=b"raw bytes").send()
    got = stack.request("GET", bucket, path=path).send()
    if put.status == 200:
        assert got.body == b"raw bytes"
    else:
        assert put.status >= 400 and got.status >= 400


@pytest.mark.parametrize("key", ["with space+plus", "a//b", "():=!,@;$*'&", "ünï/日本", "100%", "a/../b"])
def test_curl(stack, s3, bucket, prefix, tmp_path, key):
    """curl signs the path as it is given; `--path-as-is` keeps dots and slashes."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(noise(5000))
    url = stack.endpoint + path_of(bucket, prefix + key)
    common = [
        "curl", "-sS", "--fail-with-body", "--path-as-is", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user",
        f"{stack.keys.access}:{stack.keys.secret}",
    ]
    hashed = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    put = subprocess.run([*common, *hashed, "-T", source, url], env=clean_env(), capture_output=True)
    if put.returncode == 22 and stack.storage is not None:
        # Refused; then the storage takes it for another one, or refuses it by itself.
        if is_folded(stack.storage.client(), bucket, prefix + key):
            return
        with pytest.raises(ClientError):
            stack.storage.client().put_object(Bucket=bucket, Key=prefix + key, Body=b"x")
        return
    assert put.returncode == 0, (put.stdout, put.stderr)
    assert s3.get_object(Bucket=bucket, Key=prefix + key)["Body"].read() == source.read_bytes()
    got = subprocess.run([*common, *hashed, "-o", target, url], env=clean_env(), capture_output=True)
    assert got.returncode == 0, got.stderr
    assert target.read_bytes() == source.read_bytes()
