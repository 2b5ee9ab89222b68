"""Makes the plan of a day from its scale."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from deploy.local.day.cast import BRANDS, FAMILY_NAMES, GIVEN_NAMES, PLACES, BrandRole
from deploy.local.day.clockwork import Clockwork
from deploy.local.day.plan import Agreement, Campaign, Member, Plan, Reward, Rule, Scale, Spend
from deploy.local.day.reckoning import reckon
from deploy.local.day.reporting import plan_reports
from deploy.local.day.uploads import plan_uploads

# Of a hundred members, how many are customers there too.
_FURTHER = {"transit": 60, "coffee": 45, "market": 20, "courier": 10, "florist": 15}
_SEASONS = ("Winter", "Spring", "Summer", "Autumn")


def make_plan(scale: Scale) -> Plan:
    """The plan of the day; the same for the same scale, on any machine."""
    return _Planner(scale).plan()


class _Planner:
    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._clockwork = Clockwork(scale, "people")

    def plan(self) -> Plan:
        members = self._members()
        items = self._scale.acts // 2
        calls, repeats = plan_reports(self._scale, members, self._scale.acts - items)
        bills = sum(report.brand == "florist" for call in calls for report in call.reports)
        plan = Plan(
            scale=self._scale,
            brands=BRANDS,
            agreements=tuple(self._agreement(brand, bills) for brand in BRANDS),
            rules=tuple(self._rules()),
            campaigns=self._campaigns(),
            rewards=tuple(
                Reward(f"{brand.key}-{number}", brand.key, title, points, stock=10_000)
                for brand in BRANDS
                for number, (title, points) in enumerate(brand.rewards, 1)
            ),
            places=PLACES,
            members=members,
            batches=plan_uploads(self._scale, members, items),
            calls=calls,
            repeats=repeats,
            spends=(),
        )
        return replace(plan, spends=tuple(self._spends(plan)))

    # Who takes part

    def _members(self) -> tuple[Member, ...]:
        homes = [brand.key for brand in BRANDS for _ in range(brand.share)]
        return tuple(
            self._member(number, homes[number * len(homes) // self._scale.members])
            for number in range(self._scale.members)
        )

    def _member(self, number: int, home: str) -> Member:
        others = [key for key, percent in _FURTHER.items() if key != home and self._clockwork.chance(percent)]
        numbers = tuple((key, self._customer_number(key, number)) for key in (home, *others))
        return Member(f"m{number:04}", self._name(number), numbers, tuple(self._consents(numbers)))

    def _consents(self, numbers: Sequence[tuple[str, str]]) -> Iterator[tuple[str, bool]]:
        for place, (brand, _) in enumerate(numbers):
            dice = self._clockwork.random.randrange(100)
            if dice < (70 if place == 0 else 40):
                yield brand, True
            elif dice < 85:
                yield brand, False
            elif dice < 90:
                yield brand, True
                yield brand, False

    def _name(self, number: int) -> str:
        names = len(GIVEN_NAMES)
        return f"{GIVEN_NAMES[number % names]} {FAMILY_NAMES[(number // names + number) % len(FAMILY_NAMES)]}"

    def _customer_number(self, brand: str, number: int) -> str:
        prefix = next(role.prefix for role in BRANDS if role.key == brand)
        return f"{prefix}-{100_000 + number * 7}"

    # What they agree on

    def _agreement(self, brand: BrandRole, florist_bills: int) -> Agreement:
        # The florist, new and careful, bought too small a block: it is used up during the day.
        points = 20 * max(1, florist_bills * 5 // 8) if brand.key == "florist" else 1_000_000
        return Agreement(brand.key, brand.unit_value_micros, self._clockwork.days_ago(395), points)

    def _rules(self) -> Iterator[Rule]:
        for brand in BRANDS:
            for earns in brand.earns:
                old = brand.key == "noodles"
                if old:
                    # Until not long ago its points were fewer, and good for a short while only.
                    yield Rule(
                        f"{brand.key}-{earns.kind}-1",
                        brand.key,
                        earns.kind,
                        earns.points,
                        earns.per_quantity * 2,
                        self._clockwork.days_ago(380),
                        valid_months=1,
                    )
                yield Rule(
                    f"{brand.key}-{earns.kind}-{2 if old else 1}",
                    brand.key,
                    earns.kind,
                    earns.points,
                    earns.per_quantity,
                    self._clockwork.days_ago(75 if old else 380),
                    earns.valid_months,
                )

    def _campaigns(self) -> tuple[Campaign, ...]:
        starts, ends = self._clockwork.season()
        return (
            Campaign(
                "season",
                "noodles",
                f"{_SEASONS[starts.month % 12 // 3]} clean-up",
                "CARDBOARD_RECYCLING",
                extra_percent=100,
                valid_from=starts,
                valid_until=ends,
                budget_points=100_000,
                member_cap_points=8,
                points_expire_at=ends + timedelta(days=14),
            ),
            Campaign(
                "cups",
                "coffee",
                "Your own cup",
                "OWN_CUP",
                extra_percent=50,
                valid_from=self._clockwork.days_ago(7),
                valid_until=self._clockwork.midnight + timedelta(days=1),
                budget_points=100_000,
                member_cap_points=5,
                points_expire_at=self._clockwork.midnight + timedelta(days=60),
            ),
        )

    # How they spend

    def _spends(self, plan: Plan) -> Iterator[Spend]:
        outcome = reckon(plan)
        dear = next(reward for reward in plan.rewards if reward.points > 10_000)
        cheap = [reward for reward in plan.rewards if reward is not dear]
        rich = sorted(
            (member for member in plan.members if member.key not in outcome.uncertain),
            key=lambda member: (-outcome.balance(member.key), member.key),
        )
        for number, member in enumerate(rich[: max(8, self._scale.members * 2 // 5)]):
            reward = self._elsewhere(
                cheap, outcome.balance(member.key), {lot.issuer for lot in outcome.wallets[member.key]}
            )
            if reward is None:
                continue
            captured: int | None = reward.points
            if number % 10 == 3:
                captured = reward.points // 2
            elif number % 20 == 5:
                captured = None
            yield Spend(f"spend-{member.key}", member.key, reward.key, captured)
        yield Spend("spend-beyond", rich[0].key, dear.key, None, refused=True)

    def _elsewhere(self, rewards: Sequence[Reward], balance: int, issuers: set[str]) -> Reward | None:
        """What a member can afford at a brand, best one that issued none of the member's points."""
        within = [reward for reward in rewards if reward.points <= balance]
        abroad = [reward for reward in within if reward.brand not in issuers]
        return self._clockwork.random.choice(abroad or within) if within else None
