"""What the machines send on the planned day, and what goes wrong with it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from deploy.local.day.cast import GTINS, PLACES, Place
from deploy.local.day.clockwork import Clockwork
from deploy.local.day.plan import Batch, Item, Member, Scale

_BATCH_ITEMS = 20


def plan_uploads(scale: Scale, members: Sequence[Member], wanted: int) -> tuple[Batch, ...]:
    """Batches in which `wanted` items count, in order by machine."""
    return tuple(_Uploads(scale).batches(members, wanted))


class _Uploads:
    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._clockwork = Clockwork(scale, "uploads")

    def batches(self, members: Sequence[Member], wanted: int) -> Iterator[Batch]:
        at_home = self._machine_of(members)
        late = self._late_items(members, at_home)
        by_machine: dict[str, list[Item]] = {place.key: [] for place in PLACES}
        for number in range(wanted - sum(len(items) for _, _, items in late)):
            # In turn: nobody comes near a day's cap.
            member = members[number % len(members)]
            place = at_home[member.key]
            by_machine[place.key].append(self._item(member, place, self._clockwork.moment()))
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
        starts, ends = self._clockwork.season()
        return [
            self._late(
                "weeks-late",
                members,
                at_home,
                "centraal",
                few,
                self._clockwork.days_ago(28),
                self._clockwork.days_ago(14),
            ),
            self._late("season-late", members, at_home, "dappermarkt", few, starts, ends),
            self._late(
                "year-late", members, at_home, "ndsm", 2, self._clockwork.days_ago(388), self._clockwork.days_ago(384)
            ),
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
        moments = sorted(since + timedelta(milliseconds=self._clockwork.random.randrange(span)) for _ in range(number))
        return key, place, [self._item(self._clockwork.random.choice(locals_), place, moment) for moment in moments]

    def _item(self, member: Member, place: Place, occurred_at: datetime) -> Item:
        material = self._clockwork.random.choice(place.materials)
        if material == "REUSABLE_BOX":
            return Item(member.key, material, 0, f"WP-BOX-{self._clockwork.random.randrange(10**9):09}", occurred_at)
        # A bottle or a few; a box that is worth a point even by the oldest rule.
        grams = (
            self._clockwork.random.randrange(9, 60) if material == "PET" else self._clockwork.random.randrange(40, 400)
        )
        return Item(member.key, material, grams, self._clockwork.random.choice(GTINS[material]), occurred_at)


def _unweighed(item: Item) -> Item:
    return replace(item, material="PET", weight_grams=0, occurred_at=item.occurred_at + timedelta(seconds=1))
