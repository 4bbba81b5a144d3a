"""The process as operators handle it: it drains long transfers when told to stop, takes over changed certificates while
running, and leaves nothing on the disk of its host. Each test has a proxy of its own, in front of one storage server.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl

import pytest

from harness import backends
from harness.data import noise
from harness.kes import Kes
from harness.pki import Pki
from harness.process import listens
from harness.proxy import CLIENT, Cloak
from harness.wire import Request, path_of, read_answer, wait_for

pytestmark = pytest.mark.xdist_group("lifecycle")
BUCKET = "data-lifecycle"
# More than the sockets of both sides take in.
LONG = (16 << 20) + 77
CEILING = 60


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    storage = backends.versitygw(tmp_path_factory.mktemp("storage"))
    storage.client().create_bucket(Bucket=BUCKET)
    yield storage
    storage.stop()


@pytest.fixture
def start(tmp_path, storage):
    """Starts proxies, and ends those that are left."""
    started = []

    def start(drain: str = "5m", **more) -> Cloak:
        keys = {"services": {"local": {"type": "local", "path": str(tmp_path / "keys")}}}
        proxy = Cloak(tmp_path / f"proxy-{len(started)}", storage.endpoint, keys, limits={"drain": drain}, **more)
        started.append(proxy)
        return proxy

    yield start
    for proxy in started:
        proxy.stop(signal.SIGKILL)


def ask(proxy: Cloak, method: str, key: str, body: bytes = b"") -> Request:
    return Request(proxy.endpoint, method, path_of(BUCKET, key), CLIENT, body=body)


def slow_reader(proxy: Cloak, key: str) -> socket.socket:
    """A download whose client has read the first bytes and takes no more for now."""
    request = ask(proxy, "GET", key)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.settimeout(CEILING)
    connection.connect(("127.0.0.1", proxy.http))
    connection.sendall(request.head()[0])
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def rest_of(connection: socket.socket):
    """The answer whose first bytes `slow_reader` has taken."""

    class Prefixed:
        def __init__(self):
            self.first = b"HTTP/1.1 200"

        def recv(self, size: int) -> bytes:
            first, self.first = self.first, b""
            return first or connection.recv(size)

    return read_answer(Prefixed())


def admin(proxy: Cloak, path: str) -> tuple[int, bytes]:
    """Status and body of an admin endpoint."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=CEILING)
    connection.request("GET", f"/{path}")
    answer = connection.getresponse()
    return answer.status, answer.read()


def has_ended(proxy: Cloak) -> bool:
    return wait_for(lambda: proxy.child.exit_code() is not None, CEILING)


class TestDrain:
    def test_transfers_under_way_end_whole(self, start):
        proxy, data, other = start(), noise(LONG, "down"), noise(LONG, "up")
        assert ask(proxy, "PUT", "down", data).send().status == 200
        reader = slow_reader(proxy, "down")
        upload = ask(proxy, "PUT", "up", other)
        writer = upload.connect()
        writer.sendall(upload.head()[0] + other[: LONG // 2])
        idle = ask(proxy, "HEAD", "down")
        kept = idle.connect()
        kept.sendall(idle.head()[0])
        assert read_answer(kept, "HEAD").status == 200

        os.kill(proxy.child.pid, signal.SIGTERM)
        assert wait_for(lambda: not listens(proxy.http), CEILING), "nothing new is taken"
        assert kept.recv(1) == b"", "an idle connection holds up nothing"
        assert proxy.child.exit_code() is None
        status, told = admin(proxy, "ready")
        assert status == 503 and [reason["part"] for reason in json.loads(told)["reasons"]] == ["process"]
        assert admin(proxy, "live") == (200, b"alive\n"), "who is restarted now cuts transfers off"
        metrics = admin(proxy, "metrics")[1].decode()
        assert "\ns3cloak_ready 0\n" in metrics and "\ns3cloak_requests_in_flight 2\n" in metrics
        writer.sendall(other[LONG // 2 :])
        assert read_answer(writer).status == 200
        assert proxy.child.exit_code() is None and admin(proxy, "ready")[0] == 503, "one transfer is left"
        answer = rest_of(reader)
        assert answer.whole and answer.body == data
        assert has_ended(proxy) and proxy.child.exit_code() == 0
        assert "every request is answered" in proxy.log()

        proxy.start()
        assert ask(proxy, "GET", "up").send().body == other

    def test_its_time_has_an_end(self, start):
        """A client that takes nothing is cut off, and never sees a short answer as a whole one."""
        proxy, data = start(drain="1s"), noise(LONG, "down")
        assert ask(proxy, "PUT", "cut", data).send().status == 200
        assert ask(proxy, "PUT", "half", b"before").send().status == 200
        reader = slow_reader(proxy, "cut")
        upload = ask(proxy, "PUT", "half", data)
        writer = upload.connect()
        writer.sendall(upload.head()[0] + data[: LONG // 2])
        os.kill(proxy.child.pid, signal.SIGTERM)
        assert has_ended(proxy)
        assert "requests are cut off" in proxy.log()
        answer = rest_of(reader)
        assert not answer.whole and data.startswith(answer.body)
        proxy.start()
        assert ask(proxy, "GET", "half").send().body == b"before", "what was not sent whole is not stored"

    def test_an_interrupt_does_not_wait(self, start):
        proxy = start()
        assert ask(proxy, "PUT", "down", noise(LONG)).send().status == 200
        reader = slow_reader(proxy, "down")
        os.kill(proxy.child.pid, signal.SIGINT)
        assert has_ended(proxy)
        assert not rest_of(reader).whole


def shown(proxy: Cloak) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", proxy.https), CEILING) as plain:
        with context.wrap_socket(plain) as connection:
            return connection.getpeercert(binary_form=True)


def der(pki: Pki) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pki.certificate.read_text())


def test_changed_certificates_are_taken_while_running(start, tmp_path):
    pki, second = Pki(tmp_path / "first"), Pki(tmp_path / "second")
    proxy = start(pki=pki)
    before = der(pki)
    assert shown(proxy) == before
    request = Request(proxy.tls_endpoint, "HEAD", path_of(BUCKET, "nothing"), CLIENT, ca=str(pki.ca))
    open_before = request.connect()
    open_before.sendall(request.head()[0])
    assert read_answer(open_before, "HEAD").status == 404

    # Half of a pair is no certificate; the old one stays.
    shutil.copy(second.certificate, pki.certificate)
    assert wait_for(lambda: "TLS certificate not reloaded" in proxy.log(), CEILING)
    assert shown(proxy) == before
    shutil.copy(second.key, pki.key)
    assert wait_for(lambda: shown(proxy) == der(second), CEILING)
    assert "TLS certificate reloaded" in proxy.log()
    # Who was connected stays so, and clients that trust the new authority get in.
    open_before.sendall(request.head()[0])
    assert read_answer(open_before, "HEAD").status == 404
    assert Request(proxy.tls_endpoint, "HEAD", path_of(BUCKET, "nothing"), CLIENT, ca=str(second.ca)).send().status == 404


def test_nothing_is_left_on_the_disk(tmp_path, storage):
    """Data keys are in memory alone: the process has no file open but its log, and makes none where it runs."""
    kes = Kes(tmp_path / "kes", own=True)
    proxy = Cloak(tmp_path / "proxy", storage.endpoint, kes.config())
    try:
        for number in range(3):
            assert ask(proxy, "PUT", f"disk/{number}", noise((2 << 20) + number)).send().status == 200
            assert ask(proxy, "GET", f"disk/{number}").send().status == 200
        descriptors = f"/proc/{proxy.child.pid}/fd"
        targets = {os.path.realpath(f"{descriptors}/{number}") for number in os.listdir(descriptors)}
        files = {target for target in targets if os.path.isfile(target)}
        assert files == {str(proxy.child.log.resolve())}
        assert {file.name for file in proxy.folder.iterdir()} == {"config.yaml", "s3cloak.log"}
    finally:
        proxy.stop()
        kes.stop()
