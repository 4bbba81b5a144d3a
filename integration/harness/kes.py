"""A key service for a test run: the KES-compatible test server, or an external KES.

An external one is named by S3CLOAK_TEST_KES_ENDPOINT, _API_KEY and _CA (a PEM file; left out, the system's roots), and
must allow the keys `s3cloak-default` and `other-key` to be created and used. Tests that stop the key service always start their own.
"""

import base64
import json
import os
import re
import secrets
import ssl
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .process import Child, clean_env, free_port, listens

BINARY = Path(os.environ.get("KES_TESTD_BIN", Path(__file__).parents[2] / "target/debug/kes-testd"))
# Read before the environment of children is cleaned of it.
EXTERNAL = {name: os.environ.get(f"S3CLOAK_TEST_KES_{name}") for name in ("ENDPOINT", "API_KEY", "CA")}

# Beside the deployment's own, which the proxy makes.
OTHER = "other-key"


class Kes:
    """A running key service. `own=True` starts the test server even where an external KES is named."""

    def __init__(self, folder: Path, own: bool = False):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.child = None
        if EXTERNAL["ENDPOINT"] and not own:
            self.endpoint, self.api_key = EXTERNAL["ENDPOINT"], EXTERNAL["API_KEY"]
            self.ca = Path(EXTERNAL["CA"]) if EXTERNAL["CA"] else None
            self._make(OTHER)
            return
        self.port = free_port()
        self.endpoint = f"https://127.0.0.1:{self.port}"
        self.api_key = "kes:v1:" + base64.b64encode(b"\0" + secrets.token_bytes(32)).decode()
        self.ca = folder / "kes-ca.pem"
        self.start()

    def start(self) -> None:
        """Starts, or starts again with the same keys, identity and certificates."""
        self.child = Child(
            "kes-testd",
            [
                str(BINARY), "--listen", f"127.0.0.1:{self.port}", "--data", str(self.folder / "data"),
                "--ca", str(self.ca), "--key", OTHER,
            ],
            self.folder,
            clean_env(KES_TESTD_API_KEY=self.api_key),
        )
        self.child.wait_until(lambda: self.ca.exists() and listens(self.port))

    def stop(self) -> None:
        if self.child:
            self.child.stop()

    def config(self) -> dict:
        """What goes under `keys:` in the proxy's configuration."""
        service = {"type": "kes", "endpoints": [self.endpoint], "api_key": self.api_key}
        if self.ca:
            service["ca"] = str(self.ca)
        return {"services": {"kes": service}}

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self._client_certificate())
        request = urllib.request.Request(f"{self.endpoint}{path}", data=body, method=method)
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return answer.read()

    def _make(self, name: str) -> None:
        """A key that an external service may have already, or have from somebody else alone."""
        try:
            self._ask("POST", f"/v1/key/create/{name}", b"")
        except urllib.error.HTTPError as error:
            if error.code not in (400, 403):
                raise

    def decrypt(self, name: str, sealed: str, context: bytes) -> str:
        """The plaintext of a sealed key, base64 in and out, as `kes key decrypt` prints it."""
        body = {"ciphertext": sealed, "context": base64.b64encode(context).decode()}
        self._asked = getattr(self, "_asked", 0) + 1
        return json.loads(self._ask("PUT", f"/v1/key/decrypt/{name}", json.dumps(body).encode()))["plaintext"]

    def calls(self) -> int:
        """How many requests the key service has answered, ours left out."""
        text = self._ask("GET", "/v1/metrics").decode()
        self._asked = getattr(self, "_asked", 0) + 1
        return sum(int(float(n)) for n in re.findall(r'^kes_http_request_success\S* (\S+)$', text, re.M)) - self._asked

    def _client_certificate(self) -> Path:
        """The API key as a client certificate, as KES wants to see it."""
        file = self.folder / "client.pem"
        if not file.exists():
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.api_key.removeprefix("kes:v1:"))[1:])
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "integration tests")])
            now = datetime.now(timezone.utc)
            certificate = (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(name)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(hours=1))
                .not_valid_after(now + timedelta(days=1))
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
                .sign(key, None)
            )
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            file.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
            file.chmod(0o600)
        return file
