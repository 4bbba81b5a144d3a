"""What lies in docker/: compose files and KES configurations hold to their formats, and the same processes start with the same
configuration files on loopback.
"""

import base64
import hashlib
import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness import backends
from harness.data import noise
from harness.kes import Kes
from harness.process import Child, clean_env, free_port, tool
from harness.proxy import BINARY

DOCKER = Path(__file__).resolve().parent.parent / "docker"
COMPOSE = sorted(DOCKER.glob("compose*.yaml"))
KES = sorted((DOCKER / "kes").glob("*.yaml"))

# KES ignores keys that it does not know, so a misspelt one is found here or never. For each store: mandatory, optional.
STORES = {
    "fs": ("fs", {"path"}, set()),
    "vault": (
        "vault",
        {"endpoint", "approle.id", "approle.secret"},
        {"engine", "version", "namespace", "prefix", "transit.key", "transit.engine", "approle.engine", "approle.namespace", "tls.ca", "tls.key",
         "tls.cert", "status.ping"},
    ),
    "aws-secrets-manager": (
        "aws.secretsmanager",
        {"endpoint", "region"},
        {"kmskey", "credentials.accesskey", "credentials.secretkey", "credentials.token"},
    ),
    "azure-key-vault": (
        "azure.keyvault",
        {"endpoint"},
        {"credentials.tenant_id", "credentials.client_id", "credentials.client_secret"},
    ),
    "gcp-secret-manager": (
        "gcp.secretmanager",
        {"project_id"},
        {"endpoint", "scopes", "credentials.client_email", "credentials.client_id", "credentials.private_key_id", "credentials.private_key"},
    ),
    "fortanix-sdkms": ("fortanix.sdkms", {"endpoint", "credentials.key"}, {"group_id", "tls.ca"}),
    "thales-ciphertrust": ("gemalto.keysecure", {"endpoint", "credentials.token"}, {"credentials.domain", "tls.ca"}),
    "entrust-keycontrol": (
        "entrust.keycontrol",
        {"endpoint", "vault_id", "box_id", "credentials.username", "credentials.password"},
        {"tls.ca"},
    ),
}
COMMON = {
    "address", "admin.identity", "tls.key", "tls.cert", "policy.s3cloak.allow", "policy.s3cloak.identities", "cache.expiry.any",
    "cache.expiry.unused", "cache.expiry.offline", "log.error", "log.audit",
}


def leaves(tree: dict, above: str = "") -> dict:
    """Every value by its path: `tls.key`."""
    found = {}
    for name, value in tree.items():
        path = f"{above}{name}"
        found.update(leaves(value, f"{path}.") if isinstance(value, dict) else {path: value})
    return found


def faults_of_kes(name: str, text: str) -> list[str]:
    """What KES would stumble over, or ignore."""
    prefix, mandatory, optional = STORES[name]
    found = leaves(yaml.safe_load(text))
    store = {path.removeprefix("keystore."): value for path, value in found.items() if path.startswith("keystore.")}
    faults = [f"{path} is unknown" for path in found if not path.startswith("keystore.") and path not in COMMON]
    faults += [f"{path} is missing" for path in COMMON if path not in found]
    known = {f"{prefix}.{path}" for path in mandatory | optional}
    faults += [f"keystore.{path} is unknown" for path in store if path not in known]
    faults += [f"keystore.{prefix}.{path} is missing" for path in mandatory if f"{prefix}.{path}" not in store]
    # Only a whole value is replaced.
    scalars = [entry for value in found.values() for entry in (value if isinstance(value, list) else [value])]
    faults += [f"{value} is not replaced" for value in scalars if "${" in str(value) and not re.fullmatch(r"\$\{\w+\}", value)]
    if name == "vault" and store.get("vault.version") != "v2":
        faults.append("on KV v1 the last of two creates wins")
    if not re.fullmatch(r"[\d.]+:\d+", found.get("address", "")):
        faults.append("the address is no IP address")
    return faults


def test_there_is_one_configuration_for_each_key_store():
    assert [file.stem for file in KES] == sorted(STORES)


@pytest.mark.parametrize("file", KES, ids=lambda file: file.stem)
def test_kes_configurations(file):
    text = file.read_text()
    assert faults_of_kes(file.stem, text) == []
    allowed = yaml.safe_load(text)["policy"]["s3cloak"]["allow"]
    assert not any("delete" in path or path in ("*", "/v1/*", "/v1/key/*") for path in allowed)


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("    unused: 5m\n", "", "cache.expiry.unused is missing"),
        ("    engine: kv", "    engin: kv", "keystore.vault.engin is unknown"),
        ("      id: ${VAULT_APPROLE_ID}\n", "", "keystore.vault.approle.id is missing"),
        ("version: v2", "version: v1", "on KV v1 the last of two creates wins"),
        ("address: 0.0.0.0", "address: kes", "the address is no IP address"),
        ("https://vault:8200", "https://${VAULT}:8200", "https://${VAULT}:8200 is not replaced"),
    ],
)
def test_a_wrong_kes_configuration_is_found(old, new, fault):
    text = (DOCKER / "kes" / "vault.yaml").read_text()
    assert old in text
    assert fault in faults_of_kes("vault", text.replace(old, new, 1))


def faults_of_compose(text: str, made: set[str], folder: Path) -> list[str]:
    """What Docker Compose would refuse, by the Compose Specification's own checker, and what an operator would stumble over."""
    file = folder / "compose.yaml"
    file.write_text(text)
    checked = subprocess.run([tool("cmd"), "-no-interpolation", file], env=clean_env(), capture_output=True, text=True, timeout=60)
    if checked.returncode != 0:
        return [checked.stderr.removeprefix(f"failed to load project: validating {file}:").strip()]
    tree = yaml.safe_load(text)
    faults = []
    volumes = tree.get("volumes") or {}
    for name, service in tree["services"].items():
        if ("image" in service) == ("build" in service):
            faults.append(f"{name} needs an image or a build")
        if re.search(r":latest$|^[^:]+$", service.get("image", "x:1")):
            faults.append(f"{name}: the image's version is not fixed")
        faults += [f"{name} waits for {other}" for other in service.get("depends_on", []) if other not in tree["services"]]
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                there = source.removeprefix("./dev/") in made or (DOCKER / source).is_file()
            else:
                there = source in volumes
            if not there:
                faults.append(f"{name}: no volume {source}")
    return faults


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """What the script for development makes."""
    folder = tmp_path_factory.mktemp("docker") / "dev"
    subprocess.run([DOCKER / "dev-secrets.sh", folder], check=True, env=clean_env(), capture_output=True)
    return folder


def environment(folder: Path) -> dict:
    return dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_files(file, secrets, tmp_path):
    text = file.read_text()
    assert faults_of_compose(text, {made.name for made in secrets.iterdir()}, tmp_path) == []
    wanted = set(re.findall(r"\$\{(\w+):\?run docker/up.sh\}", text))
    assert wanted <= set(environment(secrets))
    proxy = yaml.safe_load(text)["services"]["s3cloak"]
    assert proxy["read_only"] and proxy["cap_drop"] == ["ALL"] and all(port.startswith("127.0.0.1:") for port in proxy["ports"])


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("read_only:", "readonly:", "services.s3cloak.readonly false schema"),
        ("volumes:\n  keys:", "volume:\n  keys:", "additional properties 'volume' not allowed"),
        ("cap_drop: [ALL]", "cap_drop: ALL", "services.s3cloak.cap_drop must be a array"),
        ("[kes, storage]", "[kes, store]", "s3cloak waits for store"),
        ("./dev/ca.crt", "./dev/root.crt", "s3cloak: no volume ./dev/root.crt"),
        ("- keys:", "- keyz:", "kes: no volume keyz"),
    ],
)
def test_a_wrong_compose_file_is_found(old, new, fault, secrets, tmp_path):
    text = (DOCKER / "compose.yaml").read_text()
    assert old in text
    assert fault in faults_of_compose(text.replace(old, new, 1), {made.name for made in secrets.iterdir()}, tmp_path)


def test_the_script_makes_an_identity_that_fits_its_key(secrets):
    values = environment(secrets)
    raw = base64.b64decode(values["KES_API_KEY"].removeprefix("kes:v1:"), validate=True)
    assert len(raw) == 33 and raw[0] == 0
    public = Ed25519PrivateKey.from_private_bytes(raw[1:]).public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert values["S3CLOAK_IDENTITY"] == hashlib.sha256(spki).hexdigest()
    subprocess.run(["openssl", "verify", "-CAfile", secrets / "ca.crt", secrets / "kes.crt"], check=True, capture_output=True)
    assert stat.S_IMODE((secrets / "env").stat().st_mode) == 0o600
    assert stat.S_IMODE((secrets / "ca.key").stat().st_mode) == 0o600


def test_the_script_never_replaces_what_is_there(secrets):
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    subprocess.run([DOCKER / "dev-secrets.sh", secrets], check=True, env=clean_env(), capture_output=True)
    assert {file.name: file.read_bytes() for file in secrets.iterdir()} == before


@pytest.mark.parametrize("variant", ["s3cloak.yaml", "s3cloak.sidecar.yaml"])
def test_the_same_processes_start_with_the_same_file(variant, secrets, tmp_path):
    """Names of containers become ports on loopback; nothing else of the configuration changes."""
    values = environment(secrets)
    storage = backends.versitygw(tmp_path / "storage")
    kes = Kes(tmp_path / "kes", own=True)
    http, admin = free_port(), free_port()
    text = (DOCKER / variant).read_text()
    for old, new in [
        ("0.0.0.0:9000", f"127.0.0.1:{http}"),
        ("0.0.0.0:9001", f"127.0.0.1:{admin}"),
        ("https://kes:7373", kes.endpoint),
        ("http://storage:7070" if variant == "s3cloak.yaml" else "${STORAGE_ENDPOINT}", storage.endpoint),
        ("ca: ca.crt", f"ca: {kes.ca}"),
    ]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = tmp_path / "config.yaml"
    file.write_text(text)
    own = {"STORAGE_ACCESS_KEY": storage.access, "STORAGE_SECRET_KEY": storage.secret, "KES_API_KEY": kes.api_key}
    around = clean_env(**{**values, **own})

    def s3cloak(*arguments):
        return subprocess.run([BINARY, *arguments, "--config", file], env=around, capture_output=True, text=True, timeout=60)

    assert s3cloak("check-config").returncode == 0
    assert s3cloak("health").returncode == 1, "nobody answers yet"
    plain = noise(100_000)
    storage.client().create_bucket(Bucket="data")
    storage.client().put_object(Bucket="data", Key="old", Body=plain)
    child = Child("s3cloak", [str(BINARY), "serve", "--config", str(file)], tmp_path, around)
    try:
        child.wait_until(lambda: s3cloak("health").returncode == 0)
        assert s3cloak("health", "--live").stdout == "alive\n"
        client = backends.client(f"http://127.0.0.1:{http}", values["CLIENT_ACCESS_KEY"], values["CLIENT_SECRET_KEY"])
        client.put_object(Bucket="data", Key="new", Body=plain)
        assert client.get_object(Bucket="data", Key="new")["Body"].read() == plain
        audit = [json.loads(line) for line in child.log.read_text().splitlines() if '"decision"' in line]
        put = [entry for entry in audit if entry["operation"] == "PutObject"]
        assert [(entry["who"], entry["object"], entry["keys"], entry["status"]) for entry in put] == [
            (values["CLIENT_ACCESS_KEY"], "new", ["kes/s3cloak-default"], 200)
        ]
        assert put[0]["from"].startswith("127.0.0.1:")
        stored = storage.client().get_object(Bucket="data", Key="new")["Body"].read()
        assert len(stored) > len(plain) and plain[:64] not in stored
        if variant == "s3cloak.sidecar.yaml":
            assert client.get_object(Bucket="data", Key="old")["Body"].read() == plain
        else:
            with pytest.raises(client.exceptions.ClientError):
                client.get_object(Bucket="data", Key="old")
    finally:
        child.stop()
        kes.stop()
        storage.stop()
