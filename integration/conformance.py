"""Runs versitygw's own client-side suite straight against versitygw and through the proxy in front of it, and compares.

`make test-conformance` prints every test that passes straight and not through, with what it said. It is a report for people,
not a pass or fail: the suite also asks for things that the proxy refuses on purpose.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import backends
from harness.process import clean_env, tool
from harness.proxy import BUCKETS, Cloak

LINE = re.compile(r"(PASS|FAIL)\s+(?:\x1b\[0m)?(\w+)(?::? ?(.*))?")


def suite(folder: Path, endpoint: str, access: str, secret: str) -> dict[str, str]:
    """Name of each test, and what it failed with; empty where it passed."""
    folder.mkdir(parents=True)
    # Tests that make users call the program from the folder that they run in.
    shutil.copy(tool("versitygw"), folder / "versitygw")
    done = subprocess.run(
        ["./versitygw", "test", "--access", access, "--secret", secret, "--endpoint", endpoint, "full-flow", "--vs", "-p"],
        cwd=folder, env=clean_env(), stdin=subprocess.DEVNULL, capture_output=True, timeout=900,
    )
    text = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    (folder / "log").write_text(text)
    results = {}
    for line in text.splitlines():
        match = LINE.search(line)
        if match:
            results[match[2]] = match[3] or "failed" if match[1] == "FAIL" else ""
    return results


def differs_in_a_full_stop(fault: str) -> bool:
    """Whether a fault is about the last character of an error's message: S3 itself ends some with one and some without."""
    match = re.search(r"expected error message to be (.*), instead got (.*)$", fault)
    return bool(match) and match[1].rstrip(".") == match[2].rstrip(".")


def like_straight(keys: Path) -> dict:
    """Settings under which the two can be the same: the client is whom the storage knows as the owner, of one region, and
    strangers are left to the storage's own policies."""
    everything = [{"buckets": ["*"], "actions": ["read", "write", "admin"], "keys": ["*"]}]
    return {
        "keys": {"services": {"local": {"type": "local", "path": str(keys)}}},
        "credentials": [{"access_key": backends.ACCESS, "secret_key": backends.SECRET, "allow": everything}],
        "buckets": {"*": {**BUCKETS["*"], "anonymous": "backend"}},
        "region": backends.REGION,
    }


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="s3cloak-conformance-"))
    storage = backends.versitygw(folder / "storage")
    straight = suite(folder / "straight", storage.endpoint, storage.access, storage.secret)
    storage.stop()
    storage = backends.versitygw(folder / "storage-2")
    proxy = Cloak(folder / "proxy", storage.endpoint, **like_straight(folder / "keys"))
    through = suite(folder / "through", proxy.endpoint, storage.access, storage.secret)
    proxy.stop()
    storage.stop()
    worded = 0
    for name, fault in straight.items():
        if not fault and through.get(name, "not run"):
            print(f"{name}: {through.get(name, 'not run')}")
            worded += differs_in_a_full_stop(through.get(name, ""))
    print(f"{worded} of these differ in nothing but a full stop at the end of a message")
    for title, results in (("straight", straight), ("through", through)):
        print(f"{title}: {sum(not fault for fault in results.values())} of {len(results)} passed; logs in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
