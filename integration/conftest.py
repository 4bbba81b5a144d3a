"""Fixtures: a stack is one storage server with the proxy in front; each stack lives once per run, on one worker.

S3CLOAK_DIRECT=1 points the clients at the storage itself: it shows what a storage server does without the proxy.
"""

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from harness import backends
from harness.backends import Backend
from harness.kes import Kes
from harness.pki import Pki
from harness.proxy import CLIENT, Cloak, Demo
from harness.wire import Keys, Request, path_of

# boto3 in this process must not be steered from outside either.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]

DIRECT = bool(os.environ.get("S3CLOAK_DIRECT"))
STORAGE = ["seaweedfs", "versitygw"]
ALL = STORAGE if DIRECT else [*STORAGE, "demo"]


@dataclass
class Stack:
    """What a test talks to: the proxy, and the storage behind it where that has an endpoint of its own."""

    name: str
    proxy: Cloak | Demo
    storage: Backend | None
    kes: Kes | None
    keys: Keys = CLIENT

    @property
    def endpoint(self) -> str:
        return self.proxy.endpoint

    def client(self, **options):
        return self.proxy.client(**options)

    def request(self, method: str, bucket: str, key: str | bytes = b"", **fields) -> Request:
        """A raw request to the proxy, signed with the full client's keys unless told otherwise."""
        fields.setdefault("keys", self.keys)
        fields.setdefault("endpoint", self.endpoint)
        fields.setdefault("path", path_of(bucket, key))
        return Request(method=method, **fields)


class Direct:
    """In place of the proxy: the storage itself."""

    pki = None

    def __init__(self, storage: Backend):
        self.endpoint, self.client, self.storage = storage.endpoint, storage.client, storage

    def stop(self) -> None:
        pass


def pytest_generate_tests(metafunc):
    if "stack" in metafunc.fixturenames:
        names = ALL
        if "storage" in metafunc.fixturenames:
            names = STORAGE
        if "kes" in metafunc.fixturenames:
            names = [name for name in ALL if name == "seaweedfs"]
        if "embedded" in metafunc.fixturenames:
            names = [name for name in ALL if name not in STORAGE]
        marks = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]
        metafunc.parametrize("stack", marks, indirect=True, scope="session")


@pytest.fixture(scope="session")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def stack(request, tmp_path_factory, pki):
    """SeaweedFS takes its keys from the key service, versitygw from a folder of keys; the demo brings its own."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    storage = kes = None
    try:
        if request.param == "demo":
            proxy = Demo(folder)
        else:
            storage = backends.STARTERS[request.param](folder / "storage")
            if DIRECT:
                proxy = Direct(storage)
                yield Stack(request.param, proxy, storage, None, Keys(storage.access, storage.secret))
                return
            if request.param == "seaweedfs":
                kes = Kes(folder / "kes")
                keys = kes.config()
            else:
                keys = {"services": {"local": {"type": "local", "path": str(folder / "keys")}}}
            proxy = Cloak(folder / "proxy", storage.endpoint, keys, pki)
        yield Stack(request.param, proxy, storage, kes)
        proxy.stop()
    finally:
        for part in (kes, storage):
            if part:
                part.stop()


@pytest.fixture(scope="session")
def storage(stack) -> Backend:
    """The storage behind the proxy; asking for it keeps a test to the stacks whose storage has an endpoint."""
    return stack.storage


@pytest.fixture(scope="session")
def kes(stack) -> Kes:
    """The key service; asking for it keeps a test to the stack that has one."""
    return stack.kes


@pytest.fixture(scope="session")
def embedded(stack) -> Demo:
    """The demo; asking for it keeps a test to that."""
    return stack.proxy


@pytest.fixture(scope="session")
def raw(storage):
    """boto3 straight to the storage."""
    return storage.client()


@pytest.fixture(scope="session")
def behind(stack):
    """boto3 to what stands behind the proxy, or, for the demo, through it."""
    return stack.storage.client() if stack.storage else stack.client()


@pytest.fixture(scope="session")
def s3(stack):
    """boto3 through the proxy."""
    return stack.client()


@pytest.fixture(scope="session")
def buckets(s3) -> dict[str, str]:
    """One bucket of each kind, made through the proxy."""
    names = {kind: f"{kind}-main" for kind in ("data", "opaque", "legacy")}
    for name in names.values():
        s3.create_bucket(Bucket=name)
    return names


@pytest.fixture(scope="session")
def bucket(buckets) -> str:
    return buckets["data"]


_count = itertools.count()


@pytest.fixture
def prefix(request) -> str:
    """A key prefix of this test's own."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_")).strip("-")
    return f"{words}-{next(_count)}/"


@pytest.fixture
def versioned(s3) -> str:
    """A bucket of this test's own that keeps versions."""
    name = f"versions-{os.urandom(4).hex()}"
    s3.create_bucket(Bucket=name)
    try:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    except ClientError:
        pytest.skip("this storage has no versions")
    if s3.get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
        pytest.skip("this storage has no versions")
    return name


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of the proxy's log."""
    outcome = yield
    report = outcome.get_result()
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and stack is not None and hasattr(stack.proxy, "child"):
        report.sections.append(("proxy log", stack.proxy.child.tail(5000)))
