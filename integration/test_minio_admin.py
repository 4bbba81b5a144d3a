"""MinIO's own clients against its key calls (`compat.minio_api`), bucket encryption and keys per object, over TLS as they insist."""

import io
import json

import minio
import pytest
import urllib3
from minio.commonconfig import CopySource
from minio.credentials import StaticProvider
from minio.sse import SseCustomerKey, SseKMS, SseS3
from minio.sseconfig import Rule, SSEConfig

from harness import backends
from harness.data import noise, shares_a_run
from harness.kes import Kes
from harness.proxy import CLIENT, READER, Cloak

BUCKET = "data-minio"


@pytest.mark.xdist_group("failures")
@pytest.mark.parametrize("name", backends.STARTERS)
def test_keys_and_encryption(tmp_path, pki, name):
    storage, kes = backends.STARTERS[name](tmp_path / "storage"), Kes(tmp_path / "kes", own=True)
    proxy = Cloak(tmp_path / "proxy", storage.endpoint, kes.config(), pki, compat={"minio_api": True})
    host = proxy.tls_endpoint.removeprefix("https://")
    pool = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=str(pki.ca), retries=False)

    def admin_of(keys):
        return minio.MinioAdmin(endpoint=host, credentials=StaticProvider(keys.access, keys.secret), region="us-east-1", http_client=pool)

    admin = admin_of(CLIENT)
    admin.kms_key_create("made-by-admin")
    assert json.loads(admin.kms_key_status("made-by-admin")) == {"key-id": "made-by-admin"}
    assert json.loads(admin.kms_key_status("nobody"))["encryption-error"]
    for refused in (lambda: admin.kms_key_create("made-by-admin"), lambda: admin.kms_key_create("no/name"), admin.info):
        with pytest.raises(minio.error.MinioAdminException):
            refused()
    with pytest.raises(minio.error.MinioAdminException):
        admin_of(READER).kms_key_create("of-a-reader")
    assert json.loads(admin.kms_key_status("of-a-reader"))["encryption-error"]

    client = minio.Minio(host, access_key=CLIENT.access, secret_key=CLIENT.secret, region="us-east-1", http_client=pool)
    client.make_bucket(BUCKET)
    assert client.get_bucket_encryption(BUCKET) is None
    client.set_bucket_encryption(BUCKET, SSEConfig(Rule.new_sse_kms_rule("made-by-admin")))
    rule = client.get_bucket_encryption(BUCKET).rule
    assert (rule.sse_algorithm, rule.kms_master_key_id) == ("aws:kms", "made-by-admin")
    with pytest.raises(minio.error.S3Error):
        client.set_bucket_encryption(BUCKET, SSEConfig(Rule.new_sse_kms_rule("nobody")))
    data, customer = noise(100_000), SseCustomerKey(b"k" * 32)
    ways = {"rule": None, "s3": SseS3(), "kms": SseKMS("made-by-admin", {"a": "b"}), "customer": customer}
    shown = {"rule": "aws:kms", "s3": "AES256", "kms": "aws:kms", "customer": None}
    for way, sse in ways.items():
        client.put_object(BUCKET, way, io.BytesIO(data), len(data), sse=sse)
        reads = sse if sse is customer else None
        assert client.get_object(BUCKET, way, ssec=reads).read() == data
        assert client.stat_object(BUCKET, way, ssec=reads).metadata.get("x-amz-server-side-encryption") == shown[way]
        source = CopySource(BUCKET, way, ssec=reads)
        client.copy_object(BUCKET, f"{way} copied", source, sse=SseKMS("made-by-admin", {}))
        assert client.get_object(BUCKET, f"{way} copied").read() == data
        assert not shares_a_run(storage.client().get_object(Bucket=BUCKET, Key=way)["Body"].read(), data)
    client.delete_bucket_encryption(BUCKET)
    assert client.get_bucket_encryption(BUCKET) is None
    client.put_object(BUCKET, "after", io.BytesIO(data), len(data))
    assert client.stat_object(BUCKET, "after").metadata["x-amz-server-side-encryption"] == "AES256"
    for part in (proxy, kes, storage):
        part.stop()
