"""Which 32 bytes a machine can have as its public key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from services.logistics.domain.keys import is_public_key

P = 2**255 - 19


@given(st.binary(min_size=32, max_size=32))
def test_what_a_signer_makes_is_a_key(seed: bytes):
    assert is_public_key(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_key_has_32_bytes(size: int):
    assert not is_public_key(b"\x07" * size)


@pytest.mark.parametrize(
    "key",
    [
        # The points of order 4, 1, 2 and 8, where they differ in both signs.
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ],
)
def test_a_point_under_which_anybody_can_sign_is_no_key(key: str):
    assert not is_public_key(bytes.fromhex(key))


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
def test_a_number_beyond_the_field_is_no_key(y: int):
    assert not is_public_key(y.to_bytes(32, "little"))


def test_half_of_all_numbers_are_not_on_the_curve():
    on_curve = sum(is_public_key(y.to_bytes(32, "little")) for y in range(2, 402))
    assert 150 < on_curve < 250
    assert not is_public_key((2).to_bytes(32, "little"))
