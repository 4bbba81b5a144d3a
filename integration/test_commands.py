"""The operator's commands, by the real binary: what they print and with which status they end."""

import subprocess

import pytest
import yaml

from harness import backends
from harness.data import noise
from harness.kes import Kes
from harness.process import clean_env
from harness.proxy import BINARY, Cloak, config
from harness.sizes import sealed_len


def run(*arguments, code=0, cwd=None):
    done = subprocess.run([BINARY, *arguments], env=clean_env(), cwd=cwd, capture_output=True, text=True, timeout=60)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def file(tmp_path):
    """Writes a configuration, and gives its path."""

    def write(settings) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False))
        return str(path)

    return write


LOCAL = {"services": {"local": {"type": "local", "path": "keys"}}}


def test_a_good_configuration(file):
    assert "no fault" in run("check-config", "--config", file(config("http://127.0.0.1:9", LOCAL, 18999)))


def test_all_faults_at_once_with_lines(file):
    settings = yaml.safe_dump(config("http://127.0.0.1:9", LOCAL, 18999), sort_keys=False)
    bent = settings.replace("etag: md5", "etag: md6").replace("region: us-east-1", "regoin: us-east-1").replace("default_key:", "defualt_key:")
    text = run("check-config", "--config", file(bent), code=64)
    for fault in ("md6", "regoin", "defualt_key"):
        line = next(number for number, content in enumerate(bent.splitlines(), 1) if fault in content)
        assert fault in text and any(f":{line}" in said or f"line {line}" in said for said in text.splitlines()), text


def test_serve_refuses_a_bad_configuration(file):
    assert "nonsense" in run("serve", "--config", file({"nonsense": 1}), code=64)
    run("serve", "--config", "there-is-no-such-file.yaml", code=64)


@pytest.mark.parametrize("arguments", [["unheard-of"], ["serve", "--unheard-of"], ["key", "create"]])
def test_wrong_arguments(arguments):
    run(*arguments, code=64)


def test_only_who_listens_reads_the_listeners_files(tmp_path, file):
    """The private key is the proxy's alone; other commands run as whoever looks after objects and keys."""
    settings = config("http://127.0.0.1:9", {"services": {"local": {"type": "local", "path": str(tmp_path / "keys")}}}, 18999)
    settings["listen"][0]["tls"] = {"certificate": "tls.crt", "private_key": "there/is/none.key"}
    path = file(settings)
    for command in ("check-config", "serve"):
        assert "tls.crt" in run(command, "--config", path, code=64)
    run("key", "create", "made-here", "--config", path)
    for arguments in (["inspect", "s3://bucket/key"], ["gc"], ["check-backend"], ["verify", "s3://bucket"]):
        assert "tls.crt" not in run(*arguments, "--config", path, code=1)


def test_help_and_version():
    text = run("--help")
    for word in ("serve", "demo", "check-config", "key", "gc", "inspect"):
        assert word in text
    assert run("--version").startswith("s3cloak ")


@pytest.mark.parametrize("name", backends.STARTERS)
@pytest.mark.xdist_group("failures")
def test_check_backend(tmp_path, file, name):
    storage = backends.STARTERS[name](tmp_path / "storage")
    path = file(config(storage.endpoint, LOCAL, 18999))
    text = run("check-backend", "--config", path)
    assert "framing: unsigned-trailer" in text and "conditional_writes: true" in text
    # It leaves nothing but the system area.
    assert [entry["Name"] for entry in storage.client().list_buckets()["Buckets"]] == ["s3cloak-system"]
    storage.stop()
    run("check-backend", "--config", path, code=1)


def test_key_commands(tmp_path, file):
    kes = Kes(tmp_path / "kes", own=True)
    path = file(config("http://127.0.0.1:9", {**kes.config(), "create_missing": False}, 18999))
    run("key", "create", "made-here", "--config", path)
    run("key", "create", "made-here", "--config", path, code=1)
    run("key", "create", "no such name!", "--config", path, code=64)
    assert "made-here" in run("key", "list", "--config", path).split()
    run("key", "status", "made-here", "--config", path)
    run("key", "status", "never-made", "--config", path, code=1)
    run("key", "delete", "made-here", "--config", path, code=64)
    run("key", "delete", "--yes", "made-here", "--config", path)
    assert "made-here" not in run("key", "list", "--config", path).split()
    kes.stop()


@pytest.mark.xdist_group("failures")
def test_inspect(tmp_path, file):
    storage = backends.versitygw(tmp_path / "storage")
    keys = {"services": {"local": {"type": "local", "path": str(tmp_path / "keys")}}}
    proxy = Cloak(tmp_path / "proxy", storage.endpoint, keys)
    s3, size = proxy.client(), 200_001
    s3.create_bucket(Bucket="data-inspected")
    s3.put_object(Bucket="data-inspected", Key="an object", Body=noise(size))
    proxy.stop()
    path = file(config(storage.endpoint, keys, 18999))
    text = run("inspect", "s3://data-inspected/an object", "--config", path)
    assert str(size) in text.replace(" ", "").replace(",", "") and str(sealed_len(size)) in text.replace(" ", "").replace(",", "")
    assert "s3cloak-default" in text
    clear = run("inspect", "--no-keys", "s3://data-inspected/an object", "--config", path)
    assert "s3cloak-default" in clear
    run("inspect", "s3://data-inspected/none", "--config", path, code=1)
    storage.stop()
