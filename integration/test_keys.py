"""Keys are bytes: what a client calls an object reaches the storage as that, whatever characters it has.

Which keys a storage takes is asked of the storage itself, straight; the proxy then has to do as well.
"""

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


@pytest.mark.parametrize("key", ODD)
def test_as_good_as_the_storage(s3, storage, raw, bucket, prefix, key):
    for name in (prefix + key)[:1024], key:
        if len(name.encode()) > 1024:
            continue
        data = noise(300)
        straight = trip(raw, bucket, name, data)
        through = trip(s3, bucket, name, data)
        assert through == straight or (isinstance(straight, int) and isinstance(through, int) and through < 500), name


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
        # Refused; then the storage refuses it by itself, too.
        with pytest.raises(ClientError):
            stack.storage.client().put_object(Bucket=bucket, Key=prefix + key, Body=b"x")
        return
    assert put.returncode == 0, (put.stdout, put.stderr)
    assert s3.get_object(Bucket=bucket, Key=prefix + key)["Body"].read() == source.read_bytes()
    got = subprocess.run([*common, *hashed, "-o", target, url], env=clean_env(), capture_output=True)
    assert got.returncode == 0, got.stderr
    assert target.read_bytes() == source.read_bytes()
