// JavaScript's etcd3: does what its users do with it.
// Arguments: a mode, addresses ("host:port,…"), a prefix for keys, and the files of CA, certificate and key, if any.
// "operations" prints what each operation came to as JSON; "through-failover" puts until its input ends, and then
// prints which keys a watch has been shown.
const fs = require("fs");
const { Etcd3 } = require("etcd3");

const [mode, addresses, prefix, ca, cert, key] = process.argv.slice(2);
const hosts = addresses.split(",").map((address) => `${ca ? "https" : "http"}://${address}`);
const client = new Etcd3(
  ca
    ? {
        hosts,
        credentials: {
          rootCertificate: fs.readFileSync(ca),
          certChain: fs.readFileSync(cert),
          privateKey: fs.readFileSync(key),
        },
      }
    : { hosts },
);
const outcomes = {};

async function operation(name, action) {
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Error("no end within 40 s")), 40000).unref());
  try {
    outcomes[name] = await Promise.race([action(`${prefix}/${name}/`), late]);
  } catch (error) {
    outcomes[name] = `${error.constructor.name}: ${error.message}`;
  }
}

function event(emitter, name) {
  return new Promise((resolve) => emitter.once(name, resolve));
}

async function operations() {
  await operation("keys_and_values", async (key) => {
    await client.put(key + "a").value("1");
    const before = await client.put(key + "a").value("2").getPrevious();
    await client.put(key + "b").value("3");
    return [
      before.value.toString(),
      await client.get(key + "a").string(),
      await client.get(key + "none").string(),
      await client.getAll().prefix(key).strings(),
      await client.getAll().prefix(key).sort("Value", "Descend").limit(1).keys(),
      await client.getAll().prefix(key).count(),
      await client.get(key + "a").exists(),
      (await client.delete().key(key + "a")).deleted,
      (await client.delete().prefix(key)).deleted,
    ];
  });

  await operation("transactions", async (key) => {
    const first = await client.if(key, "Create", "==", 0).then(client.put(key).value("1")).else(client.get(key)).commit();
    const second = await client.if(key, "Value", "==", "2").then(client.delete().key(key)).else(client.get(key)).commit();
    return [first.succeeded, second.succeeded, second.responses[0].response_range.kvs[0].value.toString()];
  });

  await operation("software_transactional_memory", async (key) => {
    await client.put(key).value("1");
    await Promise.all(
      [1, 2, 3].map(() =>
        client.stm({ retries: 20 }).transact(async (within) => {
          const value = await within.get(key).number();
          await within.put(key).value(value + 1);
        }),
      ),
    );
    return client.get(key).number();
  });

  await operation("namespace", async (key) => {
    const own = client.namespace(key);
    await own.put("x").value("1");
    return [await own.get("x").string(), await client.get(key + "x").string(), await own.getAll().keys()];
  });

  await operation("watch", async (key) => {
    const watcher = await client.watch().prefix(key).create();
    const put = event(watcher, "put");
    await client.put(key).value("1");
    const seen = [(await put).value.toString()];
    const gone = event(watcher, "delete");
    await client.delete().key(key);
    seen.push((await gone).key.toString());
    await watcher.cancel();
    return seen;
  });

  await operation("watch_from_the_past_on", async (key) => {
    const revision = (await client.put(key).value("1")).header.revision;
    await client.put(key).value("2");
    const watcher = client.watch().key(key).startRevision(revision).watcher();
    const seen = [];
    await new Promise((resolve) =>
      watcher.on("put", (kv) => {
        seen.push(kv.value.toString());
        if (seen.length === 2) resolve();
      }),
    );
    await watcher.cancel();
    return seen;
  });

  await operation("lease", async (key) => {
    const lease = client.lease(30);
    await lease.put(key).value("1");
    await lease.keepaliveOnce();
    const alive = await client.get(key).string();
    await lease.revoke();
    return [alive, await client.get(key).string()];
  });

  await operation("lease_expires", async (key) => {
    const watcher = await client.watch().key(key).create();
    const gone = event(watcher, "delete");
    const lease = client.lease(1, { autoKeepAlive: false });
    await lease.put(key).value("1");
    await gone;
    await watcher.cancel();
    return client.get(key).string();
  });

  await operation("lock", async (key) => {
    let refused = "";
    const value = await client.lock(key).do(async () => {
      await client
        .lock(key)
        .acquire()
        .catch((error) => (refused = error.constructor.name));
      return "locked";
    });
    return [value, refused];
  });

  await operation("election", async (key) => {
    const election = client.election(key, 10);
    const campaign = election.campaign("me");
    await new Promise((resolve, refuse) => campaign.on("elected", resolve).on("error", refuse));
    const leader = await election.leader();
    await campaign.resign();
    return [leader, (await election.leader()) ?? null];
  });

  await operation("members_and_status", async () => {
    const { members } = await client.cluster.memberList({});
    const status = await client.maintenance.status();
    return [members.length > 0, status.version.split(".")[0], members.some((member) => member.ID === status.leader)];
  });

  await operation("alarms", async () => (await client.maintenance.alarm({ action: "GET" })).alarms);

  await operation("hash_and_defragmentation", async () => {
    await client.maintenance.defragment();
    return typeof (await client.maintenance.hash()).hash;
  });

  await operation("snapshot", async () => {
    const stream = await client.maintenance.snapshot();
    let bytes = 0;
    for await (const part of stream) bytes += part.blob.length;
    return bytes > 0;
  });

  const failures = async (...calls) => {
    const made = [];
    for (const call of calls) {
      try {
        await call();
        made.push("OK");
      } catch (error) {
        made.push([error.constructor.name, error.message]);
      }
    }
    return made;
  };

  await operation("errors", async (key) =>
    failures(
      () => client.put("").value("1"),
      () => client.kv.compact({ revision: "1000000000" }),
    ),
  );

  await operation("errors_of_leases", async (key) => failures(() => client.put(key).value("1").lease(4711)));

  await operation("errors_of_auth", async (key) =>
    failures(() => client.auth.authenticate({ name: "ann", password: "secret" })),
  );

  console.log(JSON.stringify(outcomes));
}

async function throughFailover() {
  let ended = false;
  process.stdin.on("end", () => (ended = true)).resume();
  const watched = [];
  const watcher = await client.watch().prefix(`${prefix}/`).create();
  watcher.on("put", (kv) => watched.push(Number(kv.key.toString().split("/").pop())));
  let number = 0;
  while (!ended) {
    try {
      await client.put(`${prefix}/${number}`).value("v");
      console.log(number);
      number += 1;
    } catch (error) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  while (watched.at(-1) !== number - 1) await new Promise((resolve) => setTimeout(resolve, 100));
  console.log(JSON.stringify(watched));
}

(mode === "through-failover" ? throughFailover() : operations()).then(() => process.exit(0));
