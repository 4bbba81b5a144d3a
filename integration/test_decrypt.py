"""The standalone decryptor against every vector of the format, good and failing."""

import base64
import hashlib
import io
import json
import pathlib
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import decrypt

VECTORS = pathlib.Path(__file__).parent.parent / "object-format" / "tests" / "vectors"
FILES = sorted(VECTORS.glob("*.json"))


def load(path):
    return json.loads(path.read_text())


def pattern(seed, length):
    """SHA-256(seed, counter), block after block: the plaintext of the vectors."""
    blocks = (hashlib.sha256(seed.encode() + n.to_bytes(8, "big")).digest() for n in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def key_of(vector):
    return bytes.fromhex(vector["key"]), vector["binding"].encode(), bytes.fromhex(vector["object_key"])


def seal(recipe, vector):
    """Seals a body again, from its recipe and the DEK that its envelope wraps."""
    _, dek = decrypt.unwrap(vector["envelope"], *key_of(vector))
    plain = io.BytesIO(pattern(recipe["plain_seed"], sum(size for _, size, _ in recipe["segments"])))
    body = b""
    for number, size, salt in recipe["segments"]:
        key = AESGCM(decrypt.derive(dek, bytes.fromhex(salt), b"segment", number.to_bytes(2, "big")))
        count = max(1, -(-size // 65536))
        for index in range(count):
            nonce = bytes(3) + index.to_bytes(8, "big") + bytes([index + 1 == count])
            body += key.encrypt(nonce, plain.read(min(65536, size - index * 65536)), b"")
    body += bytes(recipe["padding"]) + bytes.fromhex(recipe["trailer"])
    assert hashlib.sha256(body).hexdigest() == recipe["sha256"]
    return body


def body_of(vector):
    if "file" in vector["body"]:
        return bytearray((VECTORS / vector["body"]["file"]).read_bytes())
    return bytearray(seal(vector["body"]["recipe"], vector))


def edited(vector):
    body = body_of(vector)
    for edit in vector.get("edits", []):
        ((name, how),) = edit.items()
        if name == "flip":
            body[how["bit"] // 8] ^= 1 << how["bit"] % 8
        elif name == "cut":
            del body[how["to"] :]
        elif name == "append":
            body += bytes.fromhex(how["hex"])
        elif name == "swap":
            a, b = (slice(how[x], how[x] + how["length"]) for x in "ab")
            body[a], body[b] = body[b], body[a]
        elif name == "graft":
            here = slice(how["at"], how["at"] + how["length"])
            body[here] = (VECTORS / (how["from"] + ".body")).read_bytes()[here]
        else:
            raise AssertionError(f"unknown edit {name}")
    return bytes(body)


def test_there_are_vectors():
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vector(path):
    vector, expect = load(path), load(path)["expect"]
    if "range" in vector:
        # A whole read: it fails where anything was touched, and else yields a plaintext with that range in it.
        good = not vector.get("edits")
    else:
        good = "fails_at" not in expect
    key, binding, name = key_of(vector)
    if expect.get("fails_at") != "envelope_syntax":
        head, *_ = decrypt.parse_envelope(vector["envelope"])
        if (decrypt.MODES[head[2]] == "SSE-C") != (vector["key_role"] == "customer"):
            # The decryptor takes the key's role from the envelope's mode, so it cannot be given a wrong one.
            assert not good
            return
    released = []
    reading = decrypt.decrypt(io.BytesIO(edited(vector)), vector["envelope"], key, binding, name)
    if not good:
        with pytest.raises(decrypt.Refused):
            released.extend(reading)
        # Never more than a prefix of what was sealed.
        if "envelope" not in expect.get("fails_at", ""):
            assert pattern(seed_of(vector), 6 << 20).startswith(b"".join(released))
        return
    plain = b"".join(reading)
    start, end = vector.get("range", (0, len(plain)))
    assert len(plain[start:end]) == expect["released_len"]
    assert hashlib.sha256(plain[start:end]).hexdigest() == expect["released_sha256"]


def seed_of(vector):
    body = vector["body"]
    return body["file"].removesuffix(".body") if "file" in body else body["recipe"]["plain_seed"]


def run(*arguments, stdin=""):
    command = [sys.executable, decrypt.__file__, *arguments]
    return subprocess.run(command, input=stdin.encode(), capture_output=True, check=False)


def test_command_line(tmp_path):
    vector = load(VECTORS / "single-three-chunks.json")
    key, binding, name = key_of(vector)
    stored, out = VECTORS / "single-three-chunks.body", tmp_path / "plain"
    where = ["--envelope", vector["envelope"], "--bucket", binding, "--key", name]
    for spelling in (key.hex(), base64.b64encode(key).decode()):
        assert run(stored, *where, "--data-key", spelling, "--output", out).returncode == 0
        assert hashlib.sha256(out.read_bytes()).hexdigest() == vector["expect"]["released_sha256"]
        out.unlink()
    piped = run(stored, *where, "--data-key", "-", stdin=key.hex())
    assert hashlib.sha256(piped.stdout).hexdigest() == vector["expect"]["released_sha256"]
    wrong = run(stored, *where, "--data-key", "00" * 32, "--output", out)
    assert wrong.returncode == 1 and b"not the key" in wrong.stderr and not out.exists()
    assert run(stored, *where, "--data-key", "00").returncode == 2
    shown = run("--show", "--envelope", vector["envelope"])
    assert shown.returncode == 0 and b"s3cloak-default" in shown.stdout and key.hex().encode() not in shown.stdout
