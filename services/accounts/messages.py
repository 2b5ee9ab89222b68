"""The accounts service's domain as proto messages, and back."""

from collections import Counter
from collections.abc import Sequence

from alliance.accounts.v1 import accounts_pb2 as pb
from services.accounts.domain.acts import (
    Act,
    ActCount,
    ActKind,
    ActStatus,
    CarbonTotal,
    Claim,
    ClaimSum,
    Factor,
    KindImpact,
)
from services.accounts.domain.members import Consent, Identity, Member
from services.accounts.service.acts import DropOff, ReportedAct
from services.shared import checks
from services.shared.proto import enum_name, enum_number, timestamp

_KIND = "ACT_KIND_"
_STATUS = "ACT_STATUS_"


def kind_number(kind: ActKind) -> pb.ActKind.ValueType:
    number: pb.ActKind.ValueType = enum_number(pb.ActKind, kind, _KIND)
    return number


def reported_act(report: pb.ActReport, at: str) -> ReportedAct:
    """FieldInvalid, with the field behind `at`, if the kind or the time is none."""
    return ReportedAct(
        member_id=report.member_id,
        customer_number=report.customer_number,
        kind=_kind(report.kind, at),
        quantity=report.quantity,
        occurred_at=checks.moment(report.occurred_at, f"{at}occurred_at"),
        reference=report.reference,
    )


def drop_off(event: pb.DropOffRecorded, at: str) -> DropOff:
    """FieldInvalid, with the field behind `at`, if the kind or the time is none."""
    return DropOff(
        event_id=event.event_id,
        drop_off_id=event.drop_off_id,
        member_id=event.member_id,
        partner_id=event.partner_id,
        kind=_kind(event.kind, at),
        quantity=event.quantity,
        occurred_at=checks.moment(event.occurred_at, f"{at}occurred_at"),
        event_hash=event.event_hash,
        box_number=event.box_number,
    )


def _kind(number: pb.ActKind.ValueType, at: str) -> ActKind:
    name = enum_name(pb.ActKind, number, _KIND)
    if not name:
        raise checks.FieldInvalid(f"{at}kind", "needs one of the known kinds of act.")
    return ActKind(name)


def member(found: Member) -> pb.Member:
    return pb.Member(
        id=found.id,
        display_name=found.display_name,
        enrolled_at=timestamp(found.enrolled_at),
        enrolled_by_partner_id=found.enrolled_by_partner_id,
    )


def identity(found: Identity) -> pb.Identity:
    return pb.Identity(
        partner_id=found.partner_id,
        customer_number=found.customer_number,
        member_id=found.member_id,
        linked_at=timestamp(found.linked_at),
    )


def consent(found: Consent) -> pb.Consent:
    return pb.Consent(
        member_id=found.member_id,
        partner_id=found.partner_id,
        granted=found.granted,
        changed_at=timestamp(found.changed_at),
    )


def act(found: Act) -> pb.Act:
    return pb.Act(
        id=found.id,
        member_id=found.member_id,
        partner_id=found.partner_id,
        kind=kind_number(found.kind),
        quantity=found.quantity,
        occurred_at=timestamp(found.occurred_at),
        recorded_at=timestamp(found.recorded_at),
        reference=found.reference,
        status=enum_number(pb.ActStatus, found.status, _STATUS),
        reason=found.reason,
        message=found.message,
        claim_id=found.claim_id,
        new_co2e_mg=found.new_co2e_mg,
        drop_off_id=found.drop_off_id,
    )


def to_status(number: int) -> ActStatus | None:
    """None if none is said; FieldInvalid for what is no status."""
    if not number:
        return None
    if not (name := enum_name(pb.ActStatus, number, _STATUS)):
        raise checks.FieldInvalid("status", "needs what may come of an act, or nothing.")
    return ActStatus(name)


def claim(found: Claim) -> pb.Claim:
    return pb.Claim(
        id=found.id,
        member_id=found.member_id,
        act_id=found.act_id,
        partner_id=found.partner_id,
        kind=kind_number(found.kind),
        quantity=found.quantity,
        co2e_mg=found.co2e_mg,
        factor_id=found.factor_id,
        occurred_at=timestamp(found.occurred_at),
        recorded_at=timestamp(found.recorded_at),
    )


def total(found: CarbonTotal) -> pb.CarbonTotal:
    return pb.CarbonTotal(member_id=found.member_id, claims=found.claims, co2e_mg=found.co2e_mg)


def factor(found: Factor) -> pb.Factor:
    return pb.Factor(
        id=found.id,
        kind=kind_number(found.kind),
        version=found.version,
        avoided_ug_per_unit=found.avoided_ug_per_unit,
        unit=found.unit,
        baseline=found.baseline,
        source=found.source,
        region=found.region,
        grade=found.grade,
        valid_from=timestamp(found.valid_from),
    )


def summary(counts: Sequence[ActCount], sums: Sequence[ClaimSum]) -> pb.SummarizeActsResponse:
    """The report. All its grams come from the same list of claims, so that its parts add up."""
    acts: Counter[ActKind] = Counter()
    refused: Counter[str] = Counter()
    for count in counts:
        acts[count.kind] += count.acts
        if count.reason:
            refused[count.reason] += count.acts
    answer = pb.SummarizeActsResponse()
    for kind in ActKind:
        if acts[kind]:
            of_kind = [row for row in sums if row.kind == kind]
            answer.kinds.add(
                kind=kind_number(kind),
                acts=acts[kind],
                claims=sum(row.claims for row in of_kind),
                co2e_mg=sum(row.co2e_mg for row in of_kind),
            )
    for reason in sorted(refused):
        answer.refusals.add(reason=reason, acts=refused[reason])
    for partner_id in sorted({row.partner_id for row in sums}):
        of_partner = [row for row in sums if row.partner_id == partner_id]
        answer.partners.add(
            partner_id=partner_id,
            claims=sum(row.claims for row in of_partner),
            co2e_mg=sum(row.co2e_mg for row in of_partner),
        )
    answer.claims = sum(row.claims for row in sums)
    answer.co2e_mg = sum(row.co2e_mg for row in sums)
    return answer


def impact(total: Sequence[KindImpact]) -> pb.Impact:
    """What the alliance has avoided, by kind and in all."""
    return pb.Impact(
        claims=sum(each.claims for each in total),
        co2e_mg=sum(each.co2e_mg for each in total),
        kinds=[
            pb.Impact.KindTotal(kind=kind_number(each.kind), claims=each.claims, co2e_mg=each.co2e_mg) for each in total
        ],
    )
