"""`python -m gateway.declared FOLDER`: whether the gateway could serve what brands declare, before it is rolled out.

Reads the files as the gateway does, by the limits of the environment; of each document it tells whether this schema
still has what it asks for, and whether it costs no more than is allowed, with the pages that it asks for by default.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from graphql import OperationDefinitionNode

from gateway.allowances import documents_within
from gateway.brands import STRANGERS, Brand, BrandFileInvalid, declared_in
from gateway.config import Limits, StrangerLimits
from gateway.engine.document import DocumentInvalid, Documents
from gateway.engine.shape import TooExpensive


def faults(folder: Path, documents: Documents) -> Iterator[str]:
    """What is wrong with the files of a folder, a line for each."""
    for file in sorted(folder.glob("*.json")):
        try:
            brand = declared_in(file)
        except BrandFileInvalid as error:
            yield str(error)
            continue
        for text, ids in _ids_by_document(brand).items():
            try:
                _check(text, documents, stranger=file.stem == STRANGERS)
            except (DocumentInvalid, TooExpensive) as error:
                yield f"{file.name}: the document {ids[0]!r}: {error}"


def _ids_by_document(brand: Brand) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id, text in brand.documents.items():
        found.setdefault(text, []).append(id)
    return found


def _check(text: str, documents: Documents, *, stranger: bool) -> None:
    document = documents.prepare(text)
    for node in document.node.definitions:
        if isinstance(node, OperationDefinitionNode):
            operation = documents.operation(document, node.name.value if node.name else None)
            documents.cost(operation, {}, stranger=stranger)


def main(folder: str) -> int:
    """The exit status: 1 if anything is wrong."""
    found = list(faults(Path(folder), documents_within(Limits(), StrangerLimits())))
    print("\n".join(found) if found else "all can be served")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    raise SystemExit(main(sys.argv[1]))
