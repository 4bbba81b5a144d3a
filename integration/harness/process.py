"""Child processes: started with their log in a file, waited for until they answer, and ended by their own id alone."""

import atexit
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TOOLS = Path(os.environ.get("S3CLOAK_TOOLS", Path(__file__).parents[2] / ".tools"))
# Proxies and profiles of whoever runs the tests must not steer them.
FOREIGN = ("AWS_", "RCLONE_", "S3CLOAK_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")


def clean_env(**extra: str) -> dict[str, str]:
    """The environment for children: ours, less what would steer S3 clients, and what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, **extra}


def tool(name: str) -> str:
    """The path of a pinned test tool."""
    for folder in ("venv/bin", "bin"):
        path = TOOLS / folder / name
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"{name} is not among the test tools in {TOOLS}; run `make tools`")


# Handed out below the ephemeral range, so that no outgoing connection can take one between choice and use; xdist workers
# draw from ranges of their own.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_first = int(os.environ.get("S3CLOAK_TEST_PORTS", "18500")) + 150 * _worker
_next = _first


def free_port() -> int:
    """A loopback port that nothing listens on and that this run has not handed out."""
    global _next
    for _ in range(1000):
        port, _next = _next, _next + 1 if _next < _first + 149 else _first
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


class Child:
    """One running program. Its standard output and error go to `log`."""

    def __init__(self, name: str, argv: list[str], folder: Path, env: dict[str, str] | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = folder / f"{name}.log"
        self._out = open(self.log, "ab")
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=env if env is not None else clean_env(),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def wait_until(self, ready, seconds: float = 60.0) -> None:
        """Polls `ready()` until it is true; fails with the log if the child ends or time runs out."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} was not ready after {seconds} s:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, size: int = 6000) -> str:
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def ended(self, seconds: float = 60.0) -> int:
        """The exit code of what is ending by itself, waited for: whoever signals it meanwhile changes that code."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{self.name} did not end in {seconds} s:\n{self.tail()}") from None
        self.stop()
        return code

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it and what it started; kills it after ten seconds. So the code tells how it ended only where that is sure
        to be enough: else signal it, and wait with `ended`."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, how)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)
        atexit.unregister(self.stop)
        self._out.close()
        return self._process.returncode


def listens(port: int) -> bool:
    """Whether something accepts connections on that loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
