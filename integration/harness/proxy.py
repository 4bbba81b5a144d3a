"""The proxy under test: its configuration, its start, its log."""

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from . import backends
from .pki import Pki
from .process import Child, clean_env, free_port
from .wire import Keys

BINARY = Path(os.environ.get("S3CLOAK_BIN", Path(__file__).parents[2] / "target/debug/s3cloak"))

CLIENT = Keys("CLIENTKEY000001", "client-secret-known-to-the-proxy-alone")
READER = Keys("READERKEY000001", "reader-secret-known-to-the-proxy-alone")
NARROW = Keys("NARROWKEY000001", "narrow-secret-known-to-the-proxy-alone")

# Buckets by name: what is not said here is inherited from "*".
BUCKETS = {
    "*": {"backend": "default", "sse": "AES256", "etag": "md5", "unencrypted_objects": "reject"},
    "opaque-*": {"etag": "opaque"},
    "legacy-*": {"unencrypted_objects": "pass"},
}


def config(
    backend: str,
    keys: dict,
    http: int,
    https: int | None = None,
    pki: Pki | None = None,
    admin: int | None = None,
    access: str = backends.ACCESS,
    secret: str = backends.SECRET,
    region: str | None = None,
    **more,
) -> dict:
    """A whole configuration in front of one backend; `more` replaces or adds top-level keys."""
    listen = [{"address": f"127.0.0.1:{http}", "domains": ["s3.test"]}]
    if https and pki:
        tls = {"certificate": str(pki.certificate), "private_key": str(pki.key)}
        listen.append({"address": f"127.0.0.1:{https}", "tls": tls, "domains": ["s3.test"]})
    for listener in listen if region else []:
        listener["region"] = region
    everything = [{"buckets": ["*"], "actions": ["read", "write", "admin"], "keys": ["*"]}]
    return {
        "listen": listen,
        **({"admin": {"address": f"127.0.0.1:{admin}"}} if admin else {}),
        "backends": {
            "default": {
                "endpoint": backend,
                "region": backends.REGION,
                "access_key": access,
                "secret_key": secret,
                "system": {"bucket": "s3cloak-system"},
            }
        },
        "keys": {"default_key": "s3cloak-default", "create_missing": True, **keys},
        "credentials": [
            {"access_key": CLIENT.access, "secret_key": CLIENT.secret, "allow": everything},
            {
                "access_key": READER.access,
                "secret_key": READER.secret,
                "allow": [{"buckets": ["*"], "actions": ["read"]}],
            },
            {
                "access_key": NARROW.access,
                "secret_key": NARROW.secret,
                "allow": [{"buckets": ["data-*"], "prefixes": ["mine/"], "actions": ["read", "write"]}],
            },
        ],
        "buckets": BUCKETS,
        **more,
    }


class Cloak:
    """A running `s3cloak serve`."""

    def __init__(self, folder: Path, backend: str, keys: dict, pki: Pki | None = None, wait: bool = True, **more):
        self.http, self.admin = free_port(), free_port()
        self.https = free_port() if pki else None
        self.pki = pki
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "config.yaml"
        settings = config(backend, keys, self.http, self.https, pki, self.admin, **more)
        self.file.write_text(yaml.safe_dump(settings, sort_keys=False))
        self.start(wait)

    def start(self, wait: bool = True) -> None:
        """Starts, or starts again after `stop`; with `wait`, until it says that it is ready."""
        environment = clean_env(RUST_BACKTRACE="1")
        self.child = Child("s3cloak", [str(BINARY), "serve", "--config", str(self.file)], self.folder, environment)
        self.child.wait_until((lambda: self.probe("ready") == 200) if wait else (lambda: self.probe("live") == 200))

    def probe(self, what: str) -> int:
        """Status of `/live` or `/ready`; 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/{what}", timeout=2) as answer:
                return answer.status
        except urllib.error.HTTPError as answer:
            return answer.code
        except OSError:
            return 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def tls_endpoint(self) -> str:
        return f"https://localhost:{self.https}"

    def client(self, keys: Keys = CLIENT, tls: bool = False, **options):
        """boto3 through the proxy."""
        endpoint = self.tls_endpoint if tls else self.endpoint
        return backends.client(endpoint, keys.access, keys.secret, str(self.pki.ca) if tls else None, **options)

    def log(self) -> str:
        return self.child.log.read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        return self.child.stop(how)

    def end(self) -> int:
        """Asks it to end, as a supervisor does, and tells its exit code once it has."""
        os.kill(self.child.pid, signal.SIGTERM)
        return self.child.ended()


class Demo:
    """A running `s3cloak demo`: storage, keys and proxy in one process."""

    def __init__(self, folder: Path):
        self.http = free_port()
        self.pki = None
        self.data = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        self.child = Child(
            "s3cloak-demo",
            [
                str(BINARY), "demo", "--listen", f"127.0.0.1:{self.http}", "--data-dir", str(self.data),
                "--access-key", CLIENT.access, "--secret-key", CLIENT.secret,
            ],
            folder,
            clean_env(RUST_BACKTRACE="1"),
        )
        self.child.wait_until(lambda: backends._answers(self.http, CLIENT.access, CLIENT.secret))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def client(self, keys: Keys = CLIENT, tls: bool = False, **options):
        return backends.client(self.endpoint, keys.access, keys.secret, **options)

    def log(self) -> str:
        return self.child.log.read_text(errors="replace")

    def stop(self) -> int:
        return self.child.stop()
