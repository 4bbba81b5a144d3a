"""A raw S3 client: SigV4 of its own over a plain socket, so that a test can send what no SDK would send."""

import base64
import hashlib
import hmac
import socket
import ssl
import struct
import time
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, urlsplit

EMPTY_SHA = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def path_of(bucket: str, key: str | bytes = b"") -> str:
    """The request path in SigV4's canonical encoding, each byte of the key as it is."""
    raw = key.encode() if isinstance(key, str) else key
    return f"/{bucket}/" + quote(raw, safe="/-_.~") if raw else f"/{bucket}"


def crc32(data: bytes) -> str:
    return base64.b64encode(struct.pack(">I", zlib.crc32(data))).decode()


def sha256_b64(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def md5_b64(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


@dataclass(frozen=True)
class Keys:
    access: str
    secret: str
    region: str = "us-east-1"
    service: str = "s3"

    def signing_key(self, day: str) -> bytes:
        return _mac(_mac(_mac(_mac(b"AWS4" + self.secret.encode(), day), self.region), self.service), "aws4_request")

    def scope(self, day: str) -> str:
        return f"{day}/{self.region}/{self.service}/aws4_request"


def canonical_query(query: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in sorted(query))


@dataclass
class Signature:
    """What a signed head leaves for its chunks to go on from."""

    value: str
    key: bytes
    stamp: str
    scope: str

    def next(self, kind: str, *hashes: str) -> "Signature":
        text = "\n".join([kind, self.stamp, self.scope, self.value, *hashes])
        return Signature(_mac(self.key, text).hex(), self.key, self.stamp, self.scope)

    def chunk(self, data: bytes) -> "Signature":
        return self.next("AWS4-HMAC-SHA256-PAYLOAD", EMPTY_SHA, hashlib.sha256(data).hexdigest())

    def trailer(self, lines: bytes) -> "Signature":
        return self.next("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines).hexdigest())


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool  # the body came to its declared end

    @property
    def code(self) -> str | None:
        """The S3 error code in an XML body."""
        start, end = self.body.find(b"<Code>"), self.body.find(b"</Code>")
        return self.body[start + 6 : end].decode() if 0 <= start < end else None

    @property
    def refused(self) -> bool:
        return self.status >= 400


class Broken(Exception):
    """The connection ended before an answer's head."""


@dataclass
class Request:
    """One request, signed on `send`; every part of it can be bent before."""

    endpoint: str
    method: str
    path: str
    keys: Keys | None
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    unsigned_headers: dict[str, str] = field(default_factory=dict)
    payload: str | None = None  # value of x-amz-content-sha256; None: the body's hash
    body: bytes = b""
    length: int | None = None  # Content-Length, if it is to differ from the body's
    when: datetime | None = None
    host: str | None = None
    ca: str | None = None
    seconds: float = 60.0
    bend_signature: bool = False

    def head(self) -> tuple[bytes, Signature | None]:
        """The request head on the wire, and the signature that chunks follow."""
        parts = urlsplit(self.endpoint)
        when = self.when or datetime.now(timezone.utc)
        stamp, day = when.strftime("%Y%m%dT%H%M%SZ"), when.strftime("%Y%m%d")
        payload = self.payload if self.payload is not None else hashlib.sha256(self.body).hexdigest()
        headers = {"host": self.host or parts.netloc, **{n.lower(): v for n, v in self.headers.items()}}
        signature = None
        if self.keys:
            headers |= {"x-amz-date": stamp, "x-amz-content-sha256": payload}
            names = ";".join(sorted(headers))
            lines = "".join(f"{n}:{' '.join(headers[n].split())}\n" for n in sorted(headers))
            canonical = "\n".join([self.method, self.path, canonical_query(self.query), lines, names, payload])
            scope = self.keys.scope(day)
            text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
            key = self.keys.signing_key(day)
            value = _mac(key, text).hex()
            signature = Signature(value, key, stamp, scope)
            shown = value[:-1] + ("0" if value[-1] != "0" else "1") if self.bend_signature else value
            headers["authorization"] = (
                f"AWS4-HMAC-SHA256 Credential={self.keys.access}/{scope}, SignedHeaders={names}, Signature={shown}"
            )
        headers |= {n.lower(): v for n, v in self.unsigned_headers.items()}
        if "transfer-encoding" not in headers and (self.body or self.length is not None or self.method in ("PUT", "POST")):
            headers["content-length"] = str(len(self.body) if self.length is None else self.length)
        query = canonical_query(self.query)
        lines = [f"{self.method} {self.path}{'?' + query if query else ''} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode(), signature

    def connect(self) -> socket.socket:
        parts = urlsplit(self.endpoint)
        plain = socket.create_connection((parts.hostname, parts.port), self.seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "https":
            return ssl.create_default_context(cafile=self.ca).wrap_socket(plain, server_hostname=parts.hostname)
        return plain

    def send(self, chunks=None, close_early: bool = False) -> Answer:
        """Sends head and body and reads the answer.

        `chunks(signature)` makes the body where that needs the head's signature; `length` must be set then.
        `close_early` shuts the sending side once the body is out, however long it was declared to be.
        """
        head, signature = self.head()
        body = chunks(signature) if chunks else self.body
        connection = self.connect()
        try:
            try:
                connection.sendall(head)
                for start in range(0, len(body), 1 << 16):
                    connection.sendall(body[start : start + (1 << 16)])
                if close_early:
                    connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused early; the answer may still be there
            return read_answer(connection, self.method)
        finally:
            connection.close()


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Reads one answer; says whether its body came to its declared end."""
    data = b""

    def more() -> bool:
        nonlocal data
        try:
            got = connection.recv(1 << 16)
        except (ConnectionResetError, ssl.SSLError):
            return False
        data += got
        return bool(got)

    while True:
        while b"\r\n\r\n" not in data:
            if not more():
                raise Broken(f"connection ended after {len(data)} bytes of the head")
        head, data = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status != 100:
            break
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"", True)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            while b"\r\n" not in data:
                if not more():
                    return Answer(status, headers, body, False)
            size_line, rest = data.split(b"\r\n", 1)
            size = int(size_line.split(b";")[0], 16)
            while len(rest) < size + 2:
                data = rest
                if not more():
                    return Answer(status, headers, body + rest[:size], False)
                rest = data
            body, data = body + rest[:size], rest[size + 2 :]
            if size == 0:
                return Answer(status, headers, body, True)
    if "content-length" in headers:
        length = int(headers["content-length"])
        while len(data) < length:
            if not more():
                return Answer(status, headers, data, False)
        return Answer(status, headers, data[:length], True)
    while more():
        pass
    return Answer(status, headers, data, True)


def frame_signed(signature: Signature, data: bytes, size: int = 65536, bend: int | None = None) -> tuple[bytes, Signature]:
    """aws-chunked with signed chunks, without the closing line; `bend` is the index of a chunk that gets a wrong signature."""
    out = b""
    pieces = [data[i : i + size] for i in range(0, len(data), size)] + [b""]
    for index, piece in enumerate(pieces):
        signature = signature.chunk(piece)
        shown = "0" * 64 if bend == index else signature.value
        out += f"{len(piece):x};chunk-signature={shown}\r\n".encode() + piece + (b"\r\n" if piece else b"")
    return out, signature


def frame_unsigned(data: bytes, size: int = 65536) -> bytes:
    """aws-chunked without signatures, the 0-chunk's line included."""
    out = b""
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        out += f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    return out + b"0\r\n"


def presign(endpoint: str, keys: Keys, method: str, path: str, seconds: int, when: datetime | None = None, query=()) -> tuple[str, list]:
    """The query of a presigned URL as pairs, and the whole URL."""
    when = when or datetime.now(timezone.utc)
    stamp, day = when.strftime("%Y%m%dT%H%M%SZ"), when.strftime("%Y%m%d")
    pairs = [
        *query,
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"{keys.access}/{keys.scope(day)}"),
        ("X-Amz-Date", stamp),
        ("X-Amz-Expires", str(seconds)),
        ("X-Amz-SignedHeaders", "host"),
    ]
    host = urlsplit(endpoint).netloc
    canonical = "\n".join([method, path, canonical_query(pairs), f"host:{host}\n", "host", UNSIGNED])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, keys.scope(day), hashlib.sha256(canonical.encode()).hexdigest()])
    pairs.append(("X-Amz-Signature", _mac(keys.signing_key(day), text).hex()))
    return f"{endpoint}{path}?{canonical_query(pairs)}", pairs


def hours_ago(hours: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(hours=hours)


def wait_for(check, seconds: float = 20.0):
    """Polls until `check()` gives something true, and gives that."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
