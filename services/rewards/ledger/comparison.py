"""A partition's read models beside its log: accounts as the log makes them, and their next moments in due lists."""

import asyncio
from collections.abc import Callable
from typing import Any

from services.rewards.ledger.differences import UNREADABLE, difference
from services.rewards.ledger.dues import next_due
from services.rewards.ledger.findings import Findings, Subject
from services.rewards.ledger.model import NO_PARTNER
from services.rewards.ledger.store import (
    MINUTE,
    Bucket,
    Checkpoint,
    Stored,
    ViewMalformed,
    Views,
    body_of,
    line,
    stored,
)
from services.rewards.ledger.walk import Walk

_READ_AT_ONCE = 16  # buckets


class Comparison:
    """Takes the walk from one block to the next that read models say they are from; whatever differs is noted."""

    def __init__(self, walk: Walk, views: Views, findings: Findings, partition_of: Callable[[str], int]) -> None:
        self._walk = walk
        self._views = views
        self._findings = findings
        self._partition_of = partition_of
        self._lists_are_known = True
        self._unlisted: list[tuple[str, int]] = []

    async def all(self) -> None:
        """Everything in the partition, and its log to the end. Stopped."""
        partition, walk = self._walk.partition, self._walk
        await self._take_in_lists()
        try:
            checkpoint = await self._views.checkpoint(partition)
        except ViewMalformed as error:
            self._note(str(error))
            await walk.forward(None)
            return
        walk.mark = checkpoint.seq
        await walk.forward(checkpoint.seq)
        self._check_checkpoint(checkpoint)
        # Buckets up to the checkpoint are as they were then; one that is ahead of it, as of its own block.
        later: list[tuple[int, int, Bucket]] = []
        buckets = range(self._views.shape.buckets)
        for start in range(0, len(buckets), _READ_AT_ONCE):
            for number, bucket in (await self._buckets(buckets[start : start + _READ_AT_ONCE])).items():
                if bucket.seq <= checkpoint.seq:
                    self._check_bucket(number, bucket)
                else:
                    later.append((bucket.seq, number, bucket))
                await asyncio.sleep(0)
        for seq, number, bucket in sorted(later):
            await walk.forward(seq)
            self._check_bucket(number, bucket)
        await walk.forward(None)
        await self._check_unlisted()

    async def _take_in_lists(self) -> None:
        try:
            async for due_list in self._views.all_due_lists(self._walk.partition):
                self._walk.scratch.add_due(due_list.minute, due_list.members)
        except ViewMalformed as error:
            self._note(str(error))
            self._lists_are_known = False

    async def _buckets(self, numbers: range) -> dict[int, Bucket]:
        """Those of the buckets that can be read and have the block's number that is in them; one that is not there is
        empty.
        """
        try:
            found = await self._views.buckets(self._walk.partition, numbers)
        except ViewMalformed as error:
            if len(numbers) == 1:
                self._note(str(error))
                return {}
            return {
                number: bucket
                for each in numbers
                for number, bucket in (await self._buckets(range(each, each + 1))).items()
            }
        good = {}
        for number in numbers:
            bucket = found.get(number, Bucket(0, b""))
            if bucket.body.split(b"\n", 1)[0] == (b"%d" % bucket.seq if bucket.seq else b""):
                good[number] = bucket
            else:
                self._note(f"{self._accounts(number)}, field seq: is {bucket.seq}, the body says otherwise")
        return good

    def _check_checkpoint(self, checkpoint: Checkpoint) -> None:
        what = f"partition {self._walk.partition}, checkpoint of block {checkpoint.seq}"
        books = self._walk.books
        if checkpoint.transit != books.transit:
            self._differs(f"{what}, transit", checkpoint.transit, books.transit)
        for id in sorted(checkpoint.partners.keys() | books.partners.keys()):
            account, expected = checkpoint.partners.get(id, NO_PARTNER), books.partners.get(id, NO_PARTNER)
            if account != expected:
                self._differs(f"{what}, account {id}", account, expected)

    def _check_bucket(self, number: int, bucket: Bucket) -> None:
        what = self._accounts(number)
        rows = bucket.rows()
        for place, row in enumerate(rows):
            try:
                member, account = stored(row)
                if not isinstance(member, str) or line(member, *account) != row:
                    raise ViewMalformed("field body: is not written in the one way there is")
            except (ViewMalformed, *UNREADABLE) as error:
                self._note(f"{what}, account {place}, {error}")
                continue
            if self._partition_of(member) != self._walk.partition or self._views.shape.bucket_of(member) != number:
                self._note(f"{what}, account {member}, field id: does not belong here")
            else:
                self._check_account(f"{what}, account {member}", member, account)
            self._walk.scratch.trim()
        if len(rows) != self._walk.members[number]:
            made = f"has {len(rows)} accounts, the log makes {self._walk.members[number]}"
            self._lays_to_accounts(f"{what}: {made}{self._missing(number, bucket)}")
        if bucket.seq and bucket.body != body_of(bucket.seq, rows):
            self._note(f"{what}, field body: is not written in the one way there is")

    def _check_account(self, what: str, member: str, found: Stored) -> None:
        expected, seq = self._walk.scratch.account(member)
        if found.last != seq:
            self._lays_to_accounts(f"{what}, field last: is {found.last}, the log says {seq}")
        if found.account != expected:
            self._differs(what, found.account, expected)
        if found.due != (moment := next_due(found.account)):
            self._note(f"{what}, field due: is {found.due}, the account says {moment}")
        elif found.due is not None and not self._walk.scratch.is_due(found.due // MINUTE, member):
            self._unlisted.append((member, found.due))

    def _missing(self, number: int, bucket: Bucket) -> str:
        for member, _ in self._walk.scratch.accounts():
            if self._views.shape.bucket_of(member) == number and bucket.find(member) is None:
                return f"; account {member} is missing"
        return ""

    async def _check_unlisted(self) -> None:
        """Lists come and go while the ledger is in use: what was not in one may be by now, or not be due any more."""
        if not self._lists_are_known:
            return
        for member, due in self._unlisted:
            account, _ = self._walk.scratch.account(member)
            if next_due(account) == due and member not in await self._listed(due // MINUTE):
                what = f"account {member}, field due: {due} is in no due list"
                self._note(f"{self._accounts(self._views.shape.bucket_of(member))}, {what}")
            self._walk.scratch.trim()

    async def _listed(self, minute: int) -> set[str]:
        return await self._views.listed(self._walk.partition, minute)

    def _differs(self, what: str, found: Any, expected: Any) -> None:
        self._lays_to_accounts(f"{what}, field {difference(found, expected)}: the log says otherwise")

    def _lays_to_accounts(self, text: str) -> None:
        """Where the log has been changed, what differs from it may be right."""
        if self._walk.damaged:
            self._findings.cannot_tell(Subject.ACCOUNTS)
        else:
            self._note(text)

    def _note(self, text: str) -> None:
        self._findings.note(Subject.ACCOUNTS, text)

    def _accounts(self, number: int) -> str:
        return f"partition {self._walk.partition}, accounts {number}"
