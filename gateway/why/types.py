"""Why: the explanation of grams and points."""

import strawberry

from gateway.access import INHERITED
from gateway.accounts.sources import acts
from gateway.accounts.types import Act, ActKind, Factor
from gateway.engine.declare import join, shape, value
from gateway.logistics.sources import drop_offs, machines
from gateway.logistics.types import DropOff, Machine
from gateway.partners.sources import campaigns, partners, rules
from gateway.partners.types import Campaign, EarnRule, Money, Partner
from gateway.rewards.types import Redemption
from gateway.scalars import DateTime, Long, Milligrams, Points


@shape("What happened, and how the alliance knows of it.", rule=INHERITED)
class WhyEvent:
    kind: ActKind | None = value("What was done.")
    quantity: Long = value("How much.")
    unit: str = value("The unit of the quantity: m, g, bill, box or cup.")
    occurred_at: DateTime | None = value("When it was done.")
    recorded_at: DateTime | None = value("When the alliance credited it.")
    reference: str | None = value("The number of the ticket, receipt or bill behind it.")
    reporter: Partner | None = join(partners, "The brand that reported it, or whose machine did.", on="partner_id")
    act: Act | None = join(acts, "The report.", on="act_id")
    drop_off: DropOff | None = join(drop_offs, "What was handed in at a machine, if that was it.", on="drop_off_id")
    machine: Machine | None = join(machines, "The machine that recorded and signed it, if one did.", on="machine_id")


@shape("How grams were worked out.", rule=INHERITED)
class WhyGrams:
    co2e_mg: Milligrams = value("Milligrams CO2e avoided.")
    arithmetic: str = value("Quantity times factor, rounded down to a milligram.")
    factor: Factor | None = value("The factor in its version, with its source; fixed when it was credited.")


@shape("How points of one rule or campaign were worked out.", rule=INHERITED)
class WhyGrant:
    points: Points = value("How many it gave.")
    arithmetic: str = value("Quantity times rate, or rule's points times extra percent, each rounded down.")
    rule: EarnRule | None = join(
        rules, "The rule in its version; null if it was a campaign.", on="rule_id", prefix="rule_", entry=INHERITED
    )
    campaign: Campaign | None = join(
        campaigns, "The campaign; null if it was a rule.", on="rule_id", prefix="campaign_", entry=INHERITED
    )
    expires_at: DateTime | None = value("Until when they are good.")


@shape(
    "Who pays for points. The issuer has bought its points ahead, in blocks that are one pool: no point is out of a "
    "certain block.",
    rule=INHERITED,
)
class WhyPayment:
    issuer: Partner | None = join(
        partners, "Whose points they are, and who pays when they are spent elsewhere.", on="issuer_partner_id"
    )
    payee: Partner | None = join(
        partners,
        "Whom the issuer owes the amount; null before they are spent, and at its own till.",
        on="payee_partner_id",
    )
    points: Points = value("How many points.")
    unit_value: Money | None = value("What one of them is worth, fixed at issue.")
    amount: Money | None = value("Points times unit value.")
    agreement_id: strawberry.ID | None = value("The agreement that fixed the value; null where lots are merged.")


@shape(
    "Why there are these grams and points: what happened, by which factor and rules, and who pays. Whoever sees what "
    "is explained sees all of the explanation's own words and numbers.",
    rule=INHERITED,
)
class Why:
    sentence: str = value("All of it in one sentence, for a person.")
    event: WhyEvent | None = value("What happened; null if several things did, or none.")
    grams: WhyGrams | None = value("How the grams were worked out.")
    grants: list[WhyGrant] = value("How the points were worked out, by rule and campaign.", size=3)
    refusal: str | None = value("Why there are no points, for programs: NO_EARN_RULE and others.")
    payments: list[WhyPayment] = value("Who pays for the points, by issuer and value.", size=3)
    redemption: Redemption | None = value("What they were spent on.")
