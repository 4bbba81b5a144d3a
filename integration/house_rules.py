"""House rules that no compiler checks: who may name which library, file headers, file lengths, and what never stands in a file.

Run by `make check`; needs only Python's standard library, git and cargo. Prints every breach with its file and line.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 500  # lines of a production file, test modules cut off

# A pure crate: no runtime, no sockets, no HTTP.
PURE = "object-format"
IMPURE = re.compile(r"^(tokio|hyper|http|reqwest|pingora|futures|async-|mio|socket2|rustls)")

# (what, pattern in code, where it is allowed, why)
CONFINED = [
    ("pingora", r"\bpingora\w*\s*::|\b(use|extern crate) pingora", ("proxy/src/gateway/", "bench/"), "only the gateway serves clients"),
    ("reqwest", r"\breqwest\s*::|\buse reqwest", ("kms-client/",), "only the key client speaks JSON over HTTP"),
    (
        "tokio::spawn",
        r"\btokio::spawn\s*\(",
        ("proxy/src/audit.rs", "proxy/src/gateway/", "proxy/src/keys/", "proxy/src/backend/", "proxy/src/demo/", "proxy/tests/", "kms-client/", "bench/"),
        "a request's work gets a task of its own by `audit::spawn`, so that the keys it uses stay noted of that request",
    ),
    ("struct Verified", r"\bstruct Verified\b", ("proxy/src/auth/verify.rs",), "only the verifier vouches for a request"),
    ("struct SignedRequest", r"\bstruct SignedRequest\b", ("proxy/src/auth/sign.rs",), "only the signer makes what goes to a backend"),
    ("Verified { ... }", r"^(?!.*(->|\b(impl|struct|for)\b)).*\bVerified\s*\{", ("proxy/src/auth/verify.rs",), "only the verifier vouches for a request"),
    ("SignedRequest { … }", r"^(?!.*(->|\b(impl|struct|for)\b)).*\bSignedRequest\s*\{", ("proxy/src/auth/sign.rs",), "only the signer makes what goes to a backend"),
]

# Types whose fields stay private, so that nobody else can make one.
SEALED = {"Verified": "proxy/src/auth/verify.rs", "SignedRequest": "proxy/src/auth/sign.rs"}

# In any file: paths of one machine, and hosts of package registries.
UNSPOKEN = [
    (re.compile(r"(?<![\w*/.-])/(work|root|home)/[\w.]"), "a path of one machine"),
    (re.compile(r"pypi\.org|python[h]osted|static\.crates\.io|index\.crates\.io|proxy\.golang\.org|registry\.npm[j]s|deb\.debian\.org"), "a registry's host"),
]
UNREAD = {"Cargo.lock"}


def tracked() -> list[str]:
    """Files under version control and new ones that are not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    return sorted({name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).is_file()})


def is_test(name: str) -> bool:
    """Whether a Rust file holds tests alone: by its name, or because its parent declares it under `#[cfg(test)]`."""
    path = Path(name)
    if "tests" in path.parts or "fuzz" in path.parts or path.stem == "tests" or path.stem.endswith("_tests"):
        return True
    module = path.parent.name if path.stem == "mod" else path.stem
    folder = path.parent.parent if path.stem == "mod" else path.parent
    declaration = re.compile(rf"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:pub(?:\([a-z ]+\))? )?mod {module};")
    parents = [folder / "mod.rs", folder / "lib.rs", folder / "main.rs", folder.with_suffix(".rs")]
    return any((ROOT / parent).is_file() and declaration.search((ROOT / parent).read_text()) for parent in parents)


def without_tests(lines: list[str]) -> list[tuple[int, str]]:
    """Lines with their numbers, less every item under `#[cfg(test)]`."""
    kept, position = [], 0
    while position < len(lines):
        if re.match(r"\s*#\[cfg\((all\()?test\b", lines[position]):
            indent = len(lines[position]) - len(lines[position].lstrip())
            while position < len(lines) and lines[position].lstrip().startswith("#["):
                position += 1
            # rustfmt ends a one-line item with `;` or `}`, and closes any other with a brace at the indent it began at.
            if not re.search(r"(;|\{.*\})\s*$", lines[position]):
                while position < len(lines) and lines[position] != " " * indent + "}":
                    position += 1
            position += 1
            continue
        kept.append((position + 1, lines[position]))
        position += 1
    return kept


def code_of(line: str) -> str:
    """A line without its comment and without what its strings say."""
    return re.sub(r"(^|\s)//.*$", "", re.sub(r'"(\\.|[^"\\])*"', '""', line))


def rust_breaches(name: str, text: str) -> list[str]:
    lines = text.splitlines()
    found = []
    if not text.startswith("//!"):
        found.append(f"{name}:1: a file opens with `//!`: what lives here, and what must not")
    production = [] if is_test(name) else without_tests(lines)
    if len(production) > LONGEST:
        found.append(f"{name}: {len(production)} lines; split what is over {LONGEST}")
    for number, line in production:
        if re.search(r"\.unwrap\(\)", code_of(line)):
            found.append(f"{name}:{number}: unwrap outside tests; use `?`, or an expect that says why it cannot fire")
    for number, line in enumerate(lines, 1):
        for what, pattern, allowed, why in CONFINED:
            if re.search(pattern, code_of(line)) and not name.startswith(allowed):
                found.append(f"{name}:{number}: {what}: {why}")
    return found


def sealed_breaches() -> list[str]:
    found = []
    for what, name in SEALED.items():
        path = ROOT / name
        if not path.exists():
            found.append(f"{name}: missing; `{what}` lives there and nowhere else")
            continue
        match = re.search(rf"\bstruct {what}\b[^{{;(]*([{{(][^}}]*?[}})]);?", path.read_text())
        if not match:
            found.append(f"{name}: no `struct {what}` here")
        elif re.search(r"\bpub\b", match.group(1)):
            found.append(f"{name}: a public field in `{what}` lets others make one")
    return found


def purity_breaches() -> list[str]:
    tree = subprocess.run(
        ["cargo", "tree", "--package", PURE, "--edges", "normal", "--prefix", "none"], cwd=ROOT, check=True, capture_output=True
    )
    names = sorted({line.split()[0] for line in tree.stdout.decode().splitlines() if line.strip()})
    return [f"{PURE} depends on {name}: it is pure, without I/O and without async" for name in names if IMPURE.match(name)]


def main() -> int:
    breaches = []
    files = tracked()
    for name in files:
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue
        if name not in UNREAD:
            for number, line in enumerate(text.splitlines(), 1):
                breaches += [f"{name}:{number}: {what}" for pattern, what in UNSPOKEN if pattern.search(line)]
        if name.endswith(".rs"):
            breaches += rust_breaches(name, text)
    breaches += sealed_breaches()
    breaches += purity_breaches()
    for breach in breaches:
        print(breach)
    print(f"house rules: {len(files)} files, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
