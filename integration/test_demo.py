"""`s3cloak demo`: the lines that it prints work as they stand, and what was stored is there after a restart."""

import subprocess

import pytest
from botocore.exceptions import ClientError

from harness.data import noise
from harness.process import TOOLS, clean_env, free_port
from harness.proxy import BINARY, Demo
from harness.wire import wait_for


@pytest.fixture
def demo(tmp_path):
    demo = Demo(tmp_path / "demo")
    yield demo
    demo.stop()


def test_the_printed_lines_work(demo, tmp_path):
    text = wait_for(lambda: "Ctrl-C" in demo.log() and demo.log())
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for word in ("aws s3 cp", "rclone", "curl", "inspect"):
        assert any(word in line for line in lines), text
    env = clean_env(AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path))
    env["PATH"] = f"{TOOLS / 'venv/bin'}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Each of the three programs reads it back; the storage's own bytes do not show it.
    assert done.stdout.count("Only I can read this.") == 3, done.stdout
    stored = [path for path in demo.data.rglob("*") if path.is_file() and "hello" in path.name]
    assert stored and not any(b"Only I can" in path.read_bytes() for path in stored)


def test_it_is_all_there_after_a_restart(demo, tmp_path):
    s3, data = demo.client(), noise(300_000)
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="an/object", Body=data, Metadata={"a": "1"})
    demo.stop()
    again = Demo(tmp_path / "demo")
    got = again.client().get_object(Bucket="kept", Key="an/object")
    assert got["Body"].read() == data and got["Metadata"] == {"a": "1"}
    again.stop()


def test_it_listens_on_loopback_unless_told(demo):
    assert "127.0.0.1" in demo.log() and "0.0.0.0" not in demo.log()


def test_a_folder_has_one_demo_at_a_time(demo, tmp_path):
    config = (demo.data / "config.yaml").read_bytes()
    second = subprocess.run(
        [str(BINARY), "demo", "--listen", f"127.0.0.1:{free_port()}", "--data-dir", str(demo.data)],
        env=clean_env(), capture_output=True, text=True, timeout=60,
    )
    assert second.returncode != 0 and "--data-dir" in second.stderr
    assert (demo.data / "config.yaml").read_bytes() == config
    assert demo.client().list_buckets()["Buckets"]


def test_a_version_that_there_is_not_takes_no_object_with_it(demo):
    s3 = demo.client()
    s3.put_object(Bucket="demo", Key="v.txt", Body=b"the only version")
    missing = {"Key": "v.txt", "VersionId": "3sL4kqtJlcpXroDTDmJ"}
    with pytest.raises(ClientError) as refused:
        s3.delete_object(Bucket="demo", **missing)
    assert refused.value.response["Error"]["Code"] == "InvalidArgument"
    failed = s3.delete_objects(Bucket="demo", Delete={"Objects": [missing]})["Errors"]
    assert [entry["Code"] for entry in failed] == ["InvalidArgument"]
    assert s3.get_object(Bucket="demo", Key="v.txt")["Body"].read() == b"the only version"
