"""Voucher codes: random, readable, and found however they are typed."""

import pytest

from services.rewards.domain.redemptions import VoucherNotFound, new_voucher, voucher_hash


def test_r18_codes_are_128_random_bits_in_a_persons_alphabet():
    codes = {new_voucher() for _ in range(2_000)}
    assert len(codes) == 2_000
    plain = [code.replace("-", "") for code in codes]
    assert {len(code) for code in plain} == {26}
    assert not set("".join(plain)) & set("ILOU")
    assert {code[0] for code in plain} <= set("01234567"), "130 bits of room, 128 of them used"
    for place in range(1, 26):
        assert len({code[place] for code in plain}) == 32, "every place takes every value"


def test_r18_a_code_is_the_same_however_it_is_typed():
    code = new_voucher()
    spellings = [code.lower(), code.replace("-", ""), code.replace("-", " "), code.replace("1", "I").replace("0", "o")]
    assert {voucher_hash(spelling) for spelling in spellings} == {voucher_hash(code)}
    assert voucher_hash(new_voucher()) != voucher_hash(code)


@pytest.mark.parametrize("code", ["", "-", "0" * 25, "0" * 27, "U" * 26, "é" * 26, '{"$gt": ""}', "0" * 10_000])
def test_r18_what_cannot_be_a_code_is_not_found(code: str):
    with pytest.raises(VoucherNotFound):
        voucher_hash(code)
