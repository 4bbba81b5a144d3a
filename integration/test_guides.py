"""What the guides tell to write is right: every whole configuration in them, and in the Kubernetes manifests, has no fault."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from harness.process import clean_env, tool
from harness.proxy import BINARY

ROOT = Path(__file__).resolve().parent.parent
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
MANIFESTS = sorted((ROOT / "packaging" / "kubernetes").glob("*.yaml"))
VARIABLES = {f"{who}_{what}_KEY": f"{who}-{what}-key" for who in ("STORAGE", "CLIENT") for what in ("ACCESS", "SECRET")}
KES_API_KEY = "kes:v1:" + "A" * 44


def configurations() -> list:
    found = []
    for guide in GUIDES:
        blocks = re.findall(r"^```yaml\n(.*?)^```$", guide.read_text(), re.M | re.S)
        found += [pytest.param(block, id=f"{guide.stem}-{at}") for at, block in enumerate(blocks) if "listen:" in block]
    for manifest in MANIFESTS:
        for document in yaml.safe_load_all(manifest.read_text()):
            if document["kind"] == "ConfigMap":
                found.append(pytest.param(document["data"]["config.yaml"], id=manifest.stem))
    return found


def check(text: str, folder: Path) -> subprocess.CompletedProcess:
    file = folder / "config.yaml"
    file.write_text(text)
    environment = clean_env(**VARIABLES, KES_API_KEY=KES_API_KEY)
    return subprocess.run([BINARY, "check-config", "--config", file], env=environment, capture_output=True, text=True, timeout=60)


def test_there_are_guides_with_configurations():
    assert [guide.stem for guide in GUIDES] == ["containers", "kubernetes", "legacy-storage", "linux", "macos"]
    assert len(configurations()) >= 5


@pytest.mark.parametrize("text", configurations())
def test_configurations_have_no_fault(text, tmp_path):
    ca = tmp_path / "ca.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", tmp_path / "ca.key", "-out", ca, "-subj", "/CN=test"],
        check=True,
        capture_output=True,
    )
    assert text.count(", ca: ") == 1
    # The file is the reader's own.
    text = re.sub(r", ca: \S+ ", f", ca: {ca} ", text)
    done = check(text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check(text.replace("default_key", "defaultkey"), tmp_path).returncode == 64


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_lead_somewhere(guide):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", guide.read_text()) if "://" not in link]
    assert links and [link for link in links if not (guide.parent / link).exists()] == []


def seconds(time: str) -> int:
    """`5m` or `310s`."""
    return int(time[:-1]) * {"s": 1, "m": 60}[time[-1]]


def test_what_stops_the_proxy_gives_it_its_time():
    """A unit and the compose files, against the configurations that they start it with."""
    linux = next(c.values[0] for c in configurations() if c.id.startswith("linux"))
    (timeout,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.M)
    assert int(timeout) > seconds(yaml.safe_load(linux)["limits"]["drain"])
    for compose, config in [("compose.yaml", "s3cloak.yaml"), ("compose.sidecar.yaml", "s3cloak.sidecar.yaml")]:
        service = yaml.safe_load((ROOT / "docker" / compose).read_text())["services"]["s3cloak"]
        drain = yaml.safe_load((ROOT / "docker" / config).read_text())["limits"]["drain"]
        assert seconds(service["stop_grace_period"]) > seconds(drain), compose


def test_the_manifests_fit_together():
    documents = [d for manifest in MANIFESTS for d in yaml.safe_load_all(manifest.read_text())]
    by_kind = {d["kind"]: d for d in documents}
    assert set(by_kind) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    pod = by_kind["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert by_kind["Service"]["spec"]["selector"] == labels == by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    container = pod["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = yaml.safe_load(by_kind["ConfigMap"]["data"]["config.yaml"])
    assert config["listen"][0]["address"].endswith(f":{ports['s3']}") and config["admin"]["address"].endswith(f":{ports['admin']}")
    assert [port["targetPort"] for port in by_kind["Service"]["spec"]["ports"]] == ["s3"], "the admin port is not for clients"
    # Nothing is killed before its transfers had their time.
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > pause + seconds(config["limits"]["drain"])
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["spec"]["securityContext"]["runAsNonRoot"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["spec"]["volumes"]}


def faults_of_manifest(text: str, folder: Path) -> str:
    """What Kubernetes' own schemas say of it, fields that they do not know included."""
    file = folder / "manifest.yaml"
    file.write_text(text)
    done = subprocess.run(
        [tool("kubernetes-validate"), "--strict", "--quiet", file], env=clean_env(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode == 0) == (done.stdout + done.stderr == ""), done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.stem)
def test_the_manifests_hold_to_kubernetes_schemas(manifest, tmp_path):
    text = manifest.read_text()
    assert faults_of_manifest(text, tmp_path) == ""
    for old, new in [("readOnlyRootFilesystem", "readOnlyRoot"), ("replicas: 2", "replicas: two"), ("minAvailable", "minimum")]:
        assert text.count(old) == 1
        assert faults_of_manifest(text.replace(old, new), tmp_path) != "", new


UNIT = ROOT / "packaging" / "s3cloak.service"


def faults_of_unit(text: str, folder: Path) -> str:
    """What systemd says of it, with the tests' program in the place where it is installed."""
    file = folder / "s3cloak.service"
    file.write_text(text.replace("/usr/local/bin/s3cloak", str(BINARY)))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file]
    done = subprocess.run(command, env=clean_env(), capture_output=True, text=True, timeout=60)
    return done.stderr


def test_systemd_takes_the_unit(tmp_path):
    text = UNIT.read_text()
    assert faults_of_unit(text, tmp_path) == ""
    for old, new in [("ProtectSystem=strict", "ProtectSystem=strictly"), ("NoNewPrivileges", "NoPrivileges"), ("serve ", "\nserve ")]:
        assert old in text
        assert faults_of_unit(text.replace(old, new), tmp_path) != "", new


def test_the_unit_is_hardened(tmp_path):
    """By systemd's own measure, where 10 is open; above 2 it says so."""
    file = tmp_path / "s3cloak.service"
    file.write_text(UNIT.read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", file], env=clean_env(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_the_unit_names_commands_that_exist():
    unit = UNIT.read_text()
    commands = re.findall(r"^ExecStart(?:Pre)?=\S+ (\S+)", unit, re.M)
    assert commands == ["check-config", "serve"]
    for command in commands:
        assert subprocess.run([BINARY, command, "--help"], capture_output=True, timeout=60).returncode == 0
