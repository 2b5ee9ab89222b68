"""Relay connections: the shape of every list that has pages, and the arguments by which it is of a stretch of time."""

from typing import Generic, TypeVar

from strawberry.types.arguments import StrawberryArgument

from gateway.access import INHERITED
from gateway.engine.declare import argument, shape, value
from gateway.scalars import DateTime

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


@shape(
    "A page of a list. There is no total of its rows: to count them would take as long as to read them all.",
    rule=INHERITED,
    max_age=None,
)
class Connection(Generic[Node]):
    edges: list[Edge[Node]] = value("The rows with their cursors.")
    nodes: list[Node | None] = value("The rows alone.")
    page_info: PageInfo = value("Where the page begins and ends.")


def within(happened: str, *, border: bool = False) -> list[StrawberryArgument]:
    """The arguments for a stretch of time; `happened` says of what moment it is: handed in, asked for.

    `border`: the moments are those of ids, which were made some milliseconds sooner or later.
    """
    told = " What happened within milliseconds of it may be on either side, and is never on both." if border else ""
    return [
        argument("since", DateTime | None, f"Only what was {happened} at this moment or later.{told}"),
        argument(
            "until", DateTime | None, f"Only what was {happened} before this moment; it has to be after `since`.{told}"
        ),
    ]
