"""The rows of Relay's types, made from a page that a source answered."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway.engine.source import Page


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """A row with its place in the list."""

    cursor: str
    node: Any


@dataclass(frozen=True, slots=True)
class PageInfoRow:
    """Where the page begins and ends."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


class ConnectionRow:
    """A page, and whether it was asked for behind a cursor."""

    def __init__(self, page: Page, *, behind: bool) -> None:
        self.nodes = page.rows
        self._page = page
        self._behind = behind

    @cached_property
    def edges(self) -> list[EdgeRow]:
        return [EdgeRow(cursor, node) for cursor, node in zip(self._page.cursors, self._page.rows, strict=True)]

    @cached_property
    def page_info(self) -> PageInfoRow:
        cursors = self._page.cursors
        return PageInfoRow(
            self._page.has_next_page,
            self._behind,
            cursors[0] if cursors else None,
            cursors[-1] if cursors else None,
        )
