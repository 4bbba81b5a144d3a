"""A relay that knows HTTP: it counts the requests of a proxy to its storage and holds one, so that a test can end the proxy
at exactly that step."""

import socket
import threading


class Steps:
    """Forwards `port` to `target`, one request after the other on each connection.

    After `hold(n)` request number n (from 0) is delivered to the storage and its answer is kept from the proxy; `held` is set
    then. Nothing that comes later is delivered until `release()`.
    """

    def __init__(self, target: int):
        self.target = target
        self.seen: list[str] = []
        self.held = threading.Event()
        self._at: int | None = None
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, at: int) -> None:
        with self._lock:
            self.seen, self._at = [], at
            self.held.clear()
            self._go.clear()

    def release(self) -> None:
        with self._lock:
            self._at = None
            self._go.set()

    def close(self) -> None:
        self.release()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(("127.0.0.1", self.target)) as server:
                asks, answers = client.makefile("rb"), server.makefile("rb")
                while head := _head(asks):
                    line = head.split(b"\r\n", 1)[0].decode("latin-1")
                    with self._lock:
                        at, number = self._at, len(self.seen)
                        late = at is not None and number > at
                        self.seen.append(line)
                    if late:
                        self._go.wait(60)
                        return
                    server.sendall(head)
                    _copy(asks, _length(head), server)
                    answer = _head(answers)
                    if at == number:
                        self.held.set()
                        self._go.wait(60)
                        return
                    client.sendall(answer)
                    if not line.startswith("HEAD ") and not answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304")):
                        if b"transfer-encoding: chunked" in answer.lower():
                            _copy_chunks(answers, client)
                        else:
                            _copy(answers, _length(answer), client)
        except OSError:
            pass


def _head(stream) -> bytes:
    """Everything up to and with the empty line; nothing at the end of the stream."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _copy(source, size: int, sink: socket.socket) -> None:
    while size > 0:
        piece = source.read1(min(size, 65536))
        if not piece:
            raise OSError("cut short")
        sink.sendall(piece)
        size -= len(piece)


def _copy_chunks(source, sink: socket.socket) -> None:
    while True:
        line = source.readline()
        sink.sendall(line)
        size = int(line.split(b";")[0], 16)
        _copy(source, size + 2 if size else 0, sink)
        if size == 0:
            while line := source.readline():
                sink.sendall(line)
                if line == b"\r\n":
                    return
