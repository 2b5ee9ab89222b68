"""Global object identification, as Relay and other caches of clients take it: any object by its `id` alone."""

import strawberry

from gateway.engine.declare import value


@strawberry.interface(description="What can be asked for again by its id alone, with `node`; no two have the same id.")
class Node:
    id: strawberry.ID = value("By which clients keep it; its prefix says of which type it is.")
