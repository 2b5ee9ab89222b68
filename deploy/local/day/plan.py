"""The whole day as pure data. Names here are keys of the plan; the alliance's own ids are learnt while playing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from deploy.local.day.cast import BrandRole, Kind, Material, Place


@dataclass(frozen=True)
class Scale:
    """What a day is made from: the same values give the same day, to the last request id."""

    seed: int
    day: date
    members: int = 200
    acts: int = 1_500


@dataclass(frozen=True)
class Rule:
    """An earn rule of a brand, in force for acts from `valid_from` on."""

    key: str
    brand: str
    kind: Kind
    points: int
    per_quantity: int
    valid_from: datetime
    valid_months: int


@dataclass(frozen=True)
class Campaign:
    """Extra points of a brand for a while."""

    key: str
    brand: str
    name: str
    kind: Kind
    extra_percent: int
    valid_from: datetime
    valid_until: datetime
    budget_points: int
    member_cap_points: int
    points_expire_at: datetime


@dataclass(frozen=True)
class Agreement:
    """What a brand pays for one of its points, and how many it buys ahead."""

    brand: str
    unit_value_micros: int
    valid_from: datetime
    block_points: int


@dataclass(frozen=True)
class Reward:
    """Something that a brand gives for points."""

    key: str
    brand: str
    title: str
    points: int
    stock: int


@dataclass(frozen=True)
class Member:
    """A person, with the customer number at each brand; the first brand enrolled them.

    `consents` are the person's words in the order in which they are given; who is not named in them may not see.
    """

    key: str
    name: str
    numbers: tuple[tuple[str, str], ...]
    consents: tuple[tuple[str, bool], ...]

    @property
    def home(self) -> str:
        """The brand that enrolled the member."""
        return self.numbers[0][0]

    def number_at(self, brand: str) -> str:
        """The customer number at a brand; KeyError if the member is not a customer there."""
        return dict(self.numbers)[brand]

    def sees(self, brand: str) -> bool:
        """Whether, after all has been said, the brand may see the member."""
        return dict(self.consents).get(brand, False)


@dataclass(frozen=True)
class Report:
    """What a brand says a member did; `member` is empty where the number is one that nobody has linked."""

    brand: str
    member: str
    customer_number: str
    kind: Kind
    quantity: int
    occurred_at: datetime
    reference: str = ""


@dataclass(frozen=True)
class ReportCall:
    """One call of a brand's backend."""

    key: str
    brand: str
    reports: tuple[Report, ...]


@dataclass(frozen=True)
class Item:
    """A thing that a member handed in."""

    member: str
    material: Material
    weight_grams: int
    code: str
    occurred_at: datetime


@dataclass(frozen=True)
class Batch:
    """What a machine uploads in one go.

    `fate` says what has to come of it: CREDITED wholly, PARTLY (a bad item in a proceed batch), NOT (a bad item in a
    rollback batch), TWICE (the same batch is sent again), KNOWN (its events were in another batch), FORGED.
    """

    key: str
    machine: str
    mode: Literal["ROLLBACK", "PROCEED"]
    items: tuple[Item, ...]
    fate: Literal["CREDITED", "PARTLY", "NOT", "TWICE", "KNOWN", "FORGED"] = "CREDITED"


@dataclass(frozen=True)
class Spend:
    """A member redeems a reward. `captured` points are taken at the till: all, or fewer; None if it is given up.

    `refused`: the member has too few points for it.
    """

    key: str
    member: str
    reward: str
    captured: int | None
    refused: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that will happen."""

    scale: Scale
    brands: tuple[BrandRole, ...]
    agreements: tuple[Agreement, ...]
    rules: tuple[Rule, ...]
    campaigns: tuple[Campaign, ...]
    rewards: tuple[Reward, ...]
    places: tuple[Place, ...]
    members: tuple[Member, ...]
    batches: tuple[Batch, ...]
    # Reported at the same time by all brands, in order by each.
    calls: tuple[ReportCall, ...]
    # Reported when the calls above are done: the same acts once more, by the same brand or another.
    repeats: tuple[ReportCall, ...]
    spends: tuple[Spend, ...]

    def request_id(self, *what: str) -> str:
        """The request id of a step: the same in every run of this plan, and in no other plan."""
        scale = self.scale
        return _request_id(f"{scale.seed}/{scale.day}/{scale.members}/{scale.acts}", *what)

    def brand(self, key: str) -> BrandRole:
        """The brand with that key."""
        return next(brand for brand in self.brands if brand.key == key)

    def member(self, key: str) -> Member:
        """The member with that key."""
        return next(member for member in self.members if member.key == key)

    def reward(self, key: str) -> Reward:
        """The reward with that key."""
        return next(reward for reward in self.rewards if reward.key == key)

    def reports(self) -> Iterator[Report]:
        """All reports of brands, in an order in which they may be played."""
        for call in (*self.calls, *self.repeats):
            yield from call.reports


def _request_id(plan: str, *what: str) -> str:
    namespace: UUID = uuid5(NAMESPACE_URL, f"tag:alliance,2026:day:{plan}")
    return uuid5(namespace, "/".join(what)).hex
