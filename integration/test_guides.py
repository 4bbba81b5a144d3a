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


def by_kind(manifest: str) -> dict:
    documents = list(yaml.safe_load_all((ROOT / "packaging" / "kubernetes" / f"{manifest}.yaml").read_text()))
    found = {document["kind"]: document for document in documents}
    assert len(found) == len(documents)
    return found


def configurations() -> list:
    found = []
    for guide in GUIDES:
        blocks = re.findall(r"^```yaml\n(.*?)^```$", guide.read_text(), re.M | re.S)
        found += [pytest.param(block, id=f"{guide.stem}-{at}") for at, block in enumerate(blocks) if "backends:" in block]
    found.append(pytest.param(by_kind("s3cloak")["ConfigMap"]["data"]["config.yaml"], id="manifest"))
    return found


def check(text: str, folder: Path, **more: str) -> subprocess.CompletedProcess:
    file = folder / "config.yaml"
    file.write_text(text)
    environment = clean_env(**VARIABLES, KES_API_KEY=KES_API_KEY, **more)
    return subprocess.run([BINARY, "check-config", "--config", file], env=environment, capture_output=True, text=True, timeout=60)


def test_there_are_guides_with_configurations():
    assert [guide.stem for guide in GUIDES] == ["containers", "kubernetes", "legacy-storage", "linux", "macos"]
    assert len(configurations()) >= 5


def certificate(key: Path, file: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key, "-out", file, "-subj", "/CN=test"]
    subprocess.run(command, check=True, capture_output=True)


def with_own_ca(text: str, folder: Path) -> str:
    """The file that `ca` names is the reader's own."""
    certificate(folder / "ca.key", folder / "ca.crt")
    assert text.count(", ca: ") == 1
    return re.sub(r", ca: \S+ ", f", ca: {folder / 'ca.crt'} ", text)


@pytest.mark.parametrize("text", configurations())
def test_configurations_have_no_fault(text, tmp_path):
    text = with_own_ca(text, tmp_path)
    done = check(text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check(text.replace("default_key", "defaultkey"), tmp_path).returncode == 64


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_lead_somewhere(guide):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", guide.read_text()) if "://" not in link]
    assert links and [link for link in links if not (guide.parent / link).exists()] == []


def test_the_tls_listener_fits_the_credential_that_systemd_hands_over(tmp_path):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / "guides" / "linux.md").read_text(), re.M | re.S)
    (listener,) = [text for kind, text in blocks if kind == "yaml" and "tls:" in text]
    (whole,) = [text for kind, text in blocks if kind == "yaml" and "backends:" in text]
    plain = "listen:\n  - address: 0.0.0.0:9000\n"
    assert whole.count(plain) == 1 and listener.startswith(plain)
    text = with_own_ca(whole.replace(plain, listener), tmp_path)
    handed_over = tmp_path / "credentials"
    handed_over.mkdir()
    certificate(handed_over / "tls.key", tmp_path / "tls.crt")
    done = check(text, tmp_path, CREDENTIALS_DIRECTORY=str(handed_over))
    assert done.returncode == 0 and "(TLS)" in done.stdout, done.stdout + done.stderr
    assert check(text, tmp_path).returncode == 64
    assert check(text, tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path)).returncode == 64
    # systemd takes the lines of the drop-in, and they hand over a file of that name.
    (drop_in,) = [text for kind, text in blocks if kind == "ini"]
    assert drop_in.startswith("[Service]\nLoadCredential=tls.key:")
    unit = UNITS[0]
    assert faults_of_unit(unit, unit.read_text().replace("[Service]\n", drop_in), tmp_path) == ""
    assert faults_of_unit(unit, unit.read_text().replace("[Service]\n", drop_in.replace("=tls.key:", "=:")), tmp_path) != ""


def test_no_certificate_of_a_guide_expires_in_a_month():
    for guide in GUIDES:
        made = re.findall(r"kes identity new --key.*", guide.read_text())
        assert [command for command in made if "--expiry 8760h" not in command] == [], guide.stem


def test_kes_in_kubernetes_is_that_of_docker():
    kinds = by_kind("kes")
    assert set(kinds) == {"ConfigMap", "StatefulSet", "Service"}
    config = yaml.safe_load(kinds["ConfigMap"]["data"]["config.yaml"])
    assert config == yaml.safe_load((ROOT / "docker" / "kes" / "fs.yaml").read_text())
    pod = kinds["StatefulSet"]["spec"]["template"]
    assert kinds["Service"]["spec"]["selector"] == pod["metadata"]["labels"] == kinds["StatefulSet"]["spec"]["selector"]["matchLabels"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]["kes"]["image"]
    (port,) = kinds["Service"]["spec"]["ports"]
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    endpoint = f"https://{kinds['Service']['metadata']['name']}:{port['port']}"
    assert endpoint in by_kind("s3cloak")["ConfigMap"]["data"]["config.yaml"] and config["address"].endswith(f":{port['port']}")
    # What the configuration names is mounted, and nothing else is.
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in kinds["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert set(mounts) == set(volumes) | claims
    shown = {f"{mounts['tls']}/{item['path']}" for item in volumes["tls"]["secret"]["items"]}
    assert {config["tls"]["key"], config["tls"]["cert"]} == shown
    assert config["keystore"]["fs"]["path"].startswith(mounts["keys"] + "/") and container["args"][-1] == mounts["config"] + "/config.yaml"


def seconds(time: str) -> int:
    """`5m` or `310s`."""
    return int(time[:-1]) * {"s": 1, "m": 60}[time[-1]]


def test_what_stops_the_proxy_gives_it_its_time():
    """A unit and the compose files, against the configurations that they start it with."""
    linux = next(c.values[0] for c in configurations() if c.id.startswith("linux"))
    (timeout,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNITS[0].read_text(), re.M)
    assert int(timeout) > seconds(yaml.safe_load(linux)["limits"]["drain"])
    for compose, config in [("compose.yaml", "s3cloak.yaml"), ("compose.sidecar.yaml", "s3cloak.sidecar.yaml")]:
        service = yaml.safe_load((ROOT / "docker" / compose).read_text())["services"]["s3cloak"]
        drain = yaml.safe_load((ROOT / "docker" / config).read_text())["limits"]["drain"]
        assert seconds(service["stop_grace_period"]) > seconds(drain), compose


def test_the_manifests_fit_together():
    kinds = by_kind("s3cloak")
    assert set(kinds) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    pod = kinds["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert kinds["Service"]["spec"]["selector"] == labels == kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    container = pod["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = yaml.safe_load(kinds["ConfigMap"]["data"]["config.yaml"])
    assert config["listen"][0]["address"].endswith(f":{ports['s3']}") and config["admin"]["address"].endswith(f":{ports['admin']}")
    assert [port["targetPort"] for port in kinds["Service"]["spec"]["ports"]] == ["s3"], "the admin port is not for clients"
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


WRONG = {
    "s3cloak": [("readOnlyRootFilesystem", "readOnlyRoot"), ("replicas: 2", "replicas: two"), ("minAvailable", "minimum")],
    "kes": [("readOnlyRootFilesystem", "readOnlyRoot"), ("replicas: 1", "replicas: one"), ("secretKeyRef", "secretRef"), ("defaultMode", "mode")],
}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.stem)
def test_the_manifests_hold_to_kubernetes_schemas(manifest, tmp_path):
    text = manifest.read_text()
    assert faults_of_manifest(text, tmp_path) == ""
    for old, new in WRONG[manifest.stem]:
        assert text.count(old) == 1, old
        assert faults_of_manifest(text.replace(old, new), tmp_path) != "", new


UNITS = [ROOT / "packaging" / f"{name}.service" for name in ("s3cloak", "kes")]


def faults_of_unit(unit: Path, text: str, folder: Path) -> str:
    """What systemd says of it, with the tests' program in the place of the installed one."""
    file = folder / unit.name
    file.write_text(text.replace(f"/usr/local/bin/{unit.stem} ", f"{BINARY} "))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file]
    done = subprocess.run(command, env=clean_env(), capture_output=True, text=True, timeout=60)
    return done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(unit, tmp_path):
    text = unit.read_text()
    assert faults_of_unit(unit, text, tmp_path) == ""
    for old, new in [("ProtectSystem=strict", "ProtectSystem=strictly"), ("NoNewPrivileges", "NoPrivileges"), (" --config ", "\n--config ")]:
        assert old in text
        assert faults_of_unit(unit, text.replace(old, new), tmp_path) != "", new


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_is_hardened(unit, tmp_path):
    """By systemd's own measure, where 10 is open; above 2 it says so."""
    file = tmp_path / unit.name
    file.write_text(unit.read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", file], env=clean_env(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_the_unit_names_commands_that_exist():
    unit = UNITS[0].read_text()
    commands = re.findall(r"^ExecStart(?:Pre)?=\S+ (\S+)", unit, re.M)
    assert commands == ["check-config", "serve"]
    for command in commands:
        assert subprocess.run([BINARY, command, "--help"], capture_output=True, timeout=60).returncode == 0
