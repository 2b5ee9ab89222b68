"""Makes explanations out of what the services know: what happened, by which factor and rules, who pays.

Each function takes a row and looks up others; what is not there (yet) is left out.
"""

from collections.abc import Iterable
from typing import Any

from alliance.accounts.v1.accounts_pb2 import Claim
from alliance.common.v1.money_pb2 import Money
from alliance.rewards.v1 import rewards_pb2 as rewards
from gateway.accounts.sources import acts, claims, factors
from gateway.engine.reads import Find
from gateway.logistics.sources import drop_offs
from gateway.partners.sources import campaigns, partners, rules
from gateway.rewards.sources import earnings, redemptions
from gateway.rewards.sources import rewards as catalogue
from gateway.why import words
from gateway.why.rows import EventRow, GramsRow, GrantRow, PaymentRow, WhyRow

READS = (acts, claims, factors, drop_offs, campaigns, partners, rules, earnings, redemptions, catalogue)

_RULE, _CAMPAIGN = "rule_", "campaign_"


def of_claim(claim: Any, find: Find) -> WhyRow:
    """Why a claim has its grams and its points."""
    return _Explainer(find).claim(claim, find(earnings, claim.id))


def of_earning(earning: Any, find: Find) -> WhyRow:
    """Why a claim earned these points, or none."""
    return _Explainer(find).earning(earning)


def of_entry(entry: Any, find: Find) -> WhyRow:
    """Why a wallet moved."""
    return _Explainer(find).entry(entry)


def of_lot(lot: Any, find: Find) -> WhyRow:
    """Why there are points of this kind: in an earning by its rule, in a wallet all that is alike."""
    return _Explainer(find).lot(lot)


def of_redemption(redemption: Any, find: Find) -> WhyRow:
    """Whose points a redemption takes, and who owes what to whom for them."""
    return _Explainer(find).redemption(redemption)


class _Explainer:
    def __init__(self, find: Find) -> None:
        self._find = find

    def claim(self, claim: Claim, earning: Any) -> WhyRow:
        event, grams = self._event(claim), self._grams(claim)
        told = [f"{self._who(claim, event)} {words.deed(claim.kind, claim.quantity)} on {words.day(claim.occurred_at)}"]
        told.append(self._told_grams(grams))
        if earning is None:
            told.append("its points are not decided yet")
            return WhyRow(_sentence(told), event, grams)
        grants = self._grants(earning, claim)
        payments = [self._payment(lot) for lot in earning.lots]
        told.append(self._told_points(earning, grants))
        return WhyRow(_sentence(told), event, grams, grants, earning.reason or None, payments)

    def earning(self, earning: Any) -> WhyRow:
        claim = self._find(claims, earning.claim_id)
        if claim is not None:
            return self.claim(claim, earning)
        grants = self._grants(earning, None)
        payments = [self._payment(lot) for lot in earning.lots]
        told = _sentence([self._told_points(earning, grants)])
        return WhyRow(told, None, None, grants, earning.reason or None, payments)

    def entry(self, entry: Any) -> WhyRow:
        of_claim = self._of_claim(entry.claim_id)
        points = abs(entry.points)
        payments = [self._payment(lot, entry.partner_id) for lot in entry.lots]
        match entry.kind:
            case rewards.ENTRY_KIND_SPEND:
                redemption = self._find(redemptions, entry.redemption_id)
                return self._spent(redemption, points, payments, entry.partner_id)
            case rewards.ENTRY_KIND_EXPIRE:
                told = f"{self._of_issuers(payments)} had not been spent when their time was over"
            case rewards.ENTRY_KIND_CANCEL:
                told = f"{words.were(points)} taken back" + _of(of_claim)
            case rewards.ENTRY_KIND_REPAY:
                told = (
                    f"{words.counted(points, 'point')} repaid what had been spent of points that were taken back"
                    + _of(of_claim)
                )
            case rewards.ENTRY_KIND_REVERSE:
                redemption = self._find(redemptions, entry.redemption_id)
                what = f" on {self._reward(redemption)}" if redemption is not None else ""
                told = f"{words.counted(points, 'point')} came back, since a spend{what} was reversed"
                return WhyRow(_sentence([told]), payments=payments, redemption=redemption)
            case rewards.ENTRY_KIND_GIVE:
                told = f"{self._of_issuers(payments)} given to another member; they keep their value and expiry"
            case rewards.ENTRY_KIND_TAKE:
                told = f"{self._of_issuers(payments)} given by another member, who had earned them"
            case _ if of_claim is not None:
                return of_claim
            case _:
                told = f"{self._of_issuers(payments)} issued"
        about = of_claim or WhyRow("")
        return WhyRow(_sentence([told]), about.event, about.grams, about.grants, about.refusal, payments)

    def lot(self, lot: Any) -> WhyRow:
        payment = self._payment(lot)
        of_claim = self._of_claim(lot.claim_id)
        worth = words.money(lot.unit_value)
        told = [f"{self._of_issuers([payment])}, worth {worth} each since they were issued"]
        if lot.HasField("expires_at"):
            told[0] += f" and good until {words.day(lot.expires_at)}"
        told.append(f"{self._name(lot.issuer_partner_id)} has bought them ahead and pays for them where they are spent")
        if of_claim is None:
            return WhyRow(_sentence(told), payments=[payment])
        grants = [grant for grant in of_claim.grants if grant.rule_id == lot.rule_id]
        told += [grant.arithmetic for grant in grants]
        return WhyRow(_sentence(told), of_claim.event, of_claim.grams, grants, None, [payment])

    def redemption(self, redemption: Any) -> WhyRow:
        payments = [self._payment(lot, redemption.partner_id) for lot in redemption.lots]
        if redemption.status == rewards.REDEMPTION_STATUS_CAPTURED:
            return self._spent(redemption, redemption.points, payments, redemption.partner_id)
        reward = self._reward(redemption)
        if redemption.status == rewards.REDEMPTION_STATUS_HELD:
            told = (
                f"{words.counted(redemption.points, 'point')} held for {reward}; whose they are is settled at its till"
            )
        else:
            told = f"No points were spent: {reward} was given up, or nobody came for it in time"
        return WhyRow(_sentence([told]), redemption=redemption)

    def _of_claim(self, claim_id: str) -> WhyRow | None:
        """The explanation of a claim and of what it earned."""
        claim, earning = self._find(claims, claim_id), self._find(earnings, claim_id)
        return self.claim(claim, earning) if claim is not None else None

    def _spent(self, redemption: Any, points: int, payments: list[PaymentRow], payee: str) -> WhyRow:
        told = [f"{words.were(points)} spent" + (f" on {self._reward(redemption)}" if redemption is not None else "")]
        shop = self._name(payee)
        for payment in payments:
            part = words.counted(payment.points, "point")
            worth = f"{part} × {words.money(payment.unit_value)} = {words.money(payment.amount)}"
            issuer = self._name(payment.issuer_partner_id)
            own = payment.issuer_partner_id == payee
            told.append(
                f"{worth}, its own points" if own else f"{worth}, which {issuer} owes {shop} for points it issued"
            )
        return WhyRow(_sentence(told), payments=payments, redemption=redemption)

    def _event(self, claim: Claim) -> EventRow:
        act = self._find(acts, claim.act_id)
        drop_off = self._find(drop_offs, act.drop_off_id) if act is not None else None
        return EventRow(
            kind=claim.kind or None,
            quantity=claim.quantity,
            unit=words.unit_of(claim.kind),
            occurred_at=claim.occurred_at,
            recorded_at=claim.recorded_at if claim.HasField("recorded_at") else None,
            reference=(act.reference or None) if act is not None else None,
            partner_id=claim.partner_id,
            act_id=claim.act_id,
            drop_off_id=act.drop_off_id if act is not None else "",
            machine_id=drop_off.machine_id if drop_off is not None else "",
        )

    def _who(self, claim: Claim, event: EventRow) -> str:
        name = self._name(claim.partner_id)
        return f"A machine of {name} took in" if event.drop_off_id else f"{name} reported"

    def _grams(self, claim: Claim) -> GramsRow:
        factor = self._find(factors, claim.factor_id)
        avoided = factor.avoided_ug_per_unit if factor is not None else 0
        unit = words.unit_of(claim.kind)
        return GramsRow(claim.co2e_mg, words.grams(claim.quantity, unit, avoided, claim.co2e_mg), factor)

    def _told_grams(self, grams: GramsRow) -> str:
        factor = grams.factor
        if factor is None:
            return f"{grams.co2e_mg:,} mg CO₂e"
        if not factor.avoided_ug_per_unit:
            return f"no gram is credited, since no sound factor exists (factor {factor.id}, version {factor.version})"
        return f"{grams.arithmetic} avoided (factor {factor.id}, version {factor.version}, by {factor.source})"

    def _grants(self, earning: Any, claim: Claim | None) -> list[GrantRow]:
        base = sum(lot.points for lot in earning.lots if lot.rule_id.startswith(_RULE))
        return [
            GrantRow(
                lot.points,
                self._arithmetic(lot, claim, base),
                lot.rule_id,
                lot.expires_at if lot.HasField("expires_at") else None,
            )
            for lot in earning.lots
        ]

    def _arithmetic(self, lot: Any, claim: Claim | None, base: int) -> str:
        name = self._name(lot.issuer_partner_id)
        if lot.rule_id.startswith(_CAMPAIGN):
            campaign = self._find(campaigns, lot.rule_id)
            if campaign is not None:
                return words.topped_up(campaign, base, lot.points, f"{name}'s")
        elif lot.rule_id.startswith(_RULE):
            rule = self._find(rules, lot.rule_id)
            if rule is not None and claim is not None:
                told = words.ruled(rule, claim.quantity, lot.points)
                return f"{told} by {name}'s rule, version {rule.version}"
        return f"{words.counted(lot.points, 'point')} by {name}'s rules"

    def _told_points(self, earning: Any, grants: list[GrantRow]) -> str:
        if earning.status == rewards.EARNING_STATUS_REFUSED:
            return f"it earned no points, since {words.refusal(earning.reason)}"
        told = words.listed([grant.arithmetic for grant in grants])
        if earning.status == rewards.EARNING_STATUS_CANCELLED:
            return f"{told}, which were taken back"
        worth = {words.money(lot.unit_value) for lot in earning.lots}
        issuers = {self._name(lot.issuer_partner_id) for lot in earning.lots}
        return f"{told}; {words.listed(sorted(issuers))} pays {words.listed(sorted(worth))} for each where it is spent"

    def _payment(self, lot: Any, payee: str = "") -> PaymentRow:
        amount = Money(currency=lot.unit_value.currency, micros=lot.points * lot.unit_value.micros)
        own = payee == lot.issuer_partner_id
        return PaymentRow(
            lot.issuer_partner_id,
            "" if own else payee,
            lot.points,
            lot.unit_value,
            amount,
            lot.agreement_id or None,
        )

    def _of_issuers(self, payments: Iterable[PaymentRow]) -> str:
        """`40 points of Groenmarkt and 2 points of Noodle House`."""
        return words.listed(
            [f"{words.counted(p.points, 'point')} of {self._name(p.issuer_partner_id)}" for p in payments]
        )

    def _reward(self, redemption: Any) -> str:
        reward = self._find(catalogue, redemption.reward_id)
        title = f"“{reward.title}”" if reward is not None else "a reward"
        return f"{title} at {self._name(redemption.partner_id)}"

    def _name(self, partner_id: str) -> str:
        partner = self._find(partners, partner_id)
        return partner.name if partner is not None else "a brand"


def _of(explained: WhyRow | None) -> str:
    return f", which were for this: {explained.sentence.rstrip('.')}" if explained is not None else ""


def _sentence(parts: list[str]) -> str:
    """One sentence of several parts."""
    told = "; ".join(part for part in parts if part)
    return f"{told[:1].upper()}{told[1:]}." if told else ""
