"""Copies of what clients cut into parts: 1 GiB by the aws cli, folders and time stamps by rclone."""

import hashlib
import json
import os
import shutil
import subprocess

import pytest
from botocore.exceptions import ClientError

from harness import backends
from harness.data import noise, shares_a_run
from harness.process import clean_env, tool
from harness.proxy import CLIENT, Cloak

MIB = 1 << 20
LARGE = 1024 * MIB


def run(argv, cwd, env=None) -> str:
    """Runs a program to its end and gives what it printed."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env or clean_env(), capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{argv}\n{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def write_large(path) -> str:
    """A file of 1 GiB, mostly zeros, with noise at places; gives its SHA-256."""
    blocks = {at: noise(MIB, at) for at in (0, 8 * MIB - 77, 300 * MIB + 5, LARGE - MIB)}
    with path.open("wb") as file:
        file.truncate(LARGE)
        for at, block in blocks.items():
            file.seek(at)
            file.write(block)
    return sha256(path.open("rb"))


def sha256(stream) -> str:
    digest = hashlib.sha256()
    while block := stream.read(4 * MIB):
        digest.update(block)
    return digest.hexdigest()


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(f"large-{name}")) for name in backends.STARTERS])
@pytest.mark.timeout(400)
def test_aws_cli_copies_and_moves_a_gibibyte_between_buckets(tmp_path, name):
    storage = backends.STARTERS[name](tmp_path / "storage")
    try:
        keys = {"services": {"local": {"type": "local", "path": str(tmp_path / "keys")}}}
        proxy = Cloak(tmp_path / "proxy", storage.endpoint, keys)
        copies_and_moves(tmp_path, proxy, storage.client())
        assert proxy.end() == 0
    finally:
        storage.stop()
        # Several GiB that nobody needs to see afterwards.
        shutil.rmtree(tmp_path / "storage")


def copies_and_moves(folder, proxy, raw):
    s3, one, two = proxy.client(), "data-large", "opaque-large"
    for bucket in (one, two):
        s3.create_bucket(Bucket=bucket)

    def aws(*arguments, threshold="8MB"):
        (folder / "aws.config").write_text(f"[default]\ns3 =\n  multipart_threshold = {threshold}\n")
        env = clean_env(
            AWS_ACCESS_KEY_ID=CLIENT.access, AWS_SECRET_ACCESS_KEY=CLIENT.secret, AWS_DEFAULT_REGION="us-east-1",
            AWS_CONFIG_FILE=str(folder / "aws.config"), AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true",
            AWS_MAX_ATTEMPTS="1",
        )
        run([tool("aws"), "--endpoint-url", proxy.endpoint, "s3", *arguments], folder, env)

    def is_gone(bucket, key):
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=bucket, Key=key)
        assert error.value.response["Error"]["Code"] == "404"

    def assert_whole(bucket, key):
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["ContentLength"] == LARGE and sha256(got["Body"]) == expected
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        assert [(entry["Size"], entry["ETag"]) for entry in listed] == [(LARGE, got["ETag"])]
        stored = raw.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{2 * MIB - 1}")["Body"].read()
        assert not shares_a_run(stored, noise(MIB, 0))

    expected = write_large(folder / "file")
    aws("cp", folder / "file", f"s3://{one}/a")
    (folder / "file").unlink()
    # Part by part, as it does above its threshold.
    aws("cp", f"s3://{one}/a", f"s3://{two}/b c")
    assert_whole(two, "b c")
    # In one request, as it does below: the storage copies, and nothing is sealed anew.
    etag = s3.head_object(Bucket=one, Key="a")["ETag"]
    last = f"bytes={LARGE - 100}-{LARGE - 1}"
    stored = raw.get_object(Bucket=one, Key="a", Range=last)["Body"].read()
    aws("rm", f"s3://{two}/b c")
    aws("mv", f"s3://{one}/a", f"s3://{one}/moved", threshold="2GB")
    is_gone(one, "a")
    assert raw.get_object(Bucket=one, Key="moved", Range=last)["Body"].read() == stored
    assert s3.head_object(Bucket=one, Key="moved")["ETag"] == etag
    assert s3.get_object(Bucket=one, Key="moved", Range=last)["Body"].read() == noise(MIB, LARGE - MIB)[-100:]
    # Part by part again: what is moved so is gone from where it was.
    s3.put_object(Bucket=one, Key="smaller", Body=noise(20 * MIB))
    aws("mv", f"s3://{one}/smaller", f"s3://{two}/smaller")
    is_gone(one, "smaller")
    assert s3.get_object(Bucket=two, Key="smaller")["Body"].read() == noise(20 * MIB)


def test_rclone_moves_folders_and_changes_time_stamps(stack, storage, buckets, prefix, tmp_path, s3):
    """Above `copy_cutoff` rclone copies part by part, onto the same object too."""
    (tmp_path / "rclone.conf").write_text(
        "[there]\ntype = s3\nprovider = Other\nenv_auth = false\nregion = us-east-1\n"
        "chunk_size = 5Mi\nupload_cutoff = 5Mi\ncopy_cutoff = 6Mi\n"
        f"access_key_id = {stack.keys.access}\nsecret_access_key = {stack.keys.secret}\nendpoint = {stack.endpoint}\n"
    )
    source = tmp_path / "source"
    sizes = {"small": 70_001, "of parts": 13 * MIB + 1, "sub/empty": 0, "sub/ü+%": 6 * MIB + 5}
    for at, (name, size) in enumerate(sizes.items()):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(noise(size, name))
        os.utime(source / name, (1_000_000_000 + at,) * 2)
    one, two = f"there:{buckets['data']}/{prefix}", f"there:{buckets['opaque']}/{prefix}"

    def rclone(*arguments):
        base = ["--config", tmp_path / "rclone.conf", "--retries", "1", "--low-level-retries", "1", "--stats", "0", "-vv"]
        return run([tool("rclone"), *base, *arguments], tmp_path)

    def times(where):
        listed = run([tool("rclone"), "--config", tmp_path / "rclone.conf", "lsjson", "-R", "--files-only", where], tmp_path)
        return {entry["Path"]: (entry["Size"], entry["ModTime"][:19]) for entry in json.loads(listed)}

    rclone("copy", source, one)
    before = times(one)
    assert before["small"] == (70_001, "2001-09-09T01:46:40")
    told = rclone("move", one, two)
    assert told.lower().count("server-side") >= len(sizes), told
    assert times(one) == {} and times(two) == before
    rclone("check", "--download", source, two)
    rclone("moveto", two, f"{one}moved")
    for name in sizes:
        os.utime(source / name, (1_296_705_906,) * 2)
    told = rclone("copy", source, f"{one}moved")
    assert told.count("Updated modification time") == len(sizes), told
    assert times(f"{one}moved") == {name: (size, "2011-02-03T04:05:06") for name, size in sizes.items()}
    for name, size in sizes.items():
        got = s3.get_object(Bucket=buckets["data"], Key=f"{prefix}moved/{name}")
        assert got["Body"].read() == noise(size, name) and got["Metadata"]["mtime"].startswith("1296705906")
    assert "nothing to transfer" in rclone("sync", source, f"{one}moved")
