"""Chance and time of a day: the same seed gives the same of both."""

import random
from datetime import UTC, datetime, time, timedelta

from deploy.local.day.plan import Scale

_OPENS, _CLOSES = 6 * 3_600, 21 * 3_600


class Clockwork:
    """What the parts of a plan draw from."""

    def __init__(self, scale: Scale, part: str) -> None:
        self.random = random.Random(f"{scale.seed}/{scale.day}/{part}")
        self.midnight = datetime.combine(scale.day, time(), UTC)

    def moment(self) -> datetime:
        """During the day, to the millisecond."""
        return self.midnight + timedelta(milliseconds=self.random.randrange(_OPENS * 1_000, _CLOSES * 1_000))

    def days_ago(self, days: int) -> datetime:
        """Midnight, so many days before the day."""
        return self.midnight - timedelta(days=days)

    def chance(self, percent: int) -> bool:
        """True so many times of a hundred."""
        return self.random.randrange(100) < percent

    def season(self) -> tuple[datetime, datetime]:
        """A month long enough ago that whatever could be earned in it would have expired."""
        starts = self.days_ago(150).replace(day=1)
        return starts, (starts + timedelta(days=32)).replace(day=1)
