// Makes one replica set of the members, and the users that the alliance needs. Run by mongosh in the Job mongodb-init.
// Running it again changes nothing but the passwords: they become those of the Secret.

const fs = require("fs");

const SET = "alliance";
const SERVICES = ["accounts", "partners", "logistics", "rewards"];
// What a service may do in its own database: everything but drop or rename what is there, as `readWrite` may. Whoever has
// its password can then still not take a unique index away, or a collection.
const ACTIONS = [
  "find", "insert", "update", "remove",
  "createCollection", "createIndex", "listCollections", "listIndexes",
  "collStats", "dbStats", "killCursors",
];
const PATIENCE_MS = 300_000;

const members = process.env.MONGODB_MEMBERS.split(",");
const password = (user) => fs.readFileSync(`/run/mongodb-passwords/${user}`, "utf8").trim();

function admin(hosts, options) {
  const root = encodeURIComponent(password("root"));
  return new Mongo(`mongodb://root:${root}@${hosts}/?authSource=admin&serverSelectionTimeoutMS=5000&${options}`).getDB("admin");
}

// Members start one after the other, and an election takes a moment.
function patiently(what, attempt) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (Date.now() > until) throw error;
      print(`${what}: not yet (${error.codeName || error.message})`);
      sleep(2_000);
    }
  }
}

function initiated(first) {
  try {
    first.adminCommand({ replSetGetStatus: 1 });
    return true;
  } catch (error) {
    if (error.codeName === "NotYetInitialized") return false;
    throw error;
  }
}

patiently("replica set", () => {
  const first = admin(members[0], "directConnection=true");
  if (initiated(first)) return;
  first.adminCommand({ replSetInitiate: { _id: SET, members: members.map((host, _id) => ({ _id, host })) } });
});

patiently("users", () => {
  const set = admin(members.join(","), `replicaSet=${SET}`);
  for (const name of SERVICES) {
    const privileges = [{ resource: { db: `alliance_${name}`, collection: "" }, actions: ACTIONS }];
    const role = `alliance_${name}`;
    if (set.getRole(role)) set.updateRole(role, { privileges, roles: [] });
    else set.createRole({ role, privileges, roles: [] });
  }
  const users = SERVICES.map((name) => ({ user: name, roles: [{ role: `alliance_${name}`, db: "admin" }] }));
  users.push({ user: "backup", roles: [{ role: "backup", db: "admin" }] });
  for (const { user, roles } of users) {
    const wanted = { pwd: password(user), roles };
    if (set.getUser(user)) set.updateUser(user, wanted);
    else set.createUser({ user, ...wanted });
  }
});

print(`replica set ${SET} with ${members.length} member(s) is there, and so are its users`);
