"""Test data, and the checks on stored bytes that many tests share."""

import hashlib
import random


def noise(size: int, seed: int | str = 0) -> bytes:
    """Random bytes that are the same for the same arguments."""
    return random.Random(f"{size}/{seed}").randbytes(size)


def md5_etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def shares_a_run(stored: bytes, plain: bytes, run: int = 16) -> bool:
    """Whether any `run` bytes of the plaintext stand anywhere in the stored bytes."""
    windows = {plain[i : i + run] for i in range(len(plain) - run + 1)}
    return any(stored[i : i + run] in windows for i in range(len(stored) - run + 1))
