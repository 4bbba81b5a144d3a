"""The container image: what the Dockerfile's final stage says, around a static binary, run as it would be in a container: as
nobody, with nothing else in its root, with the files and variables that compose.yaml gives it.

The build stage cannot run where no image registry is in reach. It is stood in for: the binary is linked statically from what
the tests' own build has compiled, and laid out as that stage lays it out. S3CLOAK_IMAGE_BIN names another static binary.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from harness import backends
from harness.data import noise
from harness.kes import BINARY as KES
from harness.pki import Pki
from harness.process import Child, clean_env, free_port, listens
from harness.proxy import BINARY

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
NOBODY = 65532
ELSEWHERE = os.environ.get("S3CLOAK_IMAGE_BIN")

pytestmark = [
    pytest.mark.xdist_group("image"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may change roots and users"),
]


def final_stage() -> str:
    """The Dockerfile from its last FROM on, with the context in place of the build stage."""
    stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") + 1 :]
    assert stage.startswith("FROM scratch\n") and stage.count("COPY --from=build ") == 1 and " /image /" in stage
    return stage.replace("COPY --from=build ", "COPY ").replace(" /image /", " image /")


def lay_out(binary: Path, context: Path, authority: Path) -> None:
    """What the build stage leaves in /image."""
    made = re.search(r"mkdir -p (/image\S*(?: /image\S*)*)", DOCKERFILE)[1].split()
    for folder in made:
        (context / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    copied = re.findall(r"&& cp (\S+|\"[^\"]+\") (/image\S+)", DOCKERFILE)
    assert [target for _, target in copied] == ["/image/s3cloak", "/image/etc/ssl/certs/"]
    shutil.copy(binary, context / "image" / "s3cloak")
    bundle = Path(copied[1][0])
    authorities = bundle.read_text() if bundle.exists() else ""
    (context / "image" / "etc/ssl/certs" / bundle.name).write_text(f"{authorities}\n{authority.read_text()}")


def static_binary(folder: Path) -> Path:
    """The program as a static executable, with the flags of the build stage for its last crate."""
    if ELSEWHERE:
        return Path(ELSEWHERE)
    built, out = BINARY.parent, folder / "s3cloak"
    flags = re.search(r"^ENV RUSTFLAGS='(.*)'$", DOCKERFILE, re.M)[1].split()
    assert "target-feature=+crt-static" in flags
    libraries = ["-L", f"dependency={built / 'deps'}", "--extern", f"s3cloak={built / 'libs3cloak.rlib'}"]
    command = ["rustc", "--edition", "2024", "--crate-name", "s3cloak", *flags, "-C", "strip=symbols", *libraries, "-o", out]
    subprocess.run([*command, "proxy/src/main.rs"], cwd=ROOT, check=True, timeout=170)
    return out


class Image:
    """The image in a store of its own, and containers of it."""

    def __init__(self, folder: Path, authority: Path):
        self.folder = folder
        context = folder / "context"
        context.mkdir(parents=True)
        lay_out(static_binary(folder), context, authority)
        (context / "Dockerfile").write_text(final_stage())
        self.policy = folder / "policy.json"
        self.policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.buildah(
            "bud", "--isolation", "chroot", "--format", "docker", "--signature-policy", self.policy, "--tag", "s3cloak", context
        )
        self.config = json.loads(self.buildah("inspect", "--type", "image", "s3cloak"))["Docker"]["config"]

    def command(self, *arguments) -> list[str]:
        store = ["--root", self.folder / "store", "--runroot", self.folder / "run", "--storage-driver", "vfs"]
        return [str(part) for part in ("buildah", *store, *arguments)]

    def buildah(self, *arguments) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, env=clean_env(), timeout=170)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def container(self, mounts=(), environment=None) -> "Container":
        return Container(self, mounts, environment or {})


class Container:
    def __init__(self, image: Image, mounts, environment: dict):
        self.image = image
        hosts = [flag for name in ("storage", "kes") for flag in ("--add-host", f"{name}:127.0.0.1")]
        self.name = image.buildah("from", "--signature-policy", image.policy, *hosts, "s3cloak")
        self.root = Path(image.buildah("mount", self.name))
        variables = [flag for name, value in environment.items() for flag in ("--env", f"{name}={value}")]
        volumes = [flag for mount in mounts for flag in ("--volume", mount)]
        self.options = ["--isolation", "chroot", "--cap-drop", "all", *variables, *volumes]

    def argv(self, command) -> list[str]:
        return self.image.command("run", *self.options, self.name, "--", *command)

    def run(self, command) -> subprocess.CompletedProcess:
        return subprocess.run(self.argv(command), capture_output=True, text=True, env=clean_env(), timeout=60)

    def start(self, folder: Path, command=None) -> Child:
        config = self.image.config
        return Child("container", self.argv([*config["Entrypoint"], *(command or config["Cmd"])]), folder)

    def files(self) -> dict[str, tuple[int, int]]:
        """All that is not a folder: its owner and size."""
        found = {}
        for path in self.root.rglob("*"):
            if not path.is_dir():
                status = path.lstat()
                found[str(path.relative_to(self.root))] = (status.st_uid, status.st_size)
        return found


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"), ("storage", "localhost"))


@pytest.fixture(scope="module")
def image(tmp_path_factory, authority):
    image = Image(tmp_path_factory.mktemp("image"), authority.ca)
    yield image
    # Several copies of a large file; nothing that is still mounted is walked into.
    image.buildah("rm", "--all")
    assert str(image.folder) not in Path("/proc/self/mountinfo").read_text()
    shutil.rmtree(image.folder)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docker") / "dev"
    subprocess.run([DOCKER / "dev-secrets.sh", folder], check=True, env=clean_env(), capture_output=True)
    return folder


def program(child: Child) -> int:
    """The process id of the proxy below what runs the container."""
    parents, found = {}, []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (process / "status").read_text(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(process.name)] = int(re.search(r"^PPid:\s+(\d+)", status, re.M)[1])
        if command.split(b"\0")[:2] == [b"/s3cloak", b"serve"]:
            found.append(int(process.name))

    def is_below(pid: int) -> bool:
        return pid == child.pid or (pid in parents and is_below(parents[pid]))

    (pid,) = filter(is_below, found)
    return pid


def test_it_holds_the_program_and_nothing_else(image):
    config = image.config
    assert config["User"] == f"{NOBODY}:{NOBODY}" and config["Entrypoint"] == ["/s3cloak"]
    assert config["StopSignal"] == "SIGTERM" and set(config["ExposedPorts"]) == {"9000/tcp", "9001/tcp"}
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "/s3cloak", "health"]
    files = image.container().files()
    assert set(files) == {"s3cloak", "etc/ssl/certs/ca-certificates.crt"}
    assert {owner for owner, _ in files.values()} == {NOBODY}


def test_it_serves_as_compose_starts_it(image, authority, secrets, tmp_path):
    """Names are resolved and certificates checked with nothing but what the image holds. Ports become free ones of loopback, and the
    storage speaks TLS; the rest of the files stays as it is."""
    values = dict(line.split("=", 1) for line in (secrets / "env").read_text().splitlines())
    service = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["s3cloak"]
    storage = backends.versitygw(tmp_path / "storage", authority, values["STORAGE_ACCESS_KEY"], values["STORAGE_SECRET_KEY"])
    kes, kes_port = start_kes(secrets, values, tmp_path / "kes")
    http, admin = free_port(), free_port()
    text = (DOCKER / "s3cloak.yaml").read_text()
    for old, new in [
        ("0.0.0.0:9000", f"127.0.0.1:{http}"),
        ("0.0.0.0:9001", f"127.0.0.1:{admin}"),
        ("https://kes:7373", f"https://kes:{kes_port}"),
        ("http://storage:7070", f"https://storage:{storage.port}"),
    ]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    config = tmp_path / "config.yaml"
    config.write_text(text)
    own = {"./s3cloak.yaml": config, "./dev/ca.crt": secrets / "ca.crt"}
    mounts = []
    for mount in service["volumes"]:
        source, rest = mount.split(":", 1)
        own[source].chmod(0o644)
        mounts.append(f"{own[source]}:{rest}")
    environment = {name: values[name] for name in service["environment"]}
    container = image.container(mounts, environment)
    health = image.config["Healthcheck"]["Test"][1:]
    assert container.run(health).returncode == 1, "nobody answers yet"
    # With the places of what is mounted.
    before = container.files()
    child = container.start(tmp_path)
    try:
        child.wait_until(lambda: listens(admin))
        child.wait_until(lambda: container.run(health).returncode == 0)
        pid = program(child)
        status = Path(f"/proc/{pid}/status").read_text()
        for line in (f"Uid:\t{NOBODY}", f"Gid:\t{NOBODY}", "CapEff:\t0000000000000000"):
            assert line in status
        client = backends.client(f"http://127.0.0.1:{http}", values["CLIENT_ACCESS_KEY"], values["CLIENT_SECRET_KEY"])
        client.create_bucket(Bucket="data")
        plain = noise(3_000_000)
        client.put_object(Bucket="data", Key="new", Body=plain)
        assert client.get_object(Bucket="data", Key="new")["Body"].read() == plain
        stored = storage.client().get_object(Bucket="data", Key="new")["Body"].read()
        assert len(stored) > len(plain) and plain[:64] not in stored
        # Its standard output is another user's, and cannot be opened by name.
        assert '"operation":"PutObject"' in child.log.read_text()
        # What runs the container ends with the proxy's code, unless it is signalled before it could.
        os.kill(pid, signal.SIGTERM)
        code = child.ended()
    finally:
        child.stop()
        kes.stop()
        storage.stop()
    assert code == 0 and "every request is answered" in child.log.read_text()
    assert container.files() == before, "nothing is written into its root"


def start_kes(secrets: Path, values: dict, folder: Path) -> tuple[Child, int]:
    """The key service with KES's configuration of the compose file; only the folders that hold its files are others."""
    text, port = (DOCKER / "kes" / "fs.yaml").read_text(), free_port()
    for old, new in [
        ("/etc/kes/server.key", secrets / "kes.key"),
        ("/etc/kes/server.crt", secrets / "kes.crt"),
        ("/var/lib/kes/keys", folder / "keys"),
    ]:
        assert text.count(old) == 1, old
        text = text.replace(old, str(new))
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text(text)
    environment = clean_env(S3CLOAK_IDENTITY=values["S3CLOAK_IDENTITY"])
    child = Child("kes", [str(KES), "--config", str(config), "--listen", f"127.0.0.1:{port}"], folder, environment)
    child.wait_until(lambda: listens(port))
    return child, port


def test_the_demo_keeps_its_data_in_the_volume(image, tmp_path):
    service = yaml.safe_load((DOCKER / "compose.demo.yaml").read_text())["services"]["s3cloak"]
    port = free_port()
    words = [re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", word) for word in service["command"]]
    words = [word.replace("0.0.0.0:9000", f"127.0.0.1:{port}") for word in words]
    (volume,) = service["volumes"]
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)
    container = image.container([f"{data}:{volume.split(':')[1]}"])
    child = container.start(tmp_path, words)
    try:
        child.wait_until(lambda: listens(port))
        client = backends.client(f"http://127.0.0.1:{port}", "demo", "demo-secret")
        client.create_bucket(Bucket="data")
        client.put_object(Bucket="data", Key="a", Body=b"hello")
        assert client.get_object(Bucket="data", Key="a")["Body"].read() == b"hello"
    finally:
        child.stop()
    kept = [path for path in data.rglob("*") if path.is_file()]
    assert kept and all(path.stat().st_uid == NOBODY for path in kept)
    assert not any(b"hello" in path.read_bytes() for path in kept)
