"""Uploads that say one thing and send another: refused, nothing stored, and what stood there before still stands.

Small ones are verified whole before the storage hears of them; streamed ones are cut off before they are complete.
"""

import pytest

from harness.data import md5_etag, noise
from harness.wire import (
    SIGNED_CHUNKS,
    SIGNED_CHUNKS_TRAILER,
    UNSIGNED,
    UNSIGNED_TRAILER,
    Broken,
    crc32,
    frame_signed,
    frame_unsigned,
    md5_b64,
    sha256_b64,
)

SMALL, STREAMED = 40_000, (3 << 20) + 77
OTHER = b"not what was sent"


def plain(headers=None, payload=None, **fields):
    """A body sent as it is, with headers that lie about it."""

    def make(request, data):
        request.headers |= headers(data) if headers else {}
        request.payload = payload(data) if payload else None
        request.body = data
        for name, value in fields.items():
            setattr(request, name, value(data))
        return request.send()

    return make


def signed_chunks(bend=None, trailer=None, bend_trailer=False, decoded=0):
    """Signed chunks; `bend` picks a chunk whose signature is wrong; `trailer(data)` is the checksum sent after them."""

    def make(request, data):
        request.payload = SIGNED_CHUNKS_TRAILER if trailer else SIGNED_CHUNKS
        request.headers["x-amz-decoded-content-length"] = str(len(data) + decoded)
        if trailer:
            request.headers["x-amz-trailer"] = "x-amz-checksum-crc32"

        def body(signature):
            index = None if bend is None else bend(-(-len(data) // 65536))
            framed, signature = frame_signed(signature, data, bend=index)
            if trailer:
                line = f"x-amz-checksum-crc32:{trailer(data)}\n".encode()
                shown = "0" * 64 if bend_trailer else signature.trailer(line).value
                framed += line.replace(b"\n", b"\r\n") + f"x-amz-trailer-signature:{shown}\r\n".encode()
            return framed + b"\r\n"

        from harness.wire import Signature

        request.length = len(body(Signature("0" * 64, b"", "", "")))
        return request.send(body)

    return make


def unsigned_trailer(trailer, decoded=0, name="crc32"):
    def make(request, data):
        request.payload = UNSIGNED_TRAILER
        request.headers |= {
            "x-amz-decoded-content-length": str(len(data) + decoded),
            "x-amz-trailer": f"x-amz-checksum-{name}",
        }
        request.body = frame_unsigned(data) + trailer(data) + b"\r\n"
        return request.send()

    return make


def crc_line(value) -> bytes:
    return f"x-amz-checksum-crc32:{value}\r\n".encode()


def cut_plain(request, data):
    """Declares more than it sends, then ends the connection."""
    request.payload, request.body, request.length = UNSIGNED, data, len(data) + 100
    return request.send(close_early=True)


def cut_chunks(request, data):
    """Ends the connection between two signed chunks."""
    request.payload = SIGNED_CHUNKS
    request.headers["x-amz-decoded-content-length"] = str(len(data))
    request.length = len(data) + 10_000

    def body(signature):
        return frame_signed(signature, data, size=8192)[0][: len(data) // 2]

    return request.send(body, close_early=True)


def garbled_chunks(request, data):
    """Chunk framing that is none."""
    request.payload = UNSIGNED_TRAILER
    request.headers |= {"x-amz-decoded-content-length": str(len(data)), "x-amz-trailer": "x-amz-checksum-crc32"}
    request.body = b"zzz\r\n" + data + b"\r\n0\r\n\r\n"
    return request.send()


# name: (how it lies, codes that S3 has for it)
LIES = {
    "payload hash": (plain(payload=lambda d: sha256_b64(b"") and "ab" * 32), {"XAmzContentSHA256Mismatch"}),
    "md5": (plain(headers=lambda d: {"content-md5": md5_b64(OTHER)}), {"BadDigest"}),
    "md5, payload unsigned": (plain(headers=lambda d: {"content-md5": md5_b64(OTHER)}, payload=lambda d: UNSIGNED), {"BadDigest"}),
    "md5 that is none": (plain(headers=lambda d: {"content-md5": "bm9uZQ=="}), {"InvalidDigest"}),
    "crc32": (plain(headers=lambda d: {"x-amz-checksum-crc32": crc32(OTHER)}), {"BadDigest"}),
    "crc32, payload unsigned": (
        plain(headers=lambda d: {"x-amz-checksum-crc32": crc32(OTHER)}, payload=lambda d: UNSIGNED), {"BadDigest"},
    ),
    "sha256 checksum": (plain(headers=lambda d: {"x-amz-checksum-sha256": sha256_b64(OTHER)}), {"BadDigest"}),
    "checksum that is none": (plain(headers=lambda d: {"x-amz-checksum-sha256": "bm9uZQ=="}), {"InvalidRequest"}),
    "two checksums": (
        plain(headers=lambda d: {"x-amz-checksum-sha256": sha256_b64(d), "x-amz-checksum-crc32": crc32(d)}), {"InvalidRequest"},
    ),
    "unknown checksum": (plain(headers=lambda d: {"x-amz-checksum-crc31": crc32(d)}), {"InvalidRequest", "NotImplemented"}),
    "first chunk's signature": (signed_chunks(bend=lambda n: 0), {"SignatureDoesNotMatch"}),
    "last data chunk's signature": (signed_chunks(bend=lambda n: n - 1), {"SignatureDoesNotMatch"}),
    "closing chunk's signature": (signed_chunks(bend=lambda n: n), {"SignatureDoesNotMatch"}),
    "trailer's signature": (signed_chunks(trailer=crc32, bend_trailer=True), {"SignatureDoesNotMatch"}),
    "signed trailer's checksum": (signed_chunks(trailer=lambda d: crc32(OTHER)), {"BadDigest"}),
    "signed chunks, decoded length": (signed_chunks(decoded=5), {"IncompleteBody"}),
    "unsigned trailer's checksum": (unsigned_trailer(lambda d: crc_line(crc32(OTHER))), {"BadDigest"}),
    "trailer missing": (unsigned_trailer(lambda d: b""), {"MalformedTrailerError", "InvalidRequest", "IncompleteBody"}),
    "another trailer than named": (
        unsigned_trailer(lambda d: crc_line(crc32(d)), name="sha256"), {"MalformedTrailerError", "InvalidRequest"},
    ),
    "unsigned chunks, too long": (unsigned_trailer(lambda d: crc_line(crc32(d)), decoded=5), {"IncompleteBody"}),
    "unsigned chunks, too short": (
        unsigned_trailer(lambda d: crc_line(crc32(d)), decoded=-5), {"IncompleteBody", "InvalidRequest", "BadDigest"},
    ),
    "chunk framing": (garbled_chunks, {"IncompleteBody", "InvalidRequest", "InvalidChunkSizeError"}),
    "length, connection cut": (cut_plain, {"IncompleteBody", "RequestTimeout"}),
    "connection cut between chunks": (cut_chunks, {"IncompleteBody", "RequestTimeout"}),
}
CUT = {"length, connection cut", "connection cut between chunks"}

# The same shapes, telling the truth: they must be taken, or the refusals below would prove nothing.
TRUTHS = {
    "plain": plain(),
    "unsigned payload": plain(payload=lambda d: UNSIGNED),
    "md5": plain(headers=lambda d: {"content-md5": md5_b64(d)}),
    "crc32": plain(headers=lambda d: {"x-amz-checksum-crc32": crc32(d)}),
    "sha256": plain(headers=lambda d: {"x-amz-checksum-sha256": sha256_b64(d)}, payload=lambda d: UNSIGNED),
    "signed chunks": signed_chunks(),
    "signed chunks and trailer": signed_chunks(trailer=crc32),
    "unsigned trailer": unsigned_trailer(lambda d: crc_line(crc32(d))),
}


@pytest.mark.parametrize("size", [SMALL, STREAMED], ids=["small", "streamed"])
@pytest.mark.parametrize("truth", TRUTHS)
def test_truth_is_stored(stack, s3, bucket, prefix, truth, size):
    data = noise(size, truth)
    answer = TRUTHS[truth](stack.request("PUT", bucket, f"{prefix}object"), data)
    assert answer.status == 200, answer.body
    assert answer.headers["etag"] == md5_etag(data)
    assert s3.get_object(Bucket=bucket, Key=f"{prefix}object")["Body"].read() == data


@pytest.mark.parametrize("size", [SMALL, STREAMED], ids=["small", "streamed"])
@pytest.mark.parametrize("lie", LIES)
def test_lie_is_refused_and_nothing_is_stored(stack, s3, behind, bucket, prefix, lie, size):
    fresh, standing, before = f"{prefix}fresh", f"{prefix}standing", noise(70_000, lie)
    s3.put_object(Bucket=bucket, Key=standing, Body=before, Metadata={"was": "here"})
    stored = behind.get_object(Bucket=bucket, Key=standing)["Body"].read()
    tell, codes = LIES[lie]
    for key in (fresh, standing):
        try:
            answer = tell(stack.request("PUT", bucket, key), noise(size, key))
        except Broken:
            # Who hangs up first may find the door shut.
            assert lie in CUT
        else:
            assert 400 <= answer.status < 500, answer
            assert answer.code in codes, answer.body
    assert [entry["Key"] for entry in behind.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]] == [standing]
    assert behind.get_object(Bucket=bucket, Key=standing)["Body"].read() == stored
    got = s3.get_object(Bucket=bucket, Key=standing)
    assert got["Body"].read() == before
    assert got["Metadata"] == {"was": "here"}


@pytest.mark.parametrize("size", [SMALL, STREAMED], ids=["small", "streamed"])
def test_refused_upload_leaves_no_half_object_in_a_listing_of_uploads(stack, storage, raw, bucket, prefix, size):
    tell, _ = LIES["md5"]
    assert tell(stack.request("PUT", bucket, f"{prefix}object"), noise(size)).refused
    assert not raw.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads")


def test_connection_is_usable_after_a_refusal_of_a_small_body(stack, bucket, prefix):
    """Two requests on one connection: the first lies, the second is served."""
    from harness.wire import read_answer

    lie = stack.request("PUT", bucket, f"{prefix}lie", body=b"abc", headers={"content-md5": md5_b64(OTHER)})
    truth = stack.request("PUT", bucket, f"{prefix}truth", body=b"abc")
    connection = lie.connect()
    connection.sendall(lie.head()[0] + lie.body)
    assert read_answer(connection).code == "BadDigest"
    connection.sendall(truth.head()[0] + truth.body)
    assert read_answer(connection).status == 200
    connection.close()


def test_length_is_demanded(stack, bucket, prefix):
    request = stack.request(
        "PUT", bucket, f"{prefix}object", payload=UNSIGNED, unsigned_headers={"transfer-encoding": "chunked"},
    )
    request.body = b"3\r\nabc\r\n0\r\n\r\n"
    answer = request.send()
    assert (answer.status, answer.code) == (411, "MissingContentLength")


def test_chunked_transfer_with_decoded_length(stack, s3, bucket, prefix):
    """The JavaScript SDK's form: HTTP chunks around aws-chunked, no Content-Length."""
    data = noise(300_000)
    inner = frame_unsigned(data) + crc_line(crc32(data)) + b"\r\n"
    request = stack.request(
        "PUT", bucket, f"{prefix}object", payload=UNSIGNED_TRAILER,
        headers={"x-amz-decoded-content-length": str(len(data)), "x-amz-trailer": "x-amz-checksum-crc32"},
        unsigned_headers={"transfer-encoding": "chunked"},
    )
    request.body = b"".join(
        f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (inner[i : i + 50_001] for i in range(0, len(inner), 50_001))
    ) + b"0\r\n\r\n"
    assert request.send().status == 200
    assert s3.get_object(Bucket=bucket, Key=f"{prefix}object")["Body"].read() == data


def test_expect_continue(stack, bucket, prefix):
    """The proxy says 100 itself, and only once the head is worth a body."""
    good = stack.request("PUT", bucket, f"{prefix}object", body=noise(2 << 20), headers={"expect": "100-continue"})
    connection = good.connect()
    connection.sendall(good.head()[0])
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    connection.sendall(good.body)
    from harness.wire import read_answer

    assert read_answer(connection).status == 200
    connection.close()
    bad = stack.request("PUT", bucket, f"{prefix}object", body=b"x", headers={"expect": "100-continue"}, bend_signature=True)
    connection = bad.connect()
    connection.sendall(bad.head()[0])
    first = connection.recv(100)
    connection.close()
    assert first.startswith(b"HTTP/1.1 403")
