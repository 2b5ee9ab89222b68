"""Whether 32 bytes can be an Ed25519 public key. Verification itself is the library's business."""

# The field and the curve -x^2 + y^2 = 1 + d x^2 y^2 of RFC 8032, section 5.1.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
# The y of the two pairs of points of order 8; the points of smaller order have y = 1, -1 and 0.
_ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL_ORDER = {0, 1, _P - 1, _ORDER_8, _P - _ORDER_8}


def is_public_key(key: bytes) -> bool:
    """Whether it is the canonical form of a point on the curve (RFC 8032, section 5.1.3) that a signer can have.

    A point of small order is on the curve too, but signatures under it can be made by anybody. The library would take
    all of these without a word.
    """
    if len(key) != 32:
        return False
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    if y >= _P or y in _SMALL_ORDER:
        return False
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return pow(x_squared, (_P - 1) // 2, _P) == 1
