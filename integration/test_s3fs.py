"""A bucket mounted as a file system. Its renames and changes of mode and time are copies, and a write within a large file is an
upload of copied parts."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.data import noise, shares_a_run
from harness.process import Child

MIB = 1 << 20
LARGE = 23 * MIB + 7

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="no /dev/fuse: nothing can be mounted here")


class Mount:
    """A bucket under a folder, unmounted at the end of the block. Nothing is kept of an earlier mount."""

    def __init__(self, stack, bucket: str, folder: Path):
        self.stack, self.bucket, self.folder, self.point = stack, bucket, folder, folder / "mounted"

    def __enter__(self) -> Path:
        self.point.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "passwd"
        secret.write_text(f"{self.stack.keys.access}:{self.stack.keys.secret}\n")
        secret.chmod(0o600)
        options = {
            "url": self.stack.endpoint, "endpoint": "us-east-1", "passwd_file": str(secret), "use_path_request_style": None,
            "multipart_size": "10", "singlepart_copy_limit": "10", "retries": "1", "dbglevel": "warn",
        }
        flags = [word for name, value in options.items() for word in ("-o", name if value is None else f"{name}={value}")]
        self.child = Child("s3fs", ["s3fs", self.bucket, str(self.point), "-f", *flags], self.folder)
        self.child.wait_until(lambda: os.path.ismount(self.point))
        return self.point

    def __exit__(self, *_):
        subprocess.run(["fusermount", "-u", str(self.point)], check=True)
        assert self.child.ended() == 0


def test_a_bucket_as_a_file_system(stack, s3, raw, prefix, tmp_path):
    bucket = f"data-mounted-{os.urandom(4).hex()}"
    s3.create_bucket(Bucket=bucket)
    small, large = noise(70_001), bytearray(noise(LARGE))
    with Mount(stack, bucket, tmp_path) as root:
        (root / "dir").mkdir()
        (root / "dir" / "small ü+%").write_bytes(small)
        (root / "dir" / "large").write_bytes(large)
        (root / "empty").touch()
        assert (root / "dir" / "small ü+%").read_bytes() == small and (root / "dir" / "large").read_bytes() == large
        # Each of these is a copy.
        (root / "dir" / "small ü+%").chmod(0o640)
        os.utime(root / "dir" / "small ü+%", (1_000_000_000, 1_100_000_000))
        os.chown(root / "empty", os.getuid(), os.getgid())
        (root / "dir" / "small ü+%").rename(root / "dir" / "renamed")
        (root / "dir" / "large").rename(root / "dir" / "renamed large")
        (root / "dir").rename(root / "moved")
        (root / "link").symlink_to("moved/renamed")
        # A few bytes within it, and more at its end: the rest is copied where it lies.
        with (root / "moved" / "renamed large").open("r+b") as file:
            file.seek(11 * MIB)
            file.write(b"changed")
        large[11 * MIB : 11 * MIB + 7] = b"changed"
        with (root / "moved" / "renamed large").open("ab") as file:
            file.write(b"more")
        large += b"more"
        with (root / "moved" / "renamed").open("r+b") as file:
            file.truncate(65_537)
        small = small[:65_537]
    # The same is seen by a new mount, and by any other client.
    with Mount(stack, bucket, tmp_path / "again") as root:
        assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
            "empty", "link", "moved", "moved/renamed", "moved/renamed large",
        ]
        assert (root / "link").read_bytes() == small and os.readlink(root / "link") == "moved/renamed"
        assert (root / "moved" / "renamed large").read_bytes() == large
        status, owner = (root / "moved" / "renamed").stat(), (root / "empty").stat()
        assert (status.st_mode & 0o7777, status.st_size) == (0o640, 65_537)
        assert (owner.st_uid, owner.st_gid, owner.st_size) == (os.getuid(), os.getgid(), 0)
        assert (root / "moved" / "renamed large").stat().st_size == len(large)
        got = s3.get_object(Bucket=bucket, Key="moved/renamed")
        assert got["Body"].read() == small and got["Metadata"]["mode"] == str(0o100640)
        assert s3.get_object(Bucket=bucket, Key="moved/renamed large")["Body"].read() == large
        stored = raw.get_object(Bucket=bucket, Key="moved/renamed large")["Body"].read()
        assert not shares_a_run(stored[: 2 * MIB], bytes(large[:200_000]))
        for path in ("link", "empty", "moved/renamed", "moved/renamed large"):
            (root / path).unlink()
        (root / "moved").rmdir()
        assert list(root.iterdir()) == []
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    s3.delete_bucket(Bucket=bucket)
