"""Server-side encryption as clients ask for it: customers' keys over TLS, named keys and contexts, defaults of buckets."""

import base64
import hashlib
import io
import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from harness.data import noise, shares_a_run
from harness.kes import Kes
from harness.proxy import READER, Cloak

MINE, OTHER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"m" * 32}, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"o" * 32}
DECRYPT = Path(__file__).parent / "decrypt.py"
ARN = "arn:aws:kms:us-east-1:123456789012:key/s3cloak-default"


def refusal(call, *arguments, **named) -> tuple[int, str]:
    with pytest.raises(ClientError) as error:
        call(*arguments, **named)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def shown(answer) -> tuple:
    return answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId"), answer.get("BucketKeyEnabled")


@pytest.fixture(scope="session")
def tls(stack, storage):
    """boto3 through the proxy over TLS."""
    return stack.client(tls=True)


@pytest.mark.parametrize("size", [0, 1, 65536, 200_001, (2 << 20) + 1])
def test_objects_under_a_customers_key_go_round(tls, raw, bucket, prefix, size, tmp_path):
    key, data = f"{prefix}object", noise(size)
    where = {"Bucket": bucket, "Key": key}
    put = tls.put_object(**where, Body=data, **MINE)
    got, head = tls.get_object(**where, **MINE), tls.head_object(**where, **MINE)
    assert got["Body"].read() == data and head["ContentLength"] == size
    listed = tls.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"][0]
    assert listed["Size"] == size and put["ETag"] == got["ETag"] == head["ETag"] == listed["ETag"]
    assert hashlib.md5(data).hexdigest() + '"' not in put["ETag"]
    for answer in put, got, head:
        assert answer["SSECustomerAlgorithm"] == "AES256"
        assert answer["SSECustomerKeyMD5"] == base64.b64encode(hashlib.md5(b"m" * 32).digest()).decode()
        assert shown(answer) == (None, None, None)
    if size > 100:
        part = tls.get_object(**where, Range="bytes=50-99", **MINE)
        assert part["Body"].read() == data[50:100] and part["ContentRange"] == f"bytes 50-99/{size}"
    for call in tls.get_object, tls.head_object:
        assert refusal(call, **where)[0] == 400
        assert refusal(call, **where, **OTHER)[0] == 403
    assert refusal(tls.get_object, **where) == (400, "InvalidRequest")
    assert refusal(tls.get_object, **where, **OTHER) == (403, "AccessDenied")

    # What the storage has is sealed, and opens with the customer's key alone, without the proxy.
    stored = raw.get_object(**where)
    body, envelope = stored["Body"].read(), {n.lower(): v for n, v in stored["Metadata"].items()}["s3cloak"]
    assert not shares_a_run(body, data[:100_000]) and not shares_a_run(body, b"m" * 32)
    (tmp_path / "stored").write_bytes(body)
    for secret, code in (b"m", 0), (b"o", 1):
        opened = subprocess.run(
            [sys.executable, DECRYPT, tmp_path / "stored", "--envelope", envelope, "--bucket", bucket, "--key", key, "--data-key", "-"],
            input=base64.b64encode(secret * 32), capture_output=True,
        )
        assert opened.returncode == code and (code or opened.stdout == data), opened.stderr


def test_a_customers_key_needs_tls(s3, tls, bucket, prefix):
    where = {"Bucket": bucket, "Key": f"{prefix}object"}
    assert refusal(s3.put_object, **where, Body=b"x", **MINE) == (400, "InvalidRequest")
    assert refusal(tls.head_object, **where) == (404, "404")
    tls.put_object(**where, Body=b"x", **MINE)
    assert refusal(s3.get_object, **where, **MINE) == (400, "InvalidRequest")


def test_a_customers_key_goes_with_its_objects_alone(tls, bucket, prefix):
    plain, kms = {"Bucket": bucket, "Key": f"{prefix}plain"}, {"Bucket": bucket, "Key": f"{prefix}kms"}
    tls.put_object(**plain, Body=b"x")
    tls.put_object(**kms, Body=b"x", ServerSideEncryption="aws:kms")
    for where in plain, kms:
        assert refusal(tls.get_object, **where, **MINE) == (400, "InvalidRequest")
        assert refusal(tls.head_object, **where, **MINE)[0] == 400
    for method in "AES256", "aws:kms":
        both = {"ServerSideEncryption": method, **MINE}
        assert refusal(tls.put_object, **plain, Body=b"y", **both) == (400, "InvalidArgument")
    assert tls.get_object(**plain)["Body"].read() == b"x"


def test_presigned_urls_under_a_customers_key(stack, storage, tls, bucket, prefix):
    where = {"Bucket": bucket, "Key": f"{prefix}object"}
    headers = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": base64.b64encode(b"m" * 32).decode(),
        "x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(hashlib.md5(b"m" * 32).digest()).decode(),
    }
    context = ssl.create_default_context(cafile=stack.proxy.pki.ca)

    def send(operation: str, method: str, data=None, **changed):
        url = tls.generate_presigned_url(operation, Params={**where, **MINE})
        request = urllib.request.Request(url, data=data, method=method, headers={**headers, **changed})
        return urllib.request.urlopen(request, context=context, timeout=10)

    send("put_object", "PUT", b"presigned").close()
    assert send("get_object", "GET").read() == b"presigned"
    with pytest.raises(urllib.error.HTTPError) as error:
        send("get_object", "GET", **{"x-amz-server-side-encryption-customer-key-MD5": base64.b64encode(b"0" * 16).decode()})
    assert error.value.code in (400, 403)


@pytest.mark.parametrize("spelling", ["s3cloak-default", "arn:aws:kms:s3cloak-default", "alias/s3cloak-default", ARN])
def test_key_ids_show_as_they_were_written(s3, storage, bucket, prefix, spelling):
    where = {"Bucket": bucket, "Key": f"{prefix}object"}
    asked = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": spelling}
    answers = [s3.put_object(**where, Body=noise(70_000), **asked), s3.get_object(**where), s3.head_object(**where)]
    assert [shown(answer) for answer in answers] == [("aws:kms", spelling, None)] * 3
    assert answers[1]["Body"].read() == noise(70_000)


def test_contexts_and_bucket_keys(s3, storage, raw, bucket, prefix):
    where = {"Bucket": bucket, "Key": f"{prefix}object"}
    context = base64.b64encode(json.dumps({"team": "a", "ünï": "cödé"}).encode()).decode()
    asked = {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": context, "BucketKeyEnabled": False}
    s3.put_object(**where, Body=b"with a context", **asked)
    assert s3.get_object(**where)["Body"].read() == b"with a context"
    put = s3.put_object(**where, Body=b"x", ServerSideEncryption="aws:kms", BucketKeyEnabled=True)
    assert shown(put) == shown(s3.head_object(**where)) == ("aws:kms", "s3cloak-default", True)
    for bad in "not base64!", base64.b64encode(b"[]").decode(), base64.b64encode(b'{"a": 1}').decode():
        asked["SSEKMSEncryptionContext"] = bad
        assert refusal(s3.put_object, **where, Body=b"y", **asked) == (400, "InvalidArgument")
    assert s3.get_object(**where)["Body"].read() == b"x"


def test_another_key_of_the_key_service(kes, s3, bucket, prefix):
    where = {"Bucket": bucket, "Key": f"{prefix}object"}
    s3.put_object(**where, Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="alias/other-key")
    assert shown(s3.head_object(**where)) == ("aws:kms", "alias/other-key", None)
    for missing in "no-such-key", "arn:aws:kms:us-east-1:1:key/no-such-key", "no.such/key":
        asked = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": missing}
        assert refusal(s3.put_object, **where, Body=b"y", **asked) == (400, "KMS.NotFoundException")
    assert s3.get_object(**where)["Body"].read() == b"x"


def rule(algorithm: str, key: str | None = None, **more) -> dict:
    default = {"SSEAlgorithm": algorithm, **({"KMSMasterKeyID": key} if key else {})}
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default, **more}]}


@pytest.fixture
def own_bucket(s3, prefix):
    """An empty bucket of the test's own."""
    name = f"sse-{prefix.strip('/')}"[:50]
    s3.create_bucket(Bucket=name)
    yield name
    for entry in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=entry["Key"])
    s3.delete_bucket(Bucket=name)


def test_bucket_defaults(s3, storage, own_bucket):
    missing = (404, "ServerSideEncryptionConfigurationNotFoundError")
    assert refusal(s3.get_bucket_encryption, Bucket=own_bucket) == missing
    assert shown(s3.put_object(Bucket=own_bucket, Key="k", Body=b"x")) == ("AES256", None, None)
    # As Terraform and `mc encrypt set` write it.
    for wanted, expected in [
        (rule("aws:kms", ARN, BucketKeyEnabled=False), ("aws:kms", ARN, None)),
        (rule("aws:kms", "s3cloak-default", BucketKeyEnabled=True), ("aws:kms", "s3cloak-default", True)),
        (rule("aws:kms"), ("aws:kms", "s3cloak-default", None)),
        (rule("AES256"), ("AES256", None, None)),
    ]:
        s3.put_bucket_encryption(Bucket=own_bucket, ServerSideEncryptionConfiguration=wanted)
        assert s3.get_bucket_encryption(Bucket=own_bucket)["ServerSideEncryptionConfiguration"] == wanted
        assert shown(s3.put_object(Bucket=own_bucket, Key="k", Body=b"x")) == expected
        assert shown(s3.head_object(Bucket=own_bucket, Key="k")) == expected
        asked = s3.put_object(Bucket=own_bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
        assert shown(asked) == ("AES256", None, None)
    for _ in range(2):
        s3.delete_bucket_encryption(Bucket=own_bucket)
    assert refusal(s3.get_bucket_encryption, Bucket=own_bucket) == missing


def test_bad_defaults_and_missing_rights_change_nothing(stack, s3, storage, own_bucket):
    good = rule("AES256")
    s3.put_bucket_encryption(Bucket=own_bucket, ServerSideEncryptionConfiguration=good)
    for wanted, code in [
        (rule("AES128"), "MalformedXML"),
        (rule("AES256", "s3cloak-default"), "MalformedXML"),
        (rule("aws:kms:dsse"), "InvalidArgument"),
        (rule("aws:kms", "no-such-key"), "KMS.NotFoundException"),
        ({"Rules": []}, "MalformedXML"),
        ({"Rules": rule("AES256")["Rules"] * 2}, "MalformedXML"),
    ]:
        put = refusal(s3.put_bucket_encryption, Bucket=own_bucket, ServerSideEncryptionConfiguration=wanted)
        assert put == (400, code), wanted
    reader = stack.proxy.client(READER)
    put = refusal(reader.put_bucket_encryption, Bucket=own_bucket, ServerSideEncryptionConfiguration=good)
    assert put == refusal(reader.delete_bucket_encryption, Bucket=own_bucket) == (403, "AccessDenied")
    assert reader.get_bucket_encryption(Bucket=own_bucket)["ServerSideEncryptionConfiguration"] == good
    for call in s3.get_bucket_encryption, s3.delete_bucket_encryption:
        assert refusal(call, Bucket="nobody-has-this") == (404, "NoSuchBucket")


def test_customers_keys_are_blocked_where_the_default_says_so(tls, own_bucket):
    wanted = rule("AES256", BlockedEncryptionTypes={"EncryptionType": ["SSE-C"]})
    tls.put_bucket_encryption(Bucket=own_bucket, ServerSideEncryptionConfiguration=wanted)
    assert tls.get_bucket_encryption(Bucket=own_bucket)["ServerSideEncryptionConfiguration"] == wanted
    assert refusal(tls.put_object, Bucket=own_bucket, Key="k", Body=b"x", **MINE) == (403, "AccessDenied")
    wanted = rule("aws:kms", BlockedEncryptionTypes={"EncryptionType": ["NONE"]})
    tls.put_bucket_encryption(Bucket=own_bucket, ServerSideEncryptionConfiguration=wanted)
    # The default does not merge into it.
    put = tls.put_object(Bucket=own_bucket, Key="k", Body=b"x", **MINE)
    assert put["SSECustomerAlgorithm"] == "AES256" and shown(put) == (None, None, None)


def eventually(check, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)


def test_every_replica_acts_on_a_default(kes, s3, storage, raw, own_bucket, tmp_path):
    replica = Cloak(tmp_path / "replica", storage.endpoint, kes.config())
    try:
        client = replica.client()
        # It has looked, and there was none.
        assert shown(client.put_object(Bucket=own_bucket, Key="k", Body=b"x"))[0] == "AES256"
        s3.put_bucket_encryption(Bucket=own_bucket, ServerSideEncryptionConfiguration=rule("aws:kms", "other-key"))
        eventually(lambda: shown(client.put_object(Bucket=own_bucket, Key="k", Body=b"x"))[1] == "other-key")
        # What the storage does to it stops writes on every replica, and a new rule is the way out.
        place = {"Bucket": "s3cloak-system", "Key": f"rules/{own_bucket}"}
        kept = raw.get_object(**place)["Body"].read()
        assert b"kms" not in kept and b"other" not in kept
        raw.put_object(**place, Body=kept[:-40] + bytes(40))
        for each in client, s3:
            eventually(lambda: refused_write(each, own_bucket) == (503, "ServiceUnavailable"))
        client.put_bucket_encryption(Bucket=own_bucket, ServerSideEncryptionConfiguration=rule("AES256"))
        for each in client, s3:
            eventually(lambda: refused_write(each, own_bucket) is None)
    finally:
        replica.stop()


def refused_write(client, bucket):
    try:
        client.put_object(Bucket=bucket, Key="k", Body=b"x")
        return None
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def test_a_replica_that_cannot_open_the_default_writes_nothing(storage, raw, tmp_path):
    keys = Kes(tmp_path / "kes", own=True)
    proxies = []
    try:
        for name in "warm", "cold":
            proxies.append(Cloak(tmp_path / name, storage.endpoint, keys.config()))
        warm, cold = (proxy.client() for proxy in proxies)
        bucket = f"sse-outage-{storage.name}"
        warm.create_bucket(Bucket=bucket)
        warm.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rule("aws:kms", "other-key"))
        assert shown(warm.put_object(Bucket=bucket, Key="warm", Body=b"x"))[1] == "other-key"
        keys.stop()
        assert shown(warm.put_object(Bucket=bucket, Key="warm", Body=b"y"))[1] == "other-key"
        assert refusal(cold.put_object, Bucket=bucket, Key="cold", Body=io.BytesIO(b"z"))[0] == 503
        assert [entry["Key"] for entry in raw.list_objects_v2(Bucket=bucket)["Contents"]] == ["warm"]
        keys.start()
        eventually(lambda: refused_write(cold, bucket) is None)
    finally:
        for proxy in proxies:
            proxy.stop()
        keys.stop()
