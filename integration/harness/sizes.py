"""The size function of the object format, written down a second time, from the specification."""

CHUNK, TAG, FOOTER = 65536, 16, 512


def sealed_len(plain: int) -> int:
    """Ciphertext bytes of an object of `plain` bytes."""
    if plain == 0:
        return 0
    return plain + TAG * -(-plain // CHUNK) + FOOTER + 128 * min(9999, plain // (5 << 20))
