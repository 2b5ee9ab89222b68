// The audit of GraphQL over HTTP by the library of its working group: `node audit.mjs URL` prints what was not "ok".
import { auditServer } from "graphql-http";

const results = await auditServer({ url: process.argv[2], fetchFn: fetch });
const wrong = results.filter((result) => result.status !== "ok");
console.log(JSON.stringify({ audits: results.length, wrong: wrong.map(({ id, name, reason }) => ({ id, name, reason })) }));
