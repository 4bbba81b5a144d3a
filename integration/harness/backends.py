"""The storage servers that stand behind the proxy: how each starts, and how a test looks at what it stores."""

import json
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

from .pki import Pki
from .process import Child, clean_env, free_port, listens, tool

ACCESS = "BACKENDKEY0001"
SECRET = "backend-secret-that-only-the-proxy-knows"
REGION = "us-east-1"


def client(endpoint: str, access: str, secret: str, verify=None, **options):
    """A boto3 client that retries nothing, so that a test sees each answer."""
    settings = {
        "signature_version": "s3v4",
        "retries": {"max_attempts": 0, "mode": "standard"},
        "s3": {"addressing_style": "path"},
        "connect_timeout": 5,
        "read_timeout": 60,
        **options,
    }
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        verify=verify,
        config=Config(**settings),
    )


@dataclass
class Backend:
    """A running storage server with its own S3 endpoint."""

    name: str
    child: Child
    port: int
    folder: Path
    access: str = ACCESS
    secret: str = SECRET
    # Of its certificate, where it speaks TLS.
    ca: Path | None = None

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.ca else 'http'}://127.0.0.1:{self.port}"

    def client(self, **options):
        """boto3 straight to the storage, past the proxy."""
        return client(self.endpoint, self.access, self.secret, verify=self.ca and str(self.ca), **options)

    def stop(self) -> None:
        self.child.stop()


def _answers(port: int, access: str, secret: str, ca: Path | None = None) -> bool:
    if not listens(port):
        return False
    scheme = "https" if ca else "http"
    try:
        client(f"{scheme}://127.0.0.1:{port}", access, secret, verify=ca and str(ca)).list_buckets()
        return True
    except Exception:  # not up yet, whatever it says
        return False


def seaweedfs(folder: Path) -> Backend:
    """SeaweedFS: master, volume server, filer and S3 gateway in one process."""
    s3, *others = (free_port() for _ in range(11))
    flags = [
        f"-{name}={port}"
        for name, port in zip(
            (
                "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
                "s3.port.grpc", "admin.port", "admin.port.grpc", "s3.port.https",
            ),
            others,
        )
        if name != "s3.port.https"
    ]
    data = folder / "data"
    data.mkdir(parents=True)
    child = Child(
        "seaweedfs",
        [
            tool("weed"), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={s3}",
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false", "-master.telemetry=false",
            "-s3.allowDeleteBucketNotEmpty=false", *flags,
        ],
        folder,
        clean_env(AWS_ACCESS_KEY_ID=ACCESS, AWS_SECRET_ACCESS_KEY=SECRET),
    )
    child.wait_until(lambda: _answers(s3, ACCESS, SECRET))
    return Backend("seaweedfs", child, s3, data)


def versitygw(folder: Path, pki: Pki | None = None, access: str = ACCESS, secret: str = SECRET) -> Backend:
    """versitygw over a plain folder, whose files are the stored bytes; with `pki` it speaks TLS."""
    port = free_port()
    data, versions = folder / "data", folder / "versions"
    data.mkdir(parents=True)
    versions.mkdir()
    tls = ["--cert", str(pki.certificate), "--key", str(pki.key)] if pki else []
    child = Child(
        "versitygw",
        [
            tool("versitygw"), "--port", f"127.0.0.1:{port}", "--access", access, "--secret", secret, "--region", REGION,
            *tls, "--keep-alive", "posix", "--versioning-dir", str(versions), str(data),
        ],
        folder,
    )
    ca = pki and pki.ca
    child.wait_until(lambda: _answers(port, access, secret, ca))
    return Backend("versitygw", child, port, data, access, secret, ca)


STARTERS = {"seaweedfs": seaweedfs, "versitygw": versitygw}
