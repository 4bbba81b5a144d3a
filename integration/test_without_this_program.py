"""Nobody is locked in: what the proxy stored opens with the standalone decryptor and a key service, without the proxy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.data import noise

DECRYPT = Path(__file__).parent / "decrypt.py"


def decrypt(*arguments, code=0, text=""):
    done = subprocess.run([sys.executable, DECRYPT, *arguments], input=text, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", [0, 1, 65536, 200_001, (2 << 20) + 1])
def test_stored_object_opens(kes, s3, raw, bucket, prefix, tmp_path, size):
    key, plain = f"{prefix}ünï object", noise(size)
    s3.put_object(Bucket=bucket, Key=key, Body=plain)
    stored = raw.get_object(Bucket=bucket, Key=key)
    (tmp_path / "stored").write_bytes(stored["Body"].read())
    envelope = {name.lower(): value for name, value in stored["Metadata"].items()}["s3cloak"]

    shown = dict(line.split(": ", 1) for line in decrypt("--envelope", envelope, "--show").splitlines() if ": " in line)
    assert shown["mode"] == "SSE-S3, single PUT" and shown["key"] == "s3cloak-default"
    context = json.dumps({"bucket": bucket, "format": "s3cloak/1"}, separators=(",", ":")).encode()
    data_key = kes.decrypt(shown["key"], shown["sealed key"], context)

    names = ["--bucket", bucket, "--key", key, "--data-key", "-", "--output", str(tmp_path / "plain")]
    decrypt(str(tmp_path / "stored"), "--envelope", envelope, *names, text=data_key)
    assert (tmp_path / "plain").read_bytes() == plain

    wrong = ["--bucket", bucket, "--key", f"{key}-other", "--data-key", "-", "--output", str(tmp_path / "wrong")]
    decrypt(str(tmp_path / "stored"), "--envelope", envelope, *wrong, text=data_key, code=1)
    assert not (tmp_path / "wrong").exists()


def test_the_key_service_refuses_another_buckets_context(kes, s3, raw, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=b"x")
    envelope = raw.head_object(Bucket=bucket, Key=f"{prefix}object")["Metadata"]["s3cloak"]
    shown = dict(line.split(": ", 1) for line in decrypt("--envelope", envelope, "--show").splitlines() if ": " in line)
    context = json.dumps({"bucket": "another", "format": "s3cloak/1"}, separators=(",", ":")).encode()
    with pytest.raises(OSError):
        kes.decrypt(shown["key"], shown["sealed key"], context)
