"""Relay connections: the shape of every list that has pages."""

from typing import Generic, TypeVar

from gateway.access import INHERITED
from gateway.engine.declare import shape, value

Node = TypeVar("Node")


@shape("Where a page of a list begins and ends.", rule=INHERITED, shareable=True, weight=0, max_age=None)
class PageInfo:
    has_next_page: bool = value("Whether more rows follow.")
    has_previous_page: bool = value("Whether the page was asked for behind a cursor.")
    start_cursor: str | None = value("The cursor of the page's first row.")
    end_cursor: str | None = value("The cursor of the page's last row; give it as `after` to go on.")


@shape("A row of a page, with its place in the list.", rule=INHERITED, weight=0, max_age=None)
class Edge(Generic[Node]):
    cursor: str = value("The row's place in the list.")
    node: Node | None = value("The row; null if the viewer may not see it.")


@shape("A page of a list.", rule=INHERITED, max_age=None)
class Connection(Generic[Node]):
    edges: list[Edge[Node]] = value("The rows with their cursors.")
    nodes: list[Node | None] = value("The rows alone.")
    page_info: PageInfo = value("Where the page begins and ends.")
