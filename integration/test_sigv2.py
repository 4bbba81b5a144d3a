"""Signature Version 2: what boto3 and the AWS CLI presign unless they are told otherwise, where `compat.sigv2` is on and where it is not."""

import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from harness import backends
from harness.data import md5_etag, noise
from harness.process import clean_env, tool
from harness.proxy import CLIENT, Cloak
from test_clients import run

pytestmark = pytest.mark.xdist_group("sigv2")
BUCKET = "data-sigv2"


@pytest.fixture(scope="module", params=[True, False], ids=["on", "off"])
def proxy(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sigv2")
    storage = backends.STARTERS["versitygw"](folder / "storage")
    try:
        keys = {"services": {"local": {"type": "local", "path": str(folder / "keys")}}}
        proxy = Cloak(folder / "proxy", storage.endpoint, keys, compat={"sigv2": request.param})
        proxy.switched_on, proxy.storage = request.param, storage
        proxy.client().create_bucket(Bucket=BUCKET)
        yield proxy
        proxy.stop()
    finally:
        storage.stop()


def boto(proxy, **more):
    """As its users make one; without `config` it presigns under Version 2."""
    return boto3.session.Session().client(
        "s3", endpoint_url=proxy.endpoint, region_name="us-east-1", aws_access_key_id=CLIENT.access, aws_secret_access_key=CLIENT.secret, **more
    )


def ask(method: str, url: str, data: bytes | None = None, **headers) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "", **headers} if data is not None else headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read()


def test_boto3_presigns(proxy):
    s3, data, where = boto(proxy), noise(100_000), {"Bucket": BUCKET, "Key": "a b+ü"}
    put = s3.generate_presigned_url("put_object", Params={**where, "Metadata": {"a": "b"}}, ExpiresIn=3600)
    get = s3.generate_presigned_url("get_object", Params={**where, "ResponseContentType": "text/x; a=b"}, ExpiresIn=3600)
    assert "AWSAccessKeyId=" in put and "X-Amz-Algorithm" not in put
    if not proxy.switched_on:
        for method, url in (("PUT", put), ("GET", get)):
            status, text = ask(method, url, data if method == "PUT" else None)
            assert (status, b"<Code>InvalidRequest</Code>" in text) == (400, True), text
            assert b"compat.sigv2" in text and b"aws configure set default.s3.signature_version s3v4" in text
        with pytest.raises(ClientError):
            s3.head_object(**where)
        return
    assert ask("PUT", put, data)[0] == 200
    assert ask("GET", get) == (200, data)
    head = s3.head_object(**where)
    assert (head["ETag"], head["Metadata"]) == (md5_etag(data), {"a": "b"})
    assert data[:64] not in proxy.storage.client().get_object(**where)["Body"].read()
    for method, url, code in (
        ("DELETE", get, b"SignatureDoesNotMatch"),
        ("GET", get.replace("text", "tixt"), b"SignatureDoesNotMatch"),
        ("GET", get.replace("a%20b", "a%20c"), b"SignatureDoesNotMatch"),
        ("GET", f"{get}&versionId=x", b"SignatureDoesNotMatch"),
        ("GET", s3.generate_presigned_url("get_object", Params=where, ExpiresIn=-60), b"Request has expired"),
    ):
        status, text = ask(method, url)
        assert status == 403 and code in text, (method, url, text)
    assert ask("PUT", put, b"other", **{"x-amz-acl": "private"})[0] == 403
    assert ask("GET", get) == (200, data)


def test_aws_cli_presigns(proxy, tmp_path):
    proxy.client().put_object(Bucket=BUCKET, Key="a c", Body=b"presigned")
    env = clean_env(
        AWS_ACCESS_KEY_ID=CLIENT.access, AWS_SECRET_ACCESS_KEY=CLIENT.secret, AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=str(tmp_path / "aws.config"), AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "none"),
    )

    def presigned() -> str:
        return run([tool("aws"), "--endpoint-url", proxy.endpoint, "s3", "presign", f"s3://{BUCKET}/a c"], tmp_path, env).strip()

    old = presigned()
    assert "AWSAccessKeyId=" in old
    status, text = ask("GET", old)
    assert (status, text) == (200, b"presigned") if proxy.switched_on else status == 400
    # What the refusal says to do.
    run([tool("aws"), "configure", "set", "default.s3.signature_version", "s3v4"], tmp_path, env)
    new = presigned()
    assert "X-Amz-Algorithm=" in new and ask("GET", new) == (200, b"presigned")


def test_signed_headers(proxy):
    """Every request under Version 2, as old clients send them."""
    s3 = boto(proxy, config=Config(signature_version="s3", s3={"addressing_style": "path"}, retries={"max_attempts": 0}))
    where = {"Bucket": BUCKET, "Key": "old/ü (1)"}
    if not proxy.switched_on:
        with pytest.raises(ClientError) as error:
            s3.list_objects(Bucket=BUCKET)
        assert error.value.response["Error"]["Code"] == "InvalidRequest"
        return
    assert BUCKET in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    data = noise(6 << 20)
    s3.put_object(**where, Body=data, ContentType="text/x", Metadata={"m": "1  2"})
    got = s3.get_object(**where, Range="bytes=65530-65545", ResponseCacheControl="no-store")
    assert (got["Body"].read(), got["CacheControl"], got["Metadata"]) == (data[65530:65546], "no-store", {"m": "1  2"})
    assert [entry["Size"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="old/")["Contents"]] == [len(data)]
    upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    parts = [{"PartNumber": n, "ETag": s3.upload_part(**upload, PartNumber=n, Body=data)["ETag"]} for n in (1, 2)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(**where)["Body"].read() == data + data
    s3.copy_object(Bucket=BUCKET, Key="old/copy", CopySource=where)
    deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": where["Key"]}, {"Key": "old/copy"}]})
    assert len(deleted["Deleted"]) == 2
    # Its sub-resource is not in what Version 2 signs.
    with pytest.raises(ClientError) as error:
        s3.get_bucket_encryption(Bucket=BUCKET)
    assert error.value.response["Error"]["Code"] == "InvalidRequest"
