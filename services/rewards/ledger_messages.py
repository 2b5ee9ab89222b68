"""The ledger's commands and outcomes as proto messages. A caller's ids are unique within the caller alone, so that in
the ledger they carry its name."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from alliance.rewards.v1 import ledger_pb2 as pb
from alliance.rewards.v1 import rewards_pb2
from services.rewards.domain.moments import millis, moment
from services.rewards.ledger import machine
from services.rewards.ledger.commands import Allot, Capture, Command, Issue, Place, Void
from services.rewards.ledger.draft import Outcome
from services.rewards.ledger.events import Cancelled, Captured, Issued, Pended, Refusal, Reversed, Withdrawn
from services.rewards.ledger.lots import points_of
from services.rewards.ledger.model import Lot
from services.rewards.messages import Messages
from services.shared import checks
from services.shared.errors import DomainError, FailedPrecondition, InvalidArgument
from services.shared.idempotency import RequestIdMalformed
from services.shared.identity import Caller
from services.shared.proto import timestamp

_REQUEST_ID = re.compile(r"[!-~]{1,64}")
_LARGEST_ALLOTMENT = 1_000_000_000
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_SAID = {
    machine.INSUFFICIENT_POINTS: "The member has fewer points that are free.",
    machine.PREPAID_BLOCK_EXHAUSTED: "The issuer has fewer points left; allot it more.",
    machine.HOLD_NOT_OPEN: "You have no such hold, or it has been resolved, or its time is up.",
    machine.HOLD_LIMIT_REACHED: f"The member has {machine.MOST_HOLDS:,} open holds; resolve one first.",
    machine.CAPTURE_OUT_OF_RANGE: "Capture 1 point up to what is held.",
    machine.COMMAND_INVALID: "The hold would have ended already; choose a later end.",
}
_WRONG_INPUT = (machine.CAPTURE_OUT_OF_RANGE, machine.COMMAND_INVALID)


class Commands:
    """Reads commands. FieldInvalid, with the field behind `at`, if something is not as it must be."""

    def __init__(self, currency: str) -> None:
        self._currency = currency

    def command(self, caller: Caller, message: pb.Command, at: str) -> Command:
        """RequestIdMalformed, too."""
        kind = message.WhichOneof("command")
        if kind is None:
            raise checks.FieldInvalid(f"{at}command", "needs one of allot, issue, hold, capture and void.")
        id = scoped(caller, message.request_id, f"{at}request_id")
        at = f"{at}{kind}."
        match kind:
            case "allot":
                return _allot(id, message.allot, at)
            case "issue":
                return self._issue(id, message.issue, at)
            case "hold":
                return _hold(id, message.hold, at)
            case "capture":
                return _capture(caller, id, message.capture, at)
            case "void":
                return _void(caller, id, message.void, at)

    def _issue(self, id: str, issue: pb.IssueCommand, at: str) -> Issue:
        checks.whole(len(issue.lots), f"{at}lots", 1, machine.LARGEST_ISSUE)
        lots = tuple([self._lot(lot, f"{at}lots[{place}].") for place, lot in enumerate(issue.lots)])
        if any(lot.issuer != lots[0].issuer for lot in lots):
            raise checks.FieldInvalid(f"{at}lots", "needs lots of one issuer; send one issue for each.")
        due = 0
        if issue.HasField("available_at"):
            due = millis(_later(checks.moment(issue.available_at, f"{at}available_at"), f"{at}available_at"))
        return Issue(id, checks.id_of(issue.member_id, f"{at}member_id", "member"), lots, due)

    def _lot(self, lot: rewards_pb2.Lot, at: str) -> Lot:
        if lot.unit_value.currency != self._currency:
            raise checks.FieldInvalid(f"{at}unit_value", f"needs an amount in {self._currency}.")
        if lot.rule_id:
            raise checks.FieldInvalid(f"{at}rule_id", "is not kept by the ledger; leave it out.")
        return Lot(
            expires=millis(_later(checks.moment(lot.expires_at, f"{at}expires_at"), f"{at}expires_at")),
            issuer=checks.id_of(lot.issuer_partner_id, f"{at}issuer_partner_id", "partner"),
            value=checks.whole(lot.unit_value.micros, f"{at}unit_value.micros", 0, checks.LARGEST_NUMBER),
            points=checks.whole(lot.points, f"{at}points", 1, checks.LARGEST_NUMBER),
        )


class Outcomes:
    """Writes outcomes."""

    def __init__(self, to: Messages) -> None:
        self._to = to

    def outcome(self, request_id: str, outcome: Outcome, partition: int) -> pb.Outcome:
        message = pb.Outcome(
            request_id=request_id,
            at=timestamp(moment(outcome.at)),
            place=pb.LogPlace(partition=partition, block=outcome.seq, entry=outcome.place),
        )
        if isinstance(outcome.decision, Refusal):
            reason, available, required = outcome.decision
            message.refusal.CopyFrom(pb.CommandRefusal(reason=reason, available=available, required=required))
            return message
        for event in outcome.decision:
            if isinstance(event, Issued | Pended | Captured | Cancelled | Withdrawn | Reversed):
                message.lots.extend(self._to.lots(event.lots))
            if isinstance(event, Cancelled):
                message.shortfall_points = points_of(event.owed)
        return message


def scoped(caller: Caller, request_id: str, field: str) -> str:
    """The id by which the ledger knows what a caller calls `request_id`; RequestIdMalformed."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise RequestIdMalformed(f"{field} needs 1 to 64 visible ASCII characters; a fresh UUID will do.", field=field)
    return f"{caller.scope}/{request_id}"


def refusal(refused: Refusal) -> DomainError:
    """The error that tells a caller of one command why nothing happened."""
    kind = InvalidArgument if refused.reason in _WRONG_INPUT else FailedPrecondition
    message = _SAID.get(refused.reason, "That would be more than the ledger can count; post less.")
    numbers = {"available": refused.available, "required": refused.required} if refused.required else {}
    return kind(message, reason=refused.reason, **numbers)


def check_linked(commands: Sequence[Command]) -> None:
    """FieldInvalid unless they are on one member, each with an id of its own."""
    members = {getattr(command, "member", "") for command in commands}
    if len(members) != 1 or "" in members:
        raise checks.FieldInvalid("commands", "needs commands on one member, where they are linked.")
    if len({command.id for command in commands}) != len(commands):
        raise checks.FieldInvalid("commands", "needs a request_id of its own for each, where they are linked.")


def _allot(id: str, allot: pb.AllotCommand, at: str) -> Allot:
    return Allot(
        id,
        checks.id_of(allot.partner_id, f"{at}partner_id", "partner"),
        checks.whole(allot.points, f"{at}points", 1, _LARGEST_ALLOTMENT),
    )


def _hold(id: str, hold: pb.HoldCommand, at: str) -> Place:
    return Place(
        id,
        checks.id_of(hold.member_id, f"{at}member_id", "member"),
        checks.whole(hold.points, f"{at}points", 1, checks.LARGEST_NUMBER),
        millis(_later(checks.moment(hold.expires_at, f"{at}expires_at"), f"{at}expires_at")),
    )


def _capture(caller: Caller, id: str, capture: pb.CaptureCommand, at: str) -> Capture:
    return Capture(
        id,
        checks.id_of(capture.member_id, f"{at}member_id", "member"),
        scoped(caller, capture.hold_id, f"{at}hold_id"),
        checks.whole(capture.points, f"{at}points", 1, checks.LARGEST_NUMBER),
        checks.id_of(capture.partner_id, f"{at}partner_id", "partner"),
    )


def _void(caller: Caller, id: str, void: pb.VoidCommand, at: str) -> Void:
    return Void(
        id, checks.id_of(void.member_id, f"{at}member_id", "member"), scoped(caller, void.hold_id, f"{at}hold_id")
    )


def _later(at: datetime, field: str) -> datetime:
    if at <= _EARLIEST:
        raise checks.FieldInvalid(field, "needs a moment after 1970.")
    return at
