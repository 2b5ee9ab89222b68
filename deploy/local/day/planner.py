"""Makes the plan of a day from its scale."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from deploy.local.day.cast import (
    BRANDS,
    FAMILY_NAMES,
    GIVEN_NAMES,
    GTINS,
    PLACES,
    BrandRole,
    Kind,
    Place,
)
from deploy.local.day.plan import (
    Agreement,
    Batch,
    Campaign,
    Item,
    Member,
    Plan,
    Report,
    ReportCall,
    Reward,
    Rule,
    Scale,
    Spend,
)
from deploy.local.day.reckoning import reckon

_BATCH_ITEMS = 12
_CALL_REPORTS = 6
_OPENS, _CLOSES = 6 * 3_600, 21 * 3_600
_SEASONS = ("Winter", "Spring", "Summer", "Autumn")


def make_plan(scale: Scale) -> Plan:
    """The plan of the day; the same for the same scale, on any machine."""
    return _Planner(scale).plan()


class _Planner:
    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._random = random.Random(f"{scale.seed}/{scale.day}")
        self._midnight = datetime.combine(scale.day, time(), UTC)

    def plan(self) -> Plan:
        members = self._members()
        items = self._scale.acts // 2
        batches = tuple(self._batches(members, items))
        calls, repeats = self._calls(members, self._scale.acts - items)
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
            batches=batches,
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
        # Everybody rides with the transit brand or is enrolled by it; many are customers of a third brand.
        further = [key for key in ("transit", "coffee", "market", "courier", "florist") if key != home]
        others = [key for key, chance in zip(further, (60, 45, 20, 10, 15), strict=False) if self._chance(chance)]
        numbers = tuple((key, self._customer_number(key, number)) for key in (home, *others))
        return Member(f"m{number:04}", self._name(number), numbers, tuple(self._consents(numbers)))

    def _consents(self, numbers: Sequence[tuple[str, str]]) -> Iterator[tuple[str, bool]]:
        for place, (brand, _) in enumerate(numbers):
            dice = self._random.randrange(100)
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
        return Agreement(brand.key, brand.unit_value_micros, self._days_ago(395), points)

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
                        self._days_ago(380),
                        valid_months=1,
                    )
                yield Rule(
                    f"{brand.key}-{earns.kind}-{2 if old else 1}",
                    brand.key,
                    earns.kind,
                    earns.points,
                    earns.per_quantity,
                    self._days_ago(75 if old else 380),
                    earns.valid_months,
                )

    def _campaigns(self) -> tuple[Campaign, ...]:
        starts, ends = self._season()
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
                valid_from=self._days_ago(7),
                valid_until=self._midnight + timedelta(days=1),
                budget_points=100_000,
                member_cap_points=5,
                points_expire_at=self._midnight + timedelta(days=60),
            ),
        )

    def _season(self) -> tuple[datetime, datetime]:
        """A month long enough ago that whatever was earned in it has expired."""
        starts = self._days_ago(150).replace(day=1)
        return starts, (starts + timedelta(days=32)).replace(day=1)

    # What the machines send

    def _batches(self, members: Sequence[Member], wanted: int) -> Iterator[Batch]:
        at_home = self._machine_of(members)
        late = self._late_items(members, at_home)
        by_machine: dict[str, list[Item]] = {place.key: [] for place in PLACES}
        for number in range(wanted - sum(len(items) for _, _, items in late)):
            # In turn: nobody comes near a day's cap.
            member = members[number % len(members)]
            place = at_home[member.key]
            by_machine[place.key].append(self._item(member, place, self._moment()))
        for place in PLACES:
            items = sorted(by_machine[place.key], key=lambda item: item.occurred_at)
            yield from self._uploads(place, items)
        for key, place, items in late:
            yield Batch(f"{place.key}-{key}", place.key, "PROCEED", tuple(items))

    def _machine_of(self, members: Sequence[Member]) -> dict[str, Place]:
        """Where each member hands things in."""
        return {member.key: PLACES[number % len(PLACES)] for number, member in enumerate(members)}

    def _uploads(self, place: Place, items: Sequence[Item]) -> Iterator[Batch]:
        """A machine's day in batches, with the trouble that some machines have."""
        parts = [tuple(items[start : start + _BATCH_ITEMS]) for start in range(0, len(items), _BATCH_ITEMS)]
        for number, part in enumerate(parts, 1):
            key = f"{place.key}-{number:03}"
            if number != 1:
                yield Batch(key, place.key, "ROLLBACK", part)
            elif place.key == "centraal":
                # The line broke before the answer came: the machine sends the batch again.
                yield Batch(key, place.key, "ROLLBACK", part, "TWICE")
            elif place.key == "museumplein":
                # The machine forgot what it had sent, and puts the same events into another batch.
                yield Batch(key, place.key, "ROLLBACK", part)
                yield Batch(f"{key}-again", place.key, "PROCEED", part[:5], "KNOWN")
            elif place.key == "ndsm":
                # The scale failed once: nothing of the batch counts, until it is sent corrected.
                yield Batch(f"{key}-bad", place.key, "ROLLBACK", (*part, _unweighed(part[-1])), "NOT")
                yield Batch(key, place.key, "ROLLBACK", part)
            elif place.key == "dappermarkt":
                yield Batch(key, place.key, "PROCEED", (*part, _unweighed(part[-1])), "PARTLY")
            elif place.key == "zuid":
                # Somebody who does not have the machine's key.
                forged = tuple(replace(item, code=f"{item.code}X") for item in part[:3])
                yield Batch(f"{key}-forged", place.key, "PROCEED", forged, "FORGED")
                yield Batch(key, place.key, "ROLLBACK", part)
            else:
                yield Batch(key, place.key, "ROLLBACK", part)

    def _late_items(self, members: Sequence[Member], at_home: dict[str, Place]) -> list[tuple[str, Place, list[Item]]]:
        """Machines that had been without a line: weeks, a season, and before its brand had any rule."""
        few = max(2, self._scale.acts // 75)
        starts, ends = self._season()
        return [
            self._late("weeks-late", members, at_home, "centraal", few, self._days_ago(28), self._days_ago(14)),
            self._late("season-late", members, at_home, "dappermarkt", few, starts, ends),
            self._late("year-late", members, at_home, "ndsm", 2, self._days_ago(388), self._days_ago(384)),
        ]

    def _late(
        self,
        key: str,
        members: Sequence[Member],
        at_home: dict[str, Place],
        place_key: str,
        number: int,
        since: datetime,
        until: datetime,
    ) -> tuple[str, Place, list[Item]]:
        place = next(place for place in PLACES if place.key == place_key)
        locals_ = [member for member in members if at_home[member.key] is place]
        span = int((until - since).total_seconds()) * 1_000
        moments = sorted(since + timedelta(milliseconds=self._random.randrange(span)) for _ in range(number))
        return key, place, [self._item(self._random.choice(locals_), place, moment) for moment in moments]

    def _item(self, member: Member, place: Place, occurred_at: datetime) -> Item:
        material = self._random.choice(place.materials)
        if material == "REUSABLE_BOX":
            return Item(member.key, material, 0, f"WP-BOX-{self._random.randrange(10**9):09}", occurred_at)
        # A bottle or a few; a box that is worth a point even by the oldest rule.
        grams = self._random.randrange(9, 60) if material == "PET" else self._random.randrange(40, 400)
        return Item(member.key, material, grams, self._random.choice(GTINS[material]), occurred_at)

    # What the brands report

    def _calls(self, members: Sequence[Member], wanted: int) -> tuple[tuple[ReportCall, ...], tuple[ReportCall, ...]]:
        trips, cups = wanted * 40 // 100, wanted * 35 // 100
        commuters = [member for member in members if "transit" in dict(member.numbers)]
        drinkers = [member for member in members if "coffee" in dict(member.numbers)]
        reports = [
            *self._heavy(commuters[: max(2, len(commuters) // 16)], "transit", "METRO_TRIP", 7),
            *self._heavy(drinkers[: max(2, len(drinkers) // 12)], "coffee", "OWN_CUP", 4),
        ]
        done: dict[str, int] = defaultdict(int)
        for report in reports:
            done[report.brand] += 1
        reports += self._light(commuters, "transit", trips - done["transit"])
        reports += self._light(drinkers, "coffee", cups - done["coffee"])
        strangers = [
            Report("market", "", "GM-000000", "ELECTRONIC_BILL", 1, self._moment(), "GM/B/STRANGER"),
            Report("coffee", "", "MC-000000", "OWN_CUP", 1, self._moment()),
        ]
        bills = wanted - len(reports) - len(strangers)
        payers = {brand: [m for m in members if brand in dict(m.numbers)] for brand in ("market", "courier", "florist")}
        for number in range(bills):
            brand = ("market", "courier", "market", "florist")[number % 4] if payers["florist"] else "market"
            reports.append(self._bill(payers[brand][number // 4 % len(payers[brand])], brand, number))
        reports += strangers
        calls = tuple(self._in_calls("report", sorted(reports, key=lambda report: report.occurred_at)))
        return calls, tuple(self._in_calls("repeat", list(self._repeats(reports, members))))

    def _in_calls(self, what: str, reports: Sequence[Report]) -> Iterator[ReportCall]:
        for brand in BRANDS:
            own = [report for report in reports if report.brand == brand.key]
            for start in range(0, len(own), _CALL_REPORTS):
                key = f"{what}-{brand.key}-{start // _CALL_REPORTS + 1:03}"
                yield ReportCall(key, brand.key, tuple(own[start : start + _CALL_REPORTS]))

    def _heavy(self, members: Sequence[Member], brand: str, kind: Kind, times: int) -> Iterator[Report]:
        """More of a kind than a day's cap lets count."""
        for member in members:
            for _ in range(times):
                yield self._act(member, brand, kind)

    def _light(self, members: Sequence[Member], brand: str, wanted: int) -> Iterator[Report]:
        """Acts of people who stay below the caps, and of some who do not mean to."""
        for number in range(wanted):
            if brand == "coffee":
                kind: Kind = "OWN_CUP"
            else:
                kind = self._random.choices(("METRO_TRIP", "BUS_TRIP", "LIGHT_RAIL_TRIP"), (5, 3, 2))[0]
            yield self._act(members[-1 - number % len(members)], brand, kind)

    def _act(self, member: Member, brand: str, kind: Kind) -> Report:
        reference, quantity = "", 1
        if kind != "OWN_CUP":
            reference = f"TL-{self._scale.day:%Y%m%d}-{self._random.randrange(10**8):08}"
            quantity = self._random.randrange(800, 14_000)
        number = member.number_at(brand)
        return Report(brand, member.key, number, kind, quantity, self._moment(), reference)

    def _bill(self, member: Member, brand: str, number: int) -> Report:
        reference = f"{brand[:1].upper()}/B/{self._scale.day:%y%m%d}/{number:05}"
        customer = member.number_at(brand)
        return Report(brand, member.key, customer, "ELECTRONIC_BILL", 1, self._moment(), reference)

    def _repeats(self, reports: Sequence[Report], members: Sequence[Member]) -> Iterator[Report]:
        """One trip is reported by a second brand too, with its number spelled in another way; three acts are sent twice
        by the same brand; one act lies too far back."""
        names = {member.key: dict(member.numbers) for member in members}
        # Not one of the heavy users', which come first.
        shared = next(r for r in reversed(reports) if r.brand == "transit" and "market" in names[r.member])
        yield replace(
            shared,
            brand="market",
            customer_number=names[shared.member]["market"],
            reference=shared.reference.lower().replace("-", " "),
            occurred_at=shared.occurred_at + timedelta(seconds=40),
        )
        yield from [report for report in reports if report.kind == "BUS_TRIP"][:3]
        old = next(report for report in reports if report.kind == "BUS_TRIP")
        yield replace(old, occurred_at=self._days_ago(420), reference=f"{old.reference}-OLD")

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
        return self._random.choice(abroad or within) if within else None

    # Small things

    def _moment(self) -> datetime:
        """During the day, to the millisecond."""
        return self._midnight + timedelta(milliseconds=self._random.randrange(_OPENS * 1_000, _CLOSES * 1_000))

    def _days_ago(self, days: int) -> datetime:
        return self._midnight - timedelta(days=days)

    def _chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent


def _unweighed(item: Item) -> Item:
    return replace(item, material="PET", weight_grams=0, occurred_at=item.occurred_at + timedelta(seconds=1))
