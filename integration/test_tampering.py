"""The storage as the adversary, through the real stack: each change fails closed, on full and on ranged reads.

A full read may release plaintext before it meets the fault, but only a true prefix, and never as a whole answer. A ranged
read that does not touch the fault may answer, but only with the truth.
"""

from dataclasses import dataclass

import pytest

from harness.data import noise
from harness.wire import Answer, Broken, wait_for

CHUNK = 65536 + 16
FOOTER = 512
SIZE = 4 * 65536 + 1000  # five chunks
BIG = (2 << 20) + 300


@dataclass
class Stored:
    body: bytes
    metadata: dict


@pytest.fixture
def sealed(s3, raw, bucket, prefix):
    """Two objects of one size, an older version of the first, and their stored forms."""

    class Sealed:
        def __init__(self, size=SIZE):
            self.key, self.other = f"{prefix}object", f"{prefix}other"
            self.plain, self.older, self.twin = noise(size, "plain"), noise(size, "older"), noise(size, "twin")
            s3.put_object(Bucket=bucket, Key=self.key, Body=self.older)
            self.old = self.stored(self.key)
            s3.put_object(Bucket=bucket, Key=self.key, Body=self.plain)
            s3.put_object(Bucket=bucket, Key=self.other, Body=self.twin)
            self.new, self.another = self.stored(self.key), self.stored(self.other)
            # Warm: what the proxy may have remembered must not help the forger.
            assert s3.get_object(Bucket=bucket, Key=self.key)["Body"].read() == self.plain

        def stored(self, key) -> Stored:
            answer = raw.get_object(Bucket=bucket, Key=key)
            return Stored(answer["Body"].read(), answer["Metadata"])

        def plant(self, body, metadata=None):
            raw.put_object(
                Bucket=bucket, Key=self.key, Body=body, Metadata=self.new.metadata if metadata is None else metadata
            )

    return Sealed


def read(stack, bucket, key, spec=None) -> Answer | None:
    """One GET; None where the connection ended before an answer."""
    try:
        return stack.request("GET", bucket, key, headers={"range": f"bytes={spec}"} if spec else {}).send()
    except Broken:
        return None


def assert_closed(answer: Answer | None, truth: bytes) -> None:
    """Refused, or broken off within the truth."""
    if answer is None or answer.status >= 400:
        assert answer is None or (truth[:10] not in answer.body and truth[-10:] not in answer.body)
        return
    assert not answer.whole, f"a whole answer of {len(answer.body)} bytes with status {answer.status}"
    assert truth.startswith(answer.body)
    assert len(answer.body) < len(truth)


def flip(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def swap_chunks(body: bytes) -> bytes:
    return body[CHUNK : 2 * CHUNK] + body[:CHUNK] + body[2 * CHUNK :]


# name: what the storage does to the stored object `s.new`
BODY_LIES = {
    "first bit": lambda s: (flip(s.new.body, 0), None),
    "bit in the second chunk": lambda s: (flip(s.new.body, CHUNK + 500), None),
    "bit of a tag": lambda s: (flip(s.new.body, CHUNK - 1), None),
    "bit in the last chunk": lambda s: (flip(s.new.body, 4 * CHUNK + 10), None),
    "bit in the footer": lambda s: (flip(s.new.body, len(s.new.body) - FOOTER + 20), None),
    "bit in the footer's end": lambda s: (flip(s.new.body, len(s.new.body) - 1), None),
    "two chunks change places": lambda s: (swap_chunks(s.new.body), None),
    "a chunk stands twice": lambda s: (s.new.body[:CHUNK] * 2 + s.new.body[2 * CHUNK :], None),
    "a chunk of an older version": lambda s: (s.old.body[:CHUNK] + s.new.body[CHUNK:], None),
    "a chunk of another object": lambda s: (s.another.body[:CHUNK] + s.new.body[CHUNK:], None),
    "an older footer": lambda s: (s.new.body[:-FOOTER] + s.old.body[-FOOTER:], None),
    "another object's footer": lambda s: (s.new.body[:-FOOTER] + s.another.body[-FOOTER:], None),
}
SHAPE_LIES = {
    "cut at a chunk's border": lambda s: (s.new.body[: 2 * CHUNK], None),
    "cut within a chunk": lambda s: (s.new.body[: 2 * CHUNK + 777], None),
    "cut by one byte": lambda s: (s.new.body[:-1], None),
    "footer cut off": lambda s: (s.new.body[:-FOOTER], None),
    "a chunk left out": lambda s: (s.new.body[:CHUNK] + s.new.body[2 * CHUNK :], None),
    "one byte more": lambda s: (s.new.body + b"\0", None),
    "a chunk more": lambda s: (s.new.body + s.new.body[:CHUNK], None),
    "a chunk more before the footer": lambda s: (s.new.body[:-FOOTER] + s.new.body[:CHUNK] + s.new.body[-FOOTER:], None),
    "nothing left": lambda s: (b"", None),
    "the footer alone": lambda s: (s.new.body[-FOOTER:], None),
}
ENVELOPE_LIES = {
    "envelope stripped": lambda s: (s.new.body, {}),
    "envelope of an older version": lambda s: (s.new.body, s.old.metadata),
    "body of an older version": lambda s: (s.old.body, None),
    "another object's envelope": lambda s: (s.new.body, s.another.metadata),
    "another object as a whole": lambda s: (s.another.body, s.another.metadata),
    "another object's body": lambda s: (s.another.body, None),
    "envelope cut short": lambda s: (s.new.body, {k: v[:-8] for k, v in s.new.metadata.items()}),
    "envelope with a bit flipped": lambda s: (
        s.new.body, {k: v[:60] + ("A" if v[60] != "A" else "B") + v[61:] for k, v in s.new.metadata.items()},
    ),
    "envelope that is none": lambda s: (s.new.body, {"s3cloak": "none"}),
    "an overlong envelope": lambda s: (s.new.body, {"s3cloak": "A" * 2040}),
    "plaintext under the envelope": lambda s: (s.plain, None),
    "plaintext without envelope": lambda s: (s.plain, {}),
}


@pytest.mark.parametrize("lie", [*BODY_LIES, *SHAPE_LIES, *ENVELOPE_LIES])
def test_full_reads_fail_closed(stack, storage, bucket, sealed, lie):
    s = sealed()
    s.plant(*{**BODY_LIES, **SHAPE_LIES, **ENVELOPE_LIES}[lie](s))
    assert_closed(read(stack, bucket, s.key), s.plain)
    # And again, whatever the first read taught the proxy.
    assert_closed(read(stack, bucket, s.key), s.plain)


@pytest.mark.parametrize("lie", [*SHAPE_LIES, *ENVELOPE_LIES])
def test_ranged_reads_of_a_wrong_shape_or_envelope_fail_closed(stack, storage, bucket, sealed, lie):
    """Anywhere: the size and the envelope are authenticated before the first byte."""
    s = sealed()
    s.plant(*{**SHAPE_LIES, **ENVELOPE_LIES}[lie](s))
    for first, last in ((0, 99), (65000, 66000), (SIZE - 10, SIZE - 1)):
        answer = read(stack, bucket, s.key, f"{first}-{last}")
        assert_closed(answer, s.plain[first : last + 1])
    assert_closed(read(stack, bucket, s.key, "-100"), s.plain[-100:])


@pytest.mark.parametrize("lie", BODY_LIES)
def test_ranged_reads_give_the_truth_or_nothing(stack, storage, bucket, sealed, lie):
    s = sealed()
    body, metadata = BODY_LIES[lie](s)
    s.plant(body, metadata)
    changed = {i // CHUNK for i in range(len(body) - FOOTER) if body[i] != s.new.body[i]} if "footer" not in lie else set()
    assert changed or "footer" in lie
    for chunk in range(5):
        first, last = chunk * 65536 + 10, min(chunk * 65536 + 500, SIZE - 1)
        answer, truth = read(stack, bucket, s.key, f"{first}-{last}"), s.plain[chunk * 65536 + 10 : last + 1]
        if chunk in changed:
            assert_closed(answer, truth)
        elif answer is not None and answer.status < 400:
            assert answer.status == 206 and answer.whole and answer.body == truth


@pytest.mark.parametrize("lie", ["bit in the last chunk", "bit in the footer", "bit in the second chunk"])
def test_large_objects_are_released_as_a_true_prefix_only(stack, storage, bucket, sealed, lie):
    s = sealed(BIG)
    last_chunk = (len(s.new.body) - FOOTER - 1) // CHUNK * CHUNK
    at = {"bit in the last chunk": last_chunk + 5, "bit in the footer": len(s.new.body) - 400, "bit in the second chunk": CHUNK + 5}
    s.plant(flip(s.new.body, at[lie]))
    answer = read(stack, bucket, s.key)
    assert_closed(answer, s.plain)
    if answer is not None and answer.status == 200:
        # The faulty chunk and what follows stay back; a fault in the footer keeps the last chunk back.
        safe = {"bit in the last chunk": BIG // 65536 * 65536, "bit in the footer": BIG // 65536 * 65536, "bit in the second chunk": 65536}
        assert len(answer.body) <= safe[lie]


@pytest.mark.parametrize("lie", ENVELOPE_LIES)
def test_head_does_not_vouch_for_a_forged_envelope(stack, storage, bucket, sealed, lie):
    if lie == "plaintext under the envelope" or lie == "body of an older version" or lie == "another object's body":
        # The envelope is true and the size is the envelope's or is refused; the body is not read by HEAD.
        allowed = True
    else:
        allowed = False
    s = sealed()
    s.plant(*ENVELOPE_LIES[lie](s))
    answer = stack.request("HEAD", bucket, s.key).send()
    if answer.status < 400:
        assert allowed and answer.headers["content-length"] == str(SIZE)


def test_moved_to_another_bucket(stack, storage, raw, s3, buckets, sealed):
    s = sealed()
    for bucket in (buckets["opaque"], buckets["legacy"]):
        raw.put_object(Bucket=bucket, Key=s.key, Body=s.new.body, Metadata=s.new.metadata)
        assert_closed(read(stack, bucket, s.key), s.plain)
        assert_closed(read(stack, bucket, s.key, "0-99"), s.plain[:100])


def test_forged_empty_object(stack, storage, raw, s3, bucket, prefix):
    """An empty body under the envelope of a full object, and an empty object without envelope."""
    s3.put_object(Bucket=bucket, Key=f"{prefix}full", Body=b"some content")
    metadata = raw.head_object(Bucket=bucket, Key=f"{prefix}full")["Metadata"]
    raw.put_object(Bucket=bucket, Key=f"{prefix}full", Body=b"", Metadata=metadata)
    assert read(stack, bucket, f"{prefix}full").refused
    raw.put_object(Bucket=bucket, Key=f"{prefix}full", Body=b"")
    assert read(stack, bucket, f"{prefix}full").refused


def test_the_faults_are_logged_as_alerts(stack, storage, bucket, sealed):
    s = sealed()
    s.plant(flip(s.new.body, 3))
    answer = read(stack, bucket, s.key)
    assert answer is not None
    request_id = answer.headers["x-amz-request-id"]
    lines = wait_for(lambda: [line for line in stack.proxy.log().splitlines() if request_id in line])
    assert any("tampered" in line.lower() for line in lines)
