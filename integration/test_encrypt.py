"""Plaintext that was on the storage first, sealed in its place by `s3cloak encrypt`, and what `s3cloak verify` says before,
afterwards, and once something is wrong."""

import pytest
from botocore.exceptions import ClientError

from harness import backends
from harness.data import md5_etag, noise, shares_a_run
from harness.proxy import Cloak, config
from test_commands import file, run  # noqa: F401  (`file` is a fixture)

MIB = 1 << 20
BUCKET = "legacy-first"
SIZES = {"empty": 0, "one": 1, "sub/dir/ünï +&%.txt": 70_001, "large": 3 * MIB + 5}


@pytest.mark.parametrize("name", backends.STARTERS)
@pytest.mark.xdist_group("failures")
def test_a_bucket_that_was_there_first(tmp_path, file, name):  # noqa: F811
    storage = backends.STARTERS[name](tmp_path / "storage")
    keys = {"services": {"local": {"type": "local", "path": str(tmp_path / "keys")}}}
    raw = storage.client()
    raw.create_bucket(Bucket=BUCKET)
    for key, size in SIZES.items():
        raw.put_object(
            Bucket=BUCKET, Key=key, Body=noise(size, key), ContentType="text/x-old", CacheControl="max-age=5", Metadata={"own": "1"},
            Tagging="a=1&b=x%20y",
        )
    proxy = Cloak(tmp_path / "proxy", storage.endpoint, keys)
    s3 = proxy.client()
    s3.put_object(Bucket=BUCKET, Key="sealed", Body=noise(1000, "sealed"))
    path = file(config(storage.endpoint, keys, 18999))
    place = f"s3://{BUCKET}"

    def command(*arguments, code=0):
        return run(*arguments, "--config", path, code=code)

    before = command("verify", place, code=1)
    assert before.count(": not encrypted") == len(SIZES) and "encrypted and whole" in before
    assert command("verify", f"{place}/seal").count("not encrypted") == 0
    dry = command("encrypt", place, "--dry-run")
    assert f"{len(SIZES)}  to be encrypted" in dry and "1  encrypted already" in dry
    assert raw.get_object(Bucket=BUCKET, Key="one")["Body"].read() == noise(1, "one")

    checkpoint = str(tmp_path / "state")
    assert f"{len(SIZES)}  encrypted\n" in command("encrypt", place, "--checkpoint", checkpoint)
    assert f"{len(SIZES) + 1}  encrypted already" in command("encrypt", place)
    assert f"{len(SIZES) + 1}  encrypted and whole" in command("verify", place)
    assert f"{len(SIZES) + 1}  encrypted\n" in command("verify", place, "--quick")
    for key, size in SIZES.items():
        data = noise(size, key)
        got = s3.get_object(Bucket=BUCKET, Key=key)
        assert got["Body"].read() == data and got["ETag"] == md5_etag(data)
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/x-old", "max-age=5", {"own": "1"})
        assert got["ServerSideEncryption"] == "AES256"
        tags = s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
        assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("a", "1"), ("b", "x y")]
        assert not shares_a_run(raw.get_object(Bucket=BUCKET, Key=key)["Body"].read(), data[:100_000])

    # The end of another object, then none of the keys.
    stored = raw.get_object(Bucket=BUCKET, Key="large")
    body = bytearray(stored["Body"].read())
    body[2 * MIB] ^= 1
    raw.put_object(Bucket=BUCKET, Key="large", Body=bytes(body), Metadata=stored["Metadata"])
    found = command("verify", place, code=1)
    assert found.count("tampered with or damaged") == 1 and f"{place}/large: " in found
    # The damage is in the middle: the ends alone do not show it.
    command("verify", place, "--quick")
    with pytest.raises(ClientError):
        s3.get_object(Bucket=BUCKET, Key="large", Range=f"bytes={2 * MIB - 100}-{2 * MIB}")
    proxy.stop()
    (tmp_path / "keys").rename(tmp_path / "lost")
    (tmp_path / "keys").mkdir(mode=0o700)
    assert "its key cannot be used" in command("verify", f"{place}/one", code=1)
    storage.stop()


def test_wrong_places(file):  # noqa: F811
    path = file(config("http://127.0.0.1:9", {"services": {"local": {"type": "local", "path": "keys"}}}, 18999))
    for command in ("verify", "encrypt"):
        run(command, "bucket/prefix", "--config", path, code=64)
        run(command, "--config", path, code=64)
        run(command, "s3://s3cloak-system", "--config", path, code=1)
