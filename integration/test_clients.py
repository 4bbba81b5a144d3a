"""Command-line programs and another SDK, as their users run them: put, get, list, sync, read ranges, delete.

Files stay below each program's multipart threshold.
"""

import hashlib
import io
import json
import os
import subprocess
import time

import minio
import pytest

from harness.data import md5_etag, noise
from harness.process import clean_env, tool

FILES = {
    "plain.bin": 100_000,
    "empty": 0,
    "one": 1,
    "chunk": 65536,
    "with space.txt": 1234,
    "plus+and&co.dat": 4321,
    "deep/er/ünï-日本.bin": 70_001,
    "deep/():=!,@;$'.bin": 10,
    "percent%2Fencoded": 333,
    "streamed.bin": (2 << 20) + 12,
}


@pytest.fixture
def files(tmp_path):
    """A folder of files with odd names and sizes around the borders."""
    folder = tmp_path / "source"
    for name, size in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(size, name))
        # LastModified counts in whole seconds: a file of this very second would look newer than its upload.
        os.utime(path, (time.time() - 60,) * 2)
    return folder


def run(argv, cwd, env=None, code=0):
    """Runs a program to its end; gives what it wrote. `code=None` takes any exit code."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env or clean_env(), capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    assert code is None or done.returncode == code, f"{argv}\n{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def assert_same(left, right) -> None:
    """Two folders hold the same files."""
    def content(folder):
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()
        }
    assert content(left) == content(right)


class TestAwsCli:
    @pytest.fixture
    def aws(self, stack, tmp_path):
        # Without this it presigns with SigV2: test_sigv2.py.
        (tmp_path / "aws.config").write_text("[default]\ns3 =\n  signature_version = s3v4\n")

        def call(*arguments, code=0):
            env = clean_env(
                AWS_ACCESS_KEY_ID=stack.keys.access, AWS_SECRET_ACCESS_KEY=stack.keys.secret, AWS_DEFAULT_REGION="us-east-1",
                AWS_CONFIG_FILE=str(tmp_path / "aws.config"), AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "none"),
                AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1",
            )
            return run([tool("aws"), "--endpoint-url", stack.endpoint, *arguments], tmp_path, env, code)

        return call

    def test_copy_list_and_remove(self, aws, bucket, prefix, tmp_path, files):
        url = f"s3://{bucket}/{prefix}"
        aws("s3", "cp", files / "plain.bin", f"{url}plain.bin")
        assert "100000" in aws("s3", "ls", url)
        aws("s3", "cp", f"{url}plain.bin", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (files / "plain.bin").read_bytes()
        aws("s3", "rm", f"{url}plain.bin")
        assert "plain.bin" not in aws("s3", "ls", url, code=None)

    def test_sync_there_and_back(self, aws, bucket, prefix, tmp_path, files):
        url = f"s3://{bucket}/{prefix}"
        aws("s3", "sync", files, url)
        # Nothing left to do: the sizes in the listing are those of the files.
        assert aws("s3", "sync", files, url) == ""
        aws("s3", "sync", url, tmp_path / "back")
        assert_same(files, tmp_path / "back")
        (files / "plain.bin").write_bytes(b"changed")
        assert "plain.bin" in aws("s3", "sync", files, url)
        aws("s3", "rm", "--recursive", url)

    def test_api_calls(self, aws, bucket, prefix, tmp_path):
        (tmp_path / "body").write_bytes(noise(200_000))
        put = json.loads(
            aws("s3api", "put-object", "--bucket", bucket, "--key", f"{prefix}o", "--body", tmp_path / "body", "--metadata", "a=1",
                "--checksum-algorithm", "SHA256")
        )
        assert put["ETag"] == md5_etag(noise(200_000)) and put["ChecksumSHA256"]
        got = json.loads(
            aws("s3api", "get-object", "--bucket", bucket, "--key", f"{prefix}o", "--range", "bytes=65530-65545", tmp_path / "part")
        )
        assert got["ContentRange"] == "bytes 65530-65545/200000" and got["Metadata"] == {"a": "1"}
        assert (tmp_path / "part").read_bytes() == noise(200_000)[65530:65546]

    def test_files_over_the_multipart_threshold(self, aws, bucket, prefix, tmp_path, s3):
        data = noise(20 << 20)
        (tmp_path / "large").write_bytes(data)
        aws("s3", "cp", tmp_path / "large", f"s3://{bucket}/{prefix}large")
        head = s3.head_object(Bucket=bucket, Key=f"{prefix}large")
        # Three parts of 8, 8 and 4 MiB, as S3 itself names such an object.
        md5s = b"".join(hashlib.md5(data[at : at + (8 << 20)]).digest() for at in range(0, len(data), 8 << 20))
        assert (head["ContentLength"], head["ETag"]) == (len(data), f'"{hashlib.md5(md5s).hexdigest()}-3"')
        aws("s3", "cp", f"s3://{bucket}/{prefix}large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data

    def test_copy_of_a_large_object_between_buckets(self, aws, buckets, prefix, tmp_path, s3):
        """Over its threshold the client copies part by part."""
        data, source, target = noise(64 << 20), buckets["data"], buckets["opaque"]
        s3.put_object(Bucket=source, Key=f"{prefix}large", Body=data)
        aws("s3", "cp", f"s3://{source}/{prefix}large", f"s3://{target}/{prefix}large")
        aws("s3", "cp", f"s3://{target}/{prefix}large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data

    def test_presigned_url(self, aws, bucket, prefix, s3, tmp_path):
        s3.put_object(Bucket=bucket, Key=f"{prefix}a b", Body=b"presigned")
        url = aws("s3", "presign", f"s3://{bucket}/{prefix}a b").strip()
        assert run(["curl", "-sS", "--fail-with-body", url], tmp_path) == "presigned"


class TestRclone:
    @pytest.fixture
    def rclone(self, stack, tmp_path):
        config = tmp_path / "rclone.conf"
        config.write_text(
            "[there]\ntype = s3\nprovider = Other\nenv_auth = false\n"
            f"access_key_id = {stack.keys.access}\nsecret_access_key = {stack.keys.secret}\n"
            f"endpoint = {stack.endpoint}\nregion = us-east-1\n"
        )

        def call(*arguments, code=0):
            base = [tool("rclone"), "--config", config, "--retries", "1", "--low-level-retries", "1", "--stats", "0"]
            return run([*base, *arguments], tmp_path, code=code)

        return call

    def test_copy_check_and_read_back(self, rclone, bucket, prefix, tmp_path, files):
        where = f"there:{bucket}/{prefix}"
        rclone("copy", files, where)
        # `check` compares MD5s of files with ETags; `--download` compares bytes.
        rclone("check", files, where)
        rclone("check", "--download", files, where)
        rclone("copy", where, tmp_path / "back")
        assert_same(files, tmp_path / "back")
        sizes = {entry["Path"]: entry["Size"] for entry in json.loads(rclone("lsjson", "-R", "--files-only", where))}
        assert sizes == FILES

    def test_sync_sees_what_changed(self, rclone, bucket, prefix, files):
        where = f"there:{bucket}/{prefix}"
        rclone("sync", files, where)
        assert "nothing to transfer" in rclone("sync", "-vv", files, where)
        (files / "one").unlink()
        (files / "chunk").write_bytes(b"changed")
        rclone("sync", "--checksum", files, where)
        rclone("check", files, where)
        assert "one" not in [entry["Path"] for entry in json.loads(rclone("lsjson", "-R", where))]

    def test_cat_ranges_and_delete(self, rclone, bucket, prefix, files):
        where = f"there:{bucket}/{prefix}"
        rclone("copyto", files / "with space.txt", f"{where}text")
        rclone("copyto", files / "empty", f"{where}empty")
        (files / "part").write_bytes(b"abc" * 30_000)
        rclone("copyto", files / "part", f"{where}part")
        assert rclone("cat", "--offset", "65535", "--count", "6", f"{where}part") == "abcabc"
        rclone("deletefile", f"{where}text")
        assert rclone("lsf", where).split() == ["empty", "part"]

    def test_opaque_bucket(self, rclone, buckets, prefix, files, tmp_path):
        """An ETag that is no MD5 does not trouble it: it keeps its own MD5 in metadata or compares sizes."""
        where = f"there:{buckets['opaque']}/{prefix}"
        rclone("copy", files, where)
        rclone("check", "--size-only", files, where)
        rclone("copy", where, tmp_path / "back")
        assert_same(files, tmp_path / "back")


class TestS3cmd:
    @pytest.fixture
    def s3cmd(self, stack, tmp_path):
        host = stack.endpoint.removeprefix("http://")
        config = tmp_path / "s3cfg"
        config.write_text("[default]\n")

        def call(*arguments, code=0):
            base = [
                tool("s3cmd"), "-c", config, "--access_key", stack.keys.access, "--secret_key", stack.keys.secret, "--host", host,
                "--host-bucket", host, "--no-ssl", "--region", "us-east-1", "--no-progress",
            ]
            return run([*base, *arguments], tmp_path, code=code)

        return call

    def test_put_get_list_delete(self, s3cmd, bucket, prefix, tmp_path, files):
        url = f"s3://{bucket}/{prefix}"
        s3cmd("put", files / "plain.bin", f"{url}plain.bin")
        assert "100000" in s3cmd("ls", url)
        # It compares the MD5 of what it got with the ETag.
        out = s3cmd("get", f"{url}plain.bin", tmp_path / "back")
        assert "WARNING" not in out
        assert (tmp_path / "back").read_bytes() == (files / "plain.bin").read_bytes()
        assert hashlib.md5((files / "plain.bin").read_bytes()).hexdigest() in s3cmd("info", f"{url}plain.bin")
        s3cmd("del", f"{url}plain.bin")
        assert "plain.bin" not in s3cmd("ls", url)

    def test_sync(self, s3cmd, bucket, prefix, tmp_path, files):
        url = f"s3://{bucket}/{prefix}"
        s3cmd("sync", f"{files}/", url)
        (tmp_path / "back").mkdir()
        s3cmd("sync", url, f"{tmp_path / 'back'}/")
        assert_same(files, tmp_path / "back")
        assert "upload" not in s3cmd("sync", f"{files}/", url)


class TestMinioPy:
    @pytest.fixture
    def client(self, stack):
        return minio.Minio(
            stack.endpoint.removeprefix("http://"), access_key=stack.keys.access, secret_key=stack.keys.secret, secure=False
        )

    def test_put_stat_get_list_remove(self, client, bucket, prefix):
        for name, size in (("small", 1000), ("ünï +&", 70_000), ("large", (3 << 20) + 1), ("empty", 0)):
            data = noise(size, name)
            put = client.put_object(bucket, prefix + name, io.BytesIO(data), size, metadata={"own": "1"})
            stat = client.stat_object(bucket, prefix + name)
            assert stat.size == size and put.etag == stat.etag == md5_etag(data).strip('"')
            assert stat.metadata["x-amz-meta-own"] == "1"
            assert client.get_object(bucket, prefix + name).read() == data
            if size > 100:
                assert client.get_object(bucket, prefix + name, offset=10, length=50).read() == data[10:60]
        listed = {entry.object_name: entry.size for entry in client.list_objects(bucket, prefix, recursive=True)}
        assert listed == {f"{prefix}small": 1000, f"{prefix}ünï +&": 70_000, f"{prefix}large": (3 << 20) + 1, f"{prefix}empty": 0}
        client.remove_object(bucket, f"{prefix}small")
        rest = [minio.deleteobjects.DeleteObject(name) for name in listed if not name.endswith("small")]
        assert not list(client.remove_objects(bucket, rest))
        assert not list(client.list_objects(bucket, prefix, recursive=True))

    def test_errors_are_typed(self, client, bucket, prefix):
        with pytest.raises(minio.error.S3Error) as error:
            client.get_object(bucket, f"{prefix}none")
        assert error.value.code == "NoSuchKey"
        with pytest.raises(minio.error.S3Error) as error:
            client.copy_object(bucket, f"{prefix}target", minio.commonconfig.CopySource(bucket, f"{prefix}none"))
        assert error.value.code in ("NotImplemented", "NoSuchKey")


class TestS5cmd:
    @pytest.fixture
    def s5cmd(self, stack, tmp_path):
        env = clean_env(
            AWS_ACCESS_KEY_ID=stack.keys.access, AWS_SECRET_ACCESS_KEY=stack.keys.secret, AWS_REGION="us-east-1",
            AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        )

        def call(*arguments, code=0):
            return run([tool("s5cmd"), "-r", "0", "--endpoint-url", stack.endpoint, *arguments], tmp_path, env, code)

        return call

    def test_copy_list_cat_remove(self, s5cmd, bucket, prefix, tmp_path, files):
        url = f"s3://{bucket}/{prefix}"
        s5cmd("cp", f"{files}/", url)
        listed = {line.split(maxsplit=3)[3]: int(line.split(maxsplit=3)[2]) for line in s5cmd("ls", f"{url}*").splitlines()}
        assert listed == FILES
        s5cmd("cp", f"{url}*", f"{tmp_path / 'back'}/")
        assert_same(files, tmp_path / "back")
        assert len(s5cmd("cat", f"{url}one")) == 1
        s5cmd("rm", f"{url}*")
        assert s5cmd("ls", f"{url}*", code=1)


class TestCurl:
    def call(self, stack, tmp_path, *arguments, code=0):
        base = [
            "curl", "-sS", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user",
            f"{stack.keys.access}:{stack.keys.secret}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
        ]
        return run([*base, *arguments], tmp_path, code=code)

    def test_put_get_range_list_delete(self, stack, bucket, prefix, tmp_path):
        data = noise((2 << 20) + 5)
        (tmp_path / "file").write_bytes(data)
        url = f"{stack.endpoint}/{bucket}/{prefix}object"
        # Over 1 MiB curl waits for `100 Continue`.
        self.call(stack, tmp_path, "-T", tmp_path / "file", url)
        self.call(stack, tmp_path, "-o", tmp_path / "back", url)
        assert (tmp_path / "back").read_bytes() == data
        self.call(stack, tmp_path, "-o", tmp_path / "part", "-r", "65530-65545", url)
        assert (tmp_path / "part").read_bytes() == data[65530:65546]
        head = self.call(stack, tmp_path, "-I", url)
        assert f"content-length: {len(data)}" in head.lower()
        self.call(stack, tmp_path, "-X", "DELETE", url)
        assert "NoSuchKey" in self.call(stack, tmp_path, url, code=22)
