"""What the brands report on the planned day."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from deploy.local.day.cast import BRANDS, Kind
from deploy.local.day.clockwork import Clockwork
from deploy.local.day.plan import Member, Report, ReportCall, Scale

_CALL_REPORTS = 10

Calls = tuple[ReportCall, ...]


def plan_reports(scale: Scale, members: Sequence[Member], wanted: int) -> tuple[Calls, Calls]:
    """Calls with `wanted` reports, and those that come after them and repeat some."""
    return _Reporting(scale).calls(members, wanted)


class _Reporting:
    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._clockwork = Clockwork(scale, "reports")

    def calls(self, members: Sequence[Member], wanted: int) -> tuple[tuple[ReportCall, ...], tuple[ReportCall, ...]]:
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
            Report("market", "", "GM-000000", "ELECTRONIC_BILL", 1, self._clockwork.moment(), "GM/B/STRANGER"),
            Report("coffee", "", "MC-000000", "OWN_CUP", 1, self._clockwork.moment()),
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
                kind = self._clockwork.random.choices(("METRO_TRIP", "BUS_TRIP", "LIGHT_RAIL_TRIP"), (5, 3, 2))[0]
            yield self._act(members[-1 - number % len(members)], brand, kind)

    def _act(self, member: Member, brand: str, kind: Kind) -> Report:
        reference, quantity = "", 1
        if kind != "OWN_CUP":
            reference = f"TL-{self._scale.day:%Y%m%d}-{self._clockwork.random.randrange(10**8):08}"
            quantity = self._clockwork.random.randrange(800, 14_000)
        number = member.number_at(brand)
        return Report(brand, member.key, number, kind, quantity, self._clockwork.moment(), reference)

    def _bill(self, member: Member, brand: str, number: int) -> Report:
        reference = f"{brand[:1].upper()}/B/{self._scale.day:%y%m%d}/{number:05}"
        customer = member.number_at(brand)
        return Report(brand, member.key, customer, "ELECTRONIC_BILL", 1, self._clockwork.moment(), reference)

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
        yield replace(old, occurred_at=self._clockwork.days_ago(420), reference=f"{old.reference}-OLD")
