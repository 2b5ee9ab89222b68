// A brand's own router: composes the gateway's subgraph, as it serves it, with a shoe shop's, and answers a query over
// both. Arguments: the gateway's URL, its bearer token, the id of a member. Prints the answer as JSON.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { buildSchema, graphql, parse } from "graphql";

const require = createRequire(import.meta.url);
const { ApolloGateway, RemoteGraphQLDataSource } = require("@apollo/gateway");
const { composeServices } = require("@apollo/composition");

const [gatewayUrl, token, memberId] = process.argv.slice(2);

const SHOP = `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
  type Query { shoes(first: Int): ShoeConnection! }
  type ShoeConnection { nodes: [Shoe!]!  pageInfo: PageInfo! }
  type PageInfo @shareable {
    hasNextPage: Boolean!  hasPreviousPage: Boolean!  startCursor: String  endCursor: String
  }
  type Shoe { name: String!  owner: Member }
  type Member @key(fields: "id") { id: ID!  shoeSize: Int }
`;

const shop = buildSchema(
  `directive @key(fields: String!) repeatable on OBJECT
   directive @shareable on OBJECT
   directive @link(url: String!, import: [String!]) repeatable on SCHEMA
   scalar _Any  union _Entity = Member  type _Service { sdl: String! }
   ${SHOP.replace(/extend schema[^\n]*/, "").replace(
     "type Query {",
     "type Query { _service: _Service!  _entities(representations: [_Any!]!): [_Entity]! ",
   )}`,
);
const root = {
  _service: { sdl: SHOP },
  _entities: ({ representations }) =>
    representations.map(({ id }) => ({ __typename: "Member", id, shoeSize: id === memberId ? 43 : null })),
  shoes: {
    nodes: [
      { name: "Brogue", owner: { id: memberId, shoeSize: 43 } },
      { name: "Clog", owner: { id: "member_00000000000000000000000000", shoeSize: null } },
    ],
    pageInfo: { hasNextPage: false, hasPreviousPage: false },
  },
};
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const { query, variables } = JSON.parse(body);
  const answer = await graphql({ schema: shop, source: query, rootValue: root, variableValues: variables });
  response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

async function sdlOf(url) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query: "{ _service { sdl } }" }),
  });
  return (await answer.json()).data._service.sdl;
}

const urls = { alliance: gatewayUrl, shop: `http://127.0.0.1:${server.address().port}/graphql` };
const subgraphs = await Promise.all(
  Object.entries(urls).map(async ([name, url]) => ({ name, url, typeDefs: parse(await sdlOf(url)) })),
);
const composed = composeServices(subgraphs);
if (composed.errors) throw new Error(composed.errors.map((error) => error.message).join("\n"));

const router = new ApolloGateway({
  supergraphSdl: composed.supergraphSdl,
  buildService: ({ url }) =>
    new RemoteGraphQLDataSource({
      url,
      willSendRequest: ({ request }) => request.http.headers.set("authorization", `Bearer ${token}`),
    }),
  logger: { debug() {}, info() {}, warn: console.error, error: console.error },
});
const { schema, executor } = await router.load();
const query = `{
  shoes { nodes { name owner { id shoeSize displayName wallet { available } } } pageInfo { hasNextPage } }
  member(id: "${memberId}") { displayName shoeSize claims { nodes { co2eMg } pageInfo { hasNextPage } } }
}`;
const answer = await executor({
  schema,
  document: parse(query),
  request: { query, variables: {}, http: { headers: new Map() } },
  queryHash: "shoes",
  context: {},
  metrics: {},
  logger: console,
});
console.log(JSON.stringify(answer));
await router.stop();
server.close();
