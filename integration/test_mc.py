"""MinIO's command-line client: files, listings and mirrors in front of every storage, and its calls for encryption and keys where
`compat.minio_api` is on."""

import json
import os
import shutil
import time

import pytest

from harness import backends
from harness.data import md5_etag, noise, shares_a_run
from harness.kes import Kes
from harness.process import clean_env, tool
from harness.proxy import CLIENT, READER, Cloak
from test_clients import FILES, assert_same, files, run  # noqa: F401  (`files` is a fixture)

MIB = 1 << 20


def mc_of(endpoint: str, keys, folder, ca=None):
    """Calls mc with `there` for the endpoint; gives what it printed, by line if `lines` of JSON are asked for."""
    settings = folder / f"mc-{keys.access}"
    (settings / "certs" / "CAs").mkdir(parents=True, exist_ok=True)
    if ca:
        shutil.copy(ca, settings / "certs" / "CAs" / "ca.crt")
    scheme, host = endpoint.split("://")
    env = clean_env(MC_HOST_there=f"{scheme}://{keys.access}:{keys.secret}@{host}", MC_CONFIG_DIR=str(settings), MC_UPDATE="off")

    def call(*arguments, code=0, lines=False):
        text = run([tool("mc"), *(["--json"] if lines else []), "--disable-pager", *arguments], folder, env, code)
        return [json.loads(line) for line in text.splitlines()] if lines else text

    return call


class TestFiles:
    @pytest.fixture
    def mc(self, stack, tmp_path):
        return mc_of(stack.endpoint, stack.keys, tmp_path)

    def test_copy_stat_and_remove(self, mc, s3, bucket, prefix, tmp_path):
        where = f"there/{bucket}/{prefix}"
        for name, size in (("small", 70_001), ("large ü", 17 * MIB + 3)):
            (tmp_path / name).write_bytes(noise(size, name))
            mc("cp", "--attr", "own=1", tmp_path / name, f"{where}{name}")
            (stat,) = mc("stat", f"{where}{name}", lines=True)
            assert (stat["size"], stat["metadata"]["X-Amz-Meta-Own"]) == (size, "1")
            assert f'"{stat["etag"]}"' == s3.head_object(Bucket=bucket, Key=f"{prefix}{name}")["ETag"]
            mc("cp", f"{where}{name}", tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == noise(size, name)
            # Within the storage, and gone from where it was.
            mc("mv", f"{where}{name}", f"{where}moved/{name}")
            assert s3.get_object(Bucket=bucket, Key=f"{prefix}moved/{name}")["Body"].read() == noise(size, name)
        assert f'"{mc("stat", f"{where}moved/small", lines=True)[0]["etag"]}"' == md5_etag(noise(70_001, "small"))
        assert mc("cat", "--offset", "10", f"{where}moved/small").encode() != b""
        listed = {entry["key"]: entry["size"] for entry in mc("ls", "--recursive", where, lines=True)}
        assert listed == {"moved/small": 70_001, "moved/large ü": 17 * MIB + 3}
        mc("rm", "--recursive", "--force", where)
        assert mc("ls", "--recursive", where) == ""
        mc("stat", f"{where}moved/small", code=1)

    def test_mirror(self, mc, bucket, prefix, tmp_path, files):  # noqa: F811
        where = f"there/{bucket}/{prefix}"
        mc("mirror", files, where)
        listed = {entry["key"]: entry["size"] for entry in mc("ls", "--recursive", where, lines=True)}
        assert listed == FILES
        assert mc("diff", files, where) == ""
        mc("mirror", where, tmp_path / "back")
        assert_same(files, tmp_path / "back")
        (files / "plain.bin").write_bytes(b"changed")
        # LastModified counts in whole seconds.
        os.utime(files / "plain.bin", (time.time() - 30,) * 2)
        (files / "one").unlink()
        mc("mirror", "--overwrite", "--remove", files, where)
        assert mc("cat", f"{where}plain.bin") == "changed"
        assert mc("diff", files, where) == ""


@pytest.mark.xdist_group("failures")
@pytest.mark.parametrize("name", backends.STARTERS)
def test_encryption_and_keys(tmp_path, pki, name):
    storage, kes = backends.STARTERS[name](tmp_path / "storage"), Kes(tmp_path / "kes", own=True)
    proxy = Cloak(tmp_path / "proxy", storage.endpoint, kes.config(), pki, compat={"minio_api": True})
    mc, reader = (mc_of(proxy.tls_endpoint, keys, tmp_path, pki.ca) for keys in (CLIENT, READER))
    s3, where = proxy.client(), "there/data-mc"

    mc("admin", "kms", "key", "create", "there", "made-by-mc")
    mc("admin", "kms", "key", "create", "there", "made-by-mc", code=1)
    mc("admin", "kms", "key", "create", "there", "no/name", code=1)
    reader("admin", "kms", "key", "create", "there", "of-a-reader", code=1)
    told = mc("admin", "kms", "key", "status", "there", "made-by-mc")
    assert told.count("✔") == 2, told
    assert "made-by-mc" in mc("admin", "kms", "key", "list", "there")
    assert "of-a-reader" not in mc("admin", "kms", "key", "list", "there")

    mc("mb", where)
    mc("encrypt", "set", "sse-kms", "made-by-mc", where)
    (info,) = mc("encrypt", "info", where, lines=True)
    assert (info["encryption"]["algorithm"], info["encryption"]["keyId"]) == ("aws:kms", "made-by-mc")
    mc("encrypt", "set", "sse-kms", "nobody", where, code=1)
    data = noise(100_000)
    (tmp_path / "file").write_bytes(data)
    customer = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"
    ways = {
        "rule": ([], "aws:kms"), "s3": (["--enc-s3", where], "AES256"), "kms": (["--enc-kms", f"{where}=made-by-mc"], "aws:kms"),
        "c": (["--enc-c", f"{where}={customer}"], None),
    }
    for way, (flags, shown) in ways.items():
        mc("cp", *flags, tmp_path / "file", f"{where}/{way}")
        if shown:
            assert s3.head_object(Bucket="data-mc", Key=way)["ServerSideEncryption"] == shown
        reads = flags if way == "c" else []
        mc("cp", *reads, f"{where}/{way}", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data
        assert not shares_a_run(storage.client().get_object(Bucket="data-mc", Key=way)["Body"].read(), data)
    # A customer's object needs its key, and another one does not open it.
    mc("cat", f"{where}/c", code=1)
    mc("cat", "--enc-c", f"{where}={customer[:-2]}w", f"{where}/c", code=1)
    mc("encrypt", "clear", where)
    mc("encrypt", "set", "sse-s3", where)
    assert mc("encrypt", "info", where, lines=True)[0]["encryption"]["algorithm"] == "AES256"
    mc("encrypt", "clear", where)
    with pytest.raises(s3.exceptions.ClientError):
        s3.get_bucket_encryption(Bucket="data-mc")
    for part in (proxy, kes, storage):
        part.stop()
