"""A TCP relay between the proxy and what stands behind it, which fails on demand."""

import socket
import struct
import threading


class Relay:
    """Forwards `port` to `target`. `mode` decides what happens to connections:

    pass      bytes go through
    refuse    connections are closed at once
    reset     closed with RST after `limit` bytes of answer
    stall     taken and never answered
    canned    the request is read up to its head's end, then `answer` is sent and the connection closed
    """

    def __init__(self, target: int):
        self.target = target
        self.mode = "pass"
        self.limit = 0
        self.answer = b""
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: str, limit: int = 0, answer: bytes = b"") -> None:
        """Switches, and cuts what is open, so that pooled connections meet the new mode too."""
        self.limit, self.answer, self.mode = limit, answer, mode
        with self._lock:
            for connection in self._open:
                _reset(connection)
            self._open.clear()

    def close(self) -> None:
        self.set("refuse")
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _keep(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def _serve(self, client: socket.socket) -> None:
        mode = self.mode
        self._keep(client)
        try:
            if mode == "refuse":
                _reset(client)
            elif mode == "stall":
                while client.recv(65536):
                    pass
            elif mode == "canned":
                head = b""
                while b"\r\n\r\n" not in head:
                    got = client.recv(65536)
                    if not got:
                        return
                    head += got
                client.sendall(self.answer)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(2)
                while client.recv(65536):
                    pass
            else:
                server = socket.create_connection(("127.0.0.1", self.target))
                self._keep(server)
                threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
                self._pump(server, client, self.limit if mode == "reset" else None)
        except OSError:
            pass
        finally:
            if mode != "pass" and mode != "reset":
                client.close()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        left = limit
        try:
            while True:
                got = source.recv(65536)
                if not got:
                    sink.shutdown(socket.SHUT_WR)
                    return
                if left is not None:
                    if len(got) > left:
                        sink.sendall(got[:left])
                        _reset(sink)
                        _reset(source)
                        return
                    left -= len(got)
                sink.sendall(got)
        except OSError:
            for end in (source, sink):
                try:
                    end.close()
                except OSError:
                    pass


def _reset(connection: socket.socket) -> None:
    """Closes with RST."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    try:
        connection.close()
    except OSError:
        pass
