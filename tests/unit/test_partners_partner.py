"""A partner's life, its name, and its backends' credentials."""

import hashlib
import re
from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.partners.domain.client import hash_secret, new_secret
from services.partners.domain.partner import (
    Partner,
    PartnerNotActive,
    PartnerNotApproved,
    PartnerStatus,
    PartnerStatusConflict,
    name_key,
)

APPLIED, APPROVED, SUSPENDED, CLOSED = PartnerStatus
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 12, tzinfo=UTC)
ALLOWED = {
    (APPLIED, APPROVED),
    (APPLIED, CLOSED),
    (APPROVED, SUSPENDED),
    (APPROVED, CLOSED),
    (SUSPENDED, APPROVED),
    (SUSPENDED, CLOSED),
}


def brand(status: PartnerStatus) -> Partner:
    return Partner("partner_1", "Groenmarkt", "grocer", "NL", "", status, NOON, NOON)


@pytest.mark.parametrize(("now", "then"), [*product(PartnerStatus, PartnerStatus)])
def test_p1_only_the_moves_of_the_lifecycle_are_possible(now: PartnerStatus, then: PartnerStatus):
    if (now, then) in ALLOWED:
        moved = brand(now).moved_to(then, LATER)
        assert (moved.status, moved.applied_at, moved.status_changed_at) == (then, NOON, LATER)
    else:
        with pytest.raises(PartnerStatusConflict):
            brand(now).moved_to(then, LATER)


def test_who_takes_part_and_who_may_do_business():
    for status in (APPROVED, SUSPENDED):
        brand(status).check_active()
    for status in (APPLIED, CLOSED):
        with pytest.raises(PartnerNotActive, match=status):
            brand(status).check_active()
    brand(APPROVED).check_approved()
    for status in (APPLIED, SUSPENDED, CLOSED):
        with pytest.raises(PartnerNotApproved, match=status):
            brand(status).check_approved()


@given(st.text(min_size=1), st.sampled_from([" ", "\t", "\u00a0", ""]))
def test_case_and_spaces_do_not_make_another_name(name: str, space: str):
    assert name_key(f"{space}{name}{space}") == name_key(name)


@pytest.mark.parametrize(
    "name", ["\uff27reengage Market", "Green\u200bgage Market", "Greengage Mark\u00adet", "\u202eGreengage Market"]
)
def test_what_cannot_be_seen_does_not_make_another_name(name: str):
    assert name_key(name) == name_key("Greengage Market")


def test_names_that_differ_to_a_person_differ():
    assert name_key("Noodle House") == name_key("noodleHOUSE") != name_key("Noodle Hause")


def test_a_secret_has_256_bits_and_only_its_hash_is_kept():
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    secret = secrets.pop()
    assert hash_secret(secret) == hashlib.sha256(secret.encode()).digest()
