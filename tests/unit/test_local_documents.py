"""Every document of the day fits the schema that the gateway has committed."""

from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

from deploy.local.day import documents

DOCUMENTS = {name: text for name, text in vars(documents).items() if name.isupper() and not name.startswith("_")}


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    sdl = Path(__file__).parents[2] / "gateway" / "schema.graphql"
    # Its federation directives are the gateway's business.
    return build_schema(sdl.read_text(), assume_valid_sdl=True)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_the_document_fits_the_schema(name: str, schema: GraphQLSchema):
    assert validate(schema, parse(DOCUMENTS[name])) == []
