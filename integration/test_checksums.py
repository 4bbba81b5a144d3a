"""Checksums of the plaintext: verified on the way in, sealed, and returned when asked for."""

import base64
import hashlib
import struct
import zlib

import pytest

from harness.data import noise
from harness.wire import UNSIGNED_TRAILER, crc32, frame_unsigned


def _crc(data: bytes, polynomial: int, width: int) -> bytes:
    """A reflected CRC, all ones in and out."""
    ones = (1 << width) - 1
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    state = ones
    for byte in data:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return (state ^ ones).to_bytes(width // 8, "big")


KNOWN = {
    "CRC32": lambda d: struct.pack(">I", zlib.crc32(d)),
    "CRC32C": lambda d: _crc(d, 0x82F63B78, 32),
    "CRC64NVME": lambda d: _crc(d, 0x9A6C9329AC4BC9B5, 64),
    "SHA1": lambda d: hashlib.sha1(d).digest(),
    "SHA256": lambda d: hashlib.sha256(d).digest(),
    "SHA512": lambda d: hashlib.sha512(d).digest(),
    "MD5": lambda d: hashlib.md5(d).digest(),
}


# Of b"123456789", as the reference implementation of the XX hashes gives them.
XX_HASHES = {
    "xxhash64": "8cb841db40e6ae83",
    "xxhash3": "72dcb18b67a17dff",
    "xxhash128": "33119477ede5dcd5e9716427681d5860",
}


def test_the_crcs_here_are_right():
    """The check values of the catalogue of CRC algorithms."""
    assert KNOWN["CRC32C"](b"123456789").hex() == "e3069283"
    assert KNOWN["CRC64NVME"](b"123456789").hex() == "ae8b14860a799888"


@pytest.mark.parametrize("size", [0, 1000, (1 << 20) + 11])
@pytest.mark.parametrize("algorithm", KNOWN)
def test_header(s3, bucket, prefix, algorithm, size):
    data, key = noise(size), f"{prefix}object"
    value = base64.b64encode(KNOWN[algorithm](data)).decode()
    field = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=bucket, Key=key, Body=data, **{field: value})
    assert put[field] == value
    for call in (s3.get_object, s3.head_object):
        asked = call(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert asked[field] == value
        assert asked["ChecksumType"] == "FULL_OBJECT"
    silent = s3.head_object(Bucket=bucket, Key=key)
    assert field in silent or "ChecksumMode" not in silent  # botocore asks by itself where it can check
    ranged = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", Range="bytes=0-9") if size else {}
    assert field not in ranged


def test_not_returned_unasked(stack, bucket, prefix):
    data = b"some content"
    request = stack.request("PUT", bucket, f"{prefix}object", body=data, headers={"x-amz-checksum-crc32": crc32(data)})
    assert request.send().headers["x-amz-checksum-crc32"] == crc32(data)
    for method in ("GET", "HEAD"):
        answer = stack.request(method, bucket, f"{prefix}object").send()
        assert not [name for name in answer.headers if name.startswith("x-amz-checksum")]
        answer = stack.request(method, bucket, f"{prefix}object", headers={"x-amz-checksum-mode": "ENABLED"}).send()
        assert answer.headers["x-amz-checksum-crc32"] == crc32(data)


def test_crc64_is_computed_where_none_is_given(stack, bucket, prefix):
    data = b"some content"
    expected = base64.b64encode(KNOWN["CRC64NVME"](data)).decode()
    assert stack.request("PUT", bucket, f"{prefix}object", body=data).send().status == 200
    answer = stack.request("HEAD", bucket, f"{prefix}object", headers={"x-amz-checksum-mode": "ENABLED"}).send()
    assert answer.headers["x-amz-checksum-crc64nvme"] == expected
    assert answer.headers["x-amz-checksum-type"] == "FULL_OBJECT"


@pytest.mark.parametrize("algorithm", KNOWN)
def test_trailer(stack, bucket, prefix, algorithm):
    data = noise(150_000)
    name = f"x-amz-checksum-{algorithm.lower()}"
    value = base64.b64encode(KNOWN[algorithm](data)).decode()
    request = stack.request(
        "PUT", bucket, f"{prefix}object", payload=UNSIGNED_TRAILER,
        headers={"x-amz-decoded-content-length": str(len(data)), "x-amz-trailer": name},
        body=frame_unsigned(data) + f"{name}:{value}\r\n\r\n".encode(),
    )
    assert request.send().headers[name] == value
    answer = stack.request("GET", bucket, f"{prefix}object", headers={"x-amz-checksum-mode": "ENABLED"}).send()
    assert answer.headers[name] == value and answer.body == data


@pytest.mark.parametrize("algorithm", XX_HASHES)
def test_xx_hashes(stack, bucket, prefix, algorithm):
    data, name, key = b"123456789", f"x-amz-checksum-{algorithm}", f"{prefix}object"
    value = base64.b64encode(bytes.fromhex(XX_HASHES[algorithm])).decode()
    assert stack.request("PUT", bucket, key, body=data, headers={name: value}).send().headers[name] == value
    answer = stack.request("GET", bucket, key, headers={"x-amz-checksum-mode": "ENABLED"}).send()
    assert answer.headers[name] == value and answer.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    lie = base64.b64encode(bytes(len(bytes.fromhex(XX_HASHES[algorithm])))).decode()
    refused = stack.request("PUT", bucket, key, body=data, headers={name: lie}).send()
    assert (refused.status, refused.code) == (400, "BadDigest")


@pytest.mark.parametrize("algorithm", ["crc16", "xxhash32", "sha3"])
def test_unknown_algorithms_are_refused(stack, bucket, prefix, algorithm):
    headers = {f"x-amz-checksum-{algorithm}": "AAAAAA=="}
    refused = stack.request("PUT", bucket, f"{prefix}object", body=b"x", headers=headers).send()
    assert (refused.status, refused.code) == (400, "InvalidRequest")
    assert stack.request("HEAD", bucket, f"{prefix}object").send().status == 404


def test_storage_learns_no_checksum_of_the_plaintext(s3, raw, bucket, prefix):
    data = noise(5000)
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=data, ChecksumAlgorithm="SHA256")
    seen = raw.head_object(Bucket=bucket, Key=f"{prefix}object", ChecksumMode="ENABLED")
    values = {base64.b64encode(known(data)).decode() for known in KNOWN.values()} | {hashlib.md5(data).hexdigest()}
    assert not values & {str(value).strip('"') for value in seen.values()}


def test_listing_shows_the_clients_checksum_and_not_the_backends(s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=f"{prefix}object", Body=b"x", ChecksumAlgorithm="SHA1")
    entry = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"][0]
    assert entry["ChecksumAlgorithm"] == ["SHA1"] and entry["ChecksumType"] == "FULL_OBJECT"
