"""The domains as subgraphs of their own: committed, complete, and composed by those libraries that routers use."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from graphql import ObjectTypeDefinitionNode, parse, print_ast

from gateway import schema

ROUTER = Path(__file__).parents[1] / "federation"
installed = pytest.mark.skipif(not (ROUTER / "node_modules").exists(), reason="make router fetches the libraries")


@pytest.fixture(scope="module")
def made() -> dict[Path, str]:
    return schema.subgraphs()


def objects(sdl: str) -> dict[str, Any]:
    return {node.name.value: node for node in parse(sdl).definitions if isinstance(node, ObjectTypeDefinitionNode)}


def is_entity(node: Any) -> bool:
    return any(directive.name.value == "key" for directive in node.directives or ())


def test_the_committed_subgraphs_are_fresh(made: dict[Path, str]):
    assert {file.name: file.read_text() for file in schema.SUBGRAPHS.glob("*.graphql")} == {
        file.name: text for file, text in made.items()
    }, "run `make schema`"


def test_together_they_have_all_that_the_gateway_has_and_no_more(made: dict[Path, str]):
    whole = {
        f"{name}.{field.name.value}"
        for name, node in objects(schema.sdl()).items()
        for field in node.fields
        if not name.startswith("_") and not field.name.value.startswith("_")
    }
    parts = {
        f"{name}.{field.name.value}"
        for text in made.values()
        for name, node in objects(text).items()
        for field in node.fields
    }
    assert parts == whole - {"Query.node"}, "which is for clients of the whole"


def test_a_door_and_a_field_of_an_entity_are_of_one_domain(made: dict[Path, str]):
    keys = {"id", "claim", "member"}
    homes: Counter[str] = Counter()
    for text in made.values():
        for name, node in objects(text).items():
            if is_entity(node) or name in ("Query", "Mutation", "Subscription"):
                homes.update(f"{name}.{field.name.value}" for field in node.fields if field.name.value not in keys)
    assert [name for name, count in homes.items() if count > 1] == []


def test_services_extend_each_others_entities(made: dict[Path, str]):
    texts = {file.stem: objects(text) for file, text in made.items()}
    fields = {
        domain: {field.name.value for field in found["Member"].fields}
        for domain, found in texts.items()
        if "Member" in found
    }
    assert fields["logistics"] == {"id", "dropOffs"}
    assert fields["rewards"] == {"id", "wallet", "entries", "redemptions"}
    assert fields["alliance"] == {"id"}
    assert "partners" not in fields
    assert {field.name.value for field in texts["rewards"]["Partner"].fields} == {"id", "points", "redemptions"}
    assert "resolvable: false" in print_ast(texts["rewards"]["Act"])


def test_doors_say_whom_they_are_for(made: dict[Path, str]):
    accounts = next(text for file, text in made.items() if file.stem == "accounts")
    doors = {field.name.value: print_ast(field) for field in objects(accounts)["Query"].fields}
    assert 'tag(name: "public")' in doors["factors"]
    assert 'tag(name: "operator")' in doors["members"]
    assert 'tag(name: "member")' not in doors["members"]
    assert 'tag(name: "member")' in doors["member"]


@installed
def test_the_subgraphs_compose(made: dict[Path, str]):
    compose(*sorted(made))


@installed
def test_the_gateway_composes_with_another_subgraph(tmp_path: Path):
    shop = tmp_path / "shop.graphql"
    shop.write_text(
        """extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
        type Query { shoes: [Shoe!]! }
        type Shoe { name: String!  price: Money  owner: Member }
        type Money @shareable { currency: String!  micros: Long! }
        scalar Long
        type Member @key(fields: "id") { id: ID!  shoeSize: Int }
        """
    )
    assert "shoeSize" in compose(schema.SDL_FILE, shop)


@installed
def test_what_does_not_compose_is_told(tmp_path: Path):
    shop = tmp_path / "shop.graphql"
    shop.write_text("type Query { viewer: String }")
    with pytest.raises(AssertionError, match="viewer"):
        compose(schema.SDL_FILE, shop)


def compose(*files: Path) -> str:
    done = subprocess.run(
        [shutil.which("node") or "node", str(ROUTER / "compose.mjs"), *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
