#!/usr/bin/env python3
"""Opens one object as it lies on the backend, without s3cloak: object-format/SPEC.md in Python over `cryptography`.

It needs the stored body, the value of its metadata `x-amz-meta-s3cloak`, the bucket's and the object's name, and the
plaintext of the sealed bucket key, which any KES client can decrypt; `--show` prints what to give it. For SSE-C the
customer's key takes that place.
"""

import argparse
import base64
import os
import re
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = 1
CHUNK, TAG, ENTRY, FIXED = 65536, 16, 112, 400
MAGIC = b"\x89s3cloak object" + bytes([VERSION])
MODES = {1: "SSE-S3", 2: "SSE-KMS", 3: "SSE-C"}
SERVICE, KEY_NAME, SPELLING, SEALED_KEY, CONTEXT, SALT, COMMITMENT, WRAPPED = range(1, 9)


class Refused(Exception):
    """The object does not open: a wrong key or name, or bytes that were tampered with."""


def integer(data):
    return int.from_bytes(data, "big")


def framed(*fields):
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def derive(secret, salt, label, *fields, length=32):
    info = b"s3cloak/1/" + label + framed(*fields)
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def unseal(key, nonce, sealed, aad=b""):
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Refused("not authentic: a wrong key, bucket or name, or the object was tampered with") from None


def parse_envelope(value):
    """The four head bytes, the fields by tag, and all bytes before the wrapped part."""
    if len(value) > 2048 or not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise Refused("this is no envelope")
    raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    if raw[0] != VERSION:
        raise Refused(f"the envelope has format version {raw[0]}, and this program reads {VERSION}")
    fields, at = {}, 4
    while at < len(raw):
        tag, length = raw[at], integer(raw[at + 1 : at + 3])
        if tag <= max(fields, default=0) or tag > WRAPPED or at + 3 + length > len(raw):
            raise Refused("the envelope is malformed")
        fields[tag] = raw[at + 3 : at + 3 + length]
        at += 3 + length
    secrets = {1: 56, 2: 32}.get(raw[1])
    if secrets is None or raw[2] not in MODES or len(fields.get(WRAPPED, b"")) != secrets + TAG:
        raise Refused("the envelope is malformed")
    if len(fields.get(SALT, b"")) != 32 or len(fields.get(COMMITMENT, b"")) != 32:
        raise Refused("the envelope is malformed")
    return raw[:4], fields, raw[: -(secrets + TAG)]


def unwrap(value, key, binding, name):
    """The kind of object and what its envelope wraps. `key`, `binding` and `name` are bytes."""
    head, fields, bound = parse_envelope(value)
    role = b"customer" if MODES[head[2]] == "SSE-C" else b"bucket"
    both = derive(key, fields[SALT], b"wrap/" + role, length=64)
    if both[32:] != fields[COMMITMENT]:
        raise Refused("this is not the key that wrapped the object")
    return head[1], unseal(both[:32], bytes(12), fields[WRAPPED], framed(bound, binding, name))


def g(plain):
    """The length of a stored object of `plain` bytes."""
    return plain + TAG * -(-plain // CHUNK) + 512 + 128 * min(9999, plain // (5 << 20)) if plain else 0


def open_trailer(dek, read, total, kind):
    """The plaintext size and the segments (number, size, salt) of the table; none for a single PUT."""
    if total < 512:
        raise Refused("the object is cut short")
    fixed = read(total - FIXED, FIXED)
    salt, table_tag, footer, magic = fixed[:16], fixed[16:32], fixed[32:384], fixed[384:]
    if magic != MAGIC:
        raise Refused("the object does not end in the magic of this format")
    base, length = derive(dek, None, b"trailer"), total.to_bytes(8, "big")
    aad = b"s3cloak/1/footer" + length + salt + table_tag + magic
    footer = unseal(derive(base, salt, b"footer"), bytes(12), footer, aad)
    size, table_length = integer(footer[88:96]), integer(footer[100:104])
    if footer[0] != kind or total != (g(size) or 528):
        raise Refused("the footer is not one of such an object")
    table = b""
    if table_length:
        sealed = read(total - FIXED - table_length, table_length) + table_tag
        table = unseal(derive(base, salt, b"table"), bytes(12), sealed, b"s3cloak/1/table" + length)
    entries = [table[at : at + ENTRY] for at in range(0, len(table), ENTRY)]
    return size, [(integer(entry[:2]), integer(entry[2:8]), entry[8:24]) for entry in entries]


def open_segment(dek, number, size, salt, read, start):
    """Yields the plaintext of one segment that begins at `start`, chunk by chunk."""
    key = derive(dek, salt, b"segment", number.to_bytes(2, "big"))
    count = max(1, -(-size // CHUNK))
    for index in range(count):
        length = min(CHUNK, size - index * CHUNK) + TAG
        nonce = bytes(3) + index.to_bytes(8, "big") + bytes([index + 1 == count])
        yield unseal(key, nonce, read(start, length))
        start += length


def decrypt(body, value, key, binding, name):
    """Yields the plaintext of a stored object, an open binary file. The trailer is verified before the first byte."""
    total = body.seek(0, os.SEEK_END)

    def read(start, length):
        body.seek(max(start, 0))
        data = body.read(length)
        if start < 0 or len(data) != length:
            raise Refused("the object is cut short")
        return data

    kind, secrets = unwrap(value, key, binding, name)
    dek, segments = secrets[:32], None
    if kind == 1:
        size = integer(secrets[48:56])
        if size == 0 or total == 0:
            if size != total:
                raise Refused("the object does not have its length")
            return
        segments = [(0, size, secrets[32:48])]
    sealed_size, table = open_trailer(dek, read, total, kind)
    segments = segments or table
    if sealed_size != sum(size for _, size, _ in segments):
        raise Refused("the footer is not one of such an object")
    start = 0
    for number, size, salt in segments:
        yield from open_segment(dek, number, size, salt, read, start)
        start += size + TAG * max(1, -(-size // CHUNK))
    if any(read(start, total - FIXED - ENTRY * len(table) - start)):
        raise Refused("the padding is not zero")


def key_bytes(text):
    """32 bytes in hex or base64; `-` reads them from standard input, out of sight of the process list."""
    text = sys.stdin.readline().strip() if text == "-" else text
    raw = bytes.fromhex(text) if re.fullmatch(r"[0-9A-Fa-f]{64}", text) else base64.b64decode(text, validate=True)
    if len(raw) != 32:
        raise argparse.ArgumentTypeError("a key has 32 bytes")
    return raw


def show(value):
    head, fields, _ = parse_envelope(value)
    texts = {"service": SERVICE, "key": KEY_NAME, "key id as written": SPELLING}
    print(f"mode: {MODES[head[2]]}, {'single PUT' if head[1] == 1 else 'multipart'}")
    for label, tag in texts.items():
        if tag in fields:
            print(f"{label}: {fields[tag].decode()}")
    if SEALED_KEY in fields:
        print(f"sealed key: {base64.b64encode(fields[SEALED_KEY]).decode()}")
        print(f"a data key of {'this object alone' if head[3] & 2 else 'the bucket'}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("object", nargs="?", help="file with the stored body")
    parser.add_argument("--envelope", required=True, help="value of the metadata x-amz-meta-s3cloak")
    parser.add_argument("--show", action="store_true", help="only print what the envelope says in clear")
    parser.add_argument("--bucket", help="the bucket's name, or its `binding` where one is configured")
    parser.add_argument("--key", help="the object's key")
    parser.add_argument("--data-key", type=key_bytes, help="plaintext of the sealed key, or the SSE-C key: hex, base64, or - to read it")
    parser.add_argument("--output", help="file for the plaintext; standard output if left out")
    options = parser.parse_args(arguments)
    if not options.show and None in (options.object, options.bucket, options.key, options.data_key):
        parser.error("the object file, --bucket, --key and --data-key are needed")
    try:
        if options.show:
            show(options.envelope)
            return 0
        with open(options.object, "rb") as body:
            names = os.fsencode(options.bucket), os.fsencode(options.key)
            plain = decrypt(body, options.envelope, options.data_key, *names)
            if options.output is None:
                for chunk in plain:
                    sys.stdout.buffer.write(chunk)
                return 0
            partial = options.output + ".partial"
            with open(partial, "wb") as out:
                out.writelines(plain)
            os.replace(partial, options.output)
    except Refused as error:
        print(f"decrypt: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
