// Composes subgraphs, given as files, by both widely used libraries; prints the supergraph, or what is wrong.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { createRequire } from "node:module";
import { parse } from "graphql";

const require = createRequire(import.meta.url);
const apollo = require("@apollo/composition");
const guild = require("@theguild/federation-composition");

const subgraphs = (edited = (text) => text) =>
  process.argv.slice(2).map((file) => ({
    name: basename(file, ".graphql"),
    url: `http://${basename(file, ".graphql")}.test/graphql`,
    typeDefs: parse(edited(readFileSync(file, "utf8"))),
  }));

const byApollo = apollo.composeServices(subgraphs());
// It takes sizedFields for the names of integers; by the specification, and Apollo, they are the names of lists.
const byGuild = guild.composeServices(subgraphs((text) => text.replace(/@listSize\([^)]*sizedFields[^)]*\)/g, "")));
const errors = [
  ...(byApollo.errors ?? []).map((error) => `apollo: ${error.message}`),
  ...(byGuild.errors ?? []).map((error) => `guild: ${error.message}`),
];
if (errors.length) {
  console.error(errors.join("\n"));
  process.exit(1);
}
console.log(byApollo.supergraphSdl);
