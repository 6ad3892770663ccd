import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { FakeMaster, numbersOf } from "./fake_master.ts";
import { extraCredit, here, type Lines, ownTemporaryFolder, slaveOf } from "./slave_harness.ts";

t.jobs = 1;
const temporary = ownTemporaryFolder();
t.teardown(() => rmSync(temporary, { recursive: true, force: true }));
const many = (count: number, job: unknown) => Array.from({ length: count }, () => job);

async function withSlave(
  options: Parameters<typeof FakeMaster.start>[0],
  more: Parameters<typeof slaveOf>[1],
  body: (master: FakeMaster, slave: ReturnType<typeof slaveOf>) => Promise<void>,
): Promise<void> {
  const master = await FakeMaster.start(options);
  const slave = slaveOf(master, more);
  try {
    await master.until(() => master.isReady);
    await body(master, slave);
  } finally {
    slave.kill();
    await slave.finished;
    await master.stop();
  }
}

t.test("a slave does jobs, answers in ranges, and is dismissed", async (t) => {
  await withSlave({}, { procs: 2 }, async (master, slave) => {
    master.lease(1, 0, many(500, { id: 1 }));
    await master.until(() => master.named("done").length === 500);
    t.same(master.named("done"), [...Array(500).keys()], "every job once");
    t.ok(master.answers.every(({ number }, index) => number === index + 1), "answers are numbered");
    t.match(master.intros[0], {
      procs: 2,
      plugin: { name: "handlers.ts", export: "default" },
      runtime: /^bun /,
    });
    master.send({ kind: "dismiss" });
    t.match(await slave.finished, { exitCode: 0 });
    t.match(slave.status(), { state: "ended", done: 500, failed: 0 });
  });
  t.same(readdirSync(temporary), [], "its folder is gone");
});

t.test("a handler that throws fails one job", async (t) => {
  await withSlave({}, {}, async (master) => {
    master.lease(1, 0, [{}, { do: "throw" }, {}]);
    await master.until(() => master.named("done").length === 2 && master.failed.length === 1);
    t.match(master.failed[0], { seq: 1, how: "threw", message: "it threw", stack: /handleJob/ });
  });
});

t.test("process.exit in a handler costs its job, not its neighbours", async (t) => {
  await withSlave({}, {}, async (master) => {
    master.lease(1, 0, [...many(300, {}), { do: "exit", code: 3 }, ...many(300, {})]);
    await master.until(() => master.named("done").length === 600 && master.crashes.length === 1);
    t.match(master.crashes, [{
      suspects: [300, 301],
      reason: /^handler exited \(3\)( at \S+handlers\.ts:\d+:\d+)?$/,
    }]);
    t.same(new Set(master.named("done")).size, 600, "the others are done, once");
  });
});

t.test("a worker that is killed has what it noted for suspects, the slow killer alone", async (t) => {
  await withSlave({}, {}, async (master) => {
    master.lease(1, 0, [{ do: "sleep", ms: 50 }, { do: "block", ms: 50 }, { do: "kill" }, ...many(20, {})]);
    await master.until(() => master.named("done").length === 22 && master.crashes.length === 1);
    t.same(master.crashes, [{ suspects: [2, 3], reason: "killed by SIGKILL" }]);
  });
});

t.test("a handler that fakes clocks and timers changes nothing but its own", async (t) => {
  await withSlave({ timeoutMs: 1_000 }, {}, async (master, slave) => {
    master.lease(1, 0, [{ do: "fake clock" }, ...many(50, {}), { do: "throw" }, { do: "fake clock" }]);
    await master.until(() => master.named("done").length === 52 && master.failed.length === 1);
    t.equal(slave.status().crashes, 0, "nothing it sent was refused");
    const { durationMs } = master.failed[0]!;
    t.ok(durationMs >= 0 && durationMs < 1_000, `${durationMs} ms`);
  });
});

t.test("a handler that closes or garbles its worker's connection is charged, with the true reason", async (t) => {
  await withSlave({}, {}, async (master) => {
    master.lease(1, 0, [{ do: "close connection" }]);
    await master.until(() => master.crashes.length === 1);
    master.lease(2, 1, [{ do: "garbage" }]);
    await master.until(() => master.crashes.length === 2);
    t.match(master.crashes, [
      { suspects: [0, 1], reason: /^its connection to the supervisor ended while it ran/ },
      { suspects: [1, 2], reason: /^what it sent was refused: Cannot read a frame of \d+ bytes/ },
    ]);
  });
});

t.test("a job whose worker dies twice with nothing noted is suspect", async (t) => {
  await withSlave({}, {}, async (master, slave) => {
    master.lease(1, 0, [{ do: "exit unnoted" }]);
    await master.until(() => master.crashes.length === 1);
    t.same(master.crashes, [{ suspects: [0, 1], reason: "killed by SIGKILL" }]);
    t.equal(slave.status().crashes, 2, "the first death charged nobody");
    master.lease(2, 1, many(3, {}));
    await master.until(() => master.named("done").length === 3);
  });
});

t.test("where memory is scarce a worker is ended before its supervisor", {
  skip: process.platform !== "linux" && "Linux only",
}, async (t) => {
  await withSlave({}, {}, async (master) => {
    master.lease(1, 0, [{ do: "oom" }]);
    await master.until(() => master.failed.length === 1);
    t.equal(master.failed[0]!.message, "counts for 500");
  });
});

t.test("an error after the end of its job is told, with the job where it is known; the worker goes on", async (t) => {
  await withSlave({}, { concurrency: 2 }, async (master, slave) => {
    master.lease(1, 0, [
      { do: "forget timer", ms: 20 },
      { do: "sleep", ms: 200 },
      { do: "forget", ms: 20, fails: true },
    ]);
    await master.until(() => master.late.length === 2 && master.named("done").length === 3);
    t.strictSame(master.late[0], { seq: 0, message: "it was late" });
    // Bun does not say whose a rejection is.
    t.strictSame(master.late[1], { seq: null, message: "nobody waited for this" });
    t.equal(slave.status().crashes, 0);
    t.same(master.crashes, [], "what ran meanwhile is not suspect");
  });
});

t.test("an error of a job that runs ends its worker, and only that job is to blame", async (t) => {
  await withSlave({}, { concurrency: 3 }, async (master) => {
    master.lease(1, 0, [{ do: "sleep", ms: 600 }, { do: "forget timer", ms: 100, well: false }, {
      do: "obey",
    }]);
    await master.until(() => master.crashes.length === 1);
    t.same(master.crashes, [{ suspects: [1, 2], reason: "uncaught exception: it was late" }]);
    t.same(master.late, []);
  });
});

t.test("who is dismissed waits for what handlers left running, and says what goes wrong in it", async (t) => {
  const mark = `${temporary}/rest`;
  await withSlave({ heartbeatMs: 100 }, { procs: 2 }, async (master, slave) => {
    master.lease(1, 0, [{ do: "forget", ms: 700, mark }, { do: "forget timer", ms: 800 }]);
    await master.until(() => master.named("done").length === 2);
    master.send({ kind: "dismiss" });
    await master.until(() => master.late.length === 1);
    t.match(master.late, [{ seq: 1, message: "it was late" }], "the connection is still there");
    const beats = master.said.filter(({ kind }) => kind === "beat").length;
    t.ok(beats >= 3, `${beats} beats`);
    t.match(await slave.finished, { exitCode: 0 });
    t.ok(existsSync(`${mark}.late`), "it was done");
  });
  rmSync(mark);
  rmSync(`${mark}.late`);
});

t.test("a rejection that is the last thing of a worker is told", async (t) => {
  // Bun says that nothing is left before it tells of it, most times.
  for (let round = 0; round < 6; round++) {
    await withSlave({}, { procs: 1 }, async (master, slave) => {
      master.lease(1, 0, [{ do: "forget", ms: 60, fails: true }]);
      await master.until(() => master.named("done").length === 1);
      master.send({ kind: "dismiss" });
      t.match(await slave.finished, { exitCode: 0 });
      await master.until(() => master.closed === 1);
      t.match(master.late, [{ seq: null, message: "nobody waited for this" }], `round ${round}`);
    });
  }
});

t.test("what never ends is waited for within the grace", async (t) => {
  await withSlave({}, { graceMs: 600 }, async (master, slave) => {
    master.lease(1, 0, [{ do: "keep open" }]);
    await master.until(() => master.named("done").length === 1);
    const fromMs = performance.now();
    slave.drain();
    t.match(await slave.finished, { exitCode: 0 });
    const tookMs = performance.now() - fromMs;
    t.ok(tookMs > 500 && tookMs < 4_000, `${tookMs} ms`);
  });
});

t.test("where handlers left nothing, a slave ends at once", async (t) => {
  await withSlave({ timeoutMs: 60_000 }, { procs: 2 }, async (master, slave) => {
    master.lease(1, 0, [{ do: "sleep", ms: 20 }, { do: "throw" }, {}]);
    await master.until(() => master.named("done").length === 2);
    const fromMs = performance.now();
    master.send({ kind: "dismiss" });
    await slave.finished;
    t.ok(performance.now() - fromMs < 2_000, `${performance.now() - fromMs} ms`);
  });
});

t.test("an unhandled rejection ends its worker; what ran is suspect", async (t) => {
  await withSlave({}, {}, async (master) => {
    master.lease(1, 0, [{ do: "reject" }, {}]);
    await master.until(() => master.named("done").length === 1 && master.crashes.length === 1);
    t.match(master.crashes, [{ suspects: [0, 1], reason: "unhandled rejection: nobody caught this" }]);
  });
});

t.test("an endless loop is killed at the timeout and charged; its neighbours are not", async (t) => {
  await withSlave({ timeoutMs: 300 }, {}, async (master) => {
    master.lease(1, 0, [...many(50, {}), { do: "loop" }, ...many(50, {})]);
    const begunMs = performance.now();
    await master.until(() => master.named("done").length === 100 && master.failed.length === 1);
    t.match(master.failed[0], { seq: 50, how: "timed out" });
    t.same(master.crashes, [], "nobody is suspect");
    t.ok(performance.now() - begunMs < 4_000, "within a second or two");
  });
});

t.test("a handler that heeds its signal at the timeout is charged and its worker goes on", async (t) => {
  await withSlave({ timeoutMs: 200 }, {}, async (master, slave) => {
    master.lease(1, 0, [{ do: "obey" }, {}]);
    await master.until(() => master.named("done").length === 1 && master.failed.length === 1);
    t.match(master.failed[0], { seq: 0, how: "timed out" });
    t.equal(slave.status().crashes, 0, "no worker was replaced");
  });
});

t.test("a handler that never settles costs its worker five seconds later, once the others ended", async (t) => {
  await withSlave({ timeoutMs: 300 }, { concurrency: 10 }, async (master, slave) => {
    const begunMs = performance.now();
    master.lease(1, 0, [{ do: "hang" }, ...many(9, { do: "sleep", ms: 100 })]);
    await master.until(() => master.named("done").length === 9);
    t.same(master.failed, [], "not charged while it still runs");
    await master.until(() => master.failed.length === 1);
    t.ok(performance.now() - begunMs >= 5_200, "it had its five seconds");
    t.match(master.failed[0], { seq: 0, how: "timed out" });
    t.same(master.crashes, [], "nobody else is charged");
    t.equal(slave.status().crashes, 1, "its worker was replaced");
  });
});

t.test("without a timeout a busy handler is left alone, and the slave beats", async (t) => {
  await withSlave({ heartbeatMs: 200 }, {}, async (master) => {
    master.lease(1, 0, [{ do: "block", ms: 1_500 }]);
    await master.until(() => master.named("done").length === 1);
    const beats = master.said.filter(({ kind }) => kind === "beat").length;
    t.ok(beats >= 4, `${beats} beats`);
  });
});

t.test("what waits behind a slow job is done by the other worker", async (t) => {
  await withSlave({}, { procs: 2 }, async (master) => {
    master.lease(1, 0, many(2_000, {}));
    await master.until(() => master.named("done").length === 2_000);
    master.lease(2, 2_000, [{ do: "sleep", ms: 3_000 }, ...many(2_000, {})]);
    const begunMs = performance.now();
    await master.until(() => master.named("done").length === 4_000);
    t.ok(performance.now() - begunMs < 2_000, "before the slow one ended");
  });
});

t.test("a job alone in a worker runs with nothing beside it", async (t) => {
  await withSlave({}, { concurrency: 10 }, async (master) => {
    master.lease(1, 0, [{ do: "sleep", ms: 300 }]);
    master.lease(2, 1, [{ do: "sleep", ms: 10 }], "in worker");
    master.lease(3, 2, [{ do: "sleep", ms: 10 }]);
    await master.until(() => master.named("done").length === 3);
    const order = master.answers.flatMap(({ done }) => numbersOf(done));
    t.same(order, [0, 1, 2], "after what ran, before what came later");
  });
});

t.test("a drained slave finishes what runs and hands back the rest", async (t) => {
  await withSlave({}, {}, async (master, slave) => {
    master.lease(1, 0, [{ do: "sleep", ms: 400 }, ...many(10, {})]);
    while (slave.status().running === 0) await sleep(5);
    slave.drain();
    t.match(await slave.finished, { exitCode: 0 });
    await master.until(() => master.closed === 1);
    t.ok(master.said.some(({ kind }) => kind === "leaving"), "it says that it leaves");
    t.same(master.named("done"), [0], "what ran is done");
    t.same(master.named("released"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "the rest is untried");
  });
});

t.test("past the grace what runs is aborted, then ended, and handed back uncharged", async (t) => {
  await withSlave({}, { graceMs: 200, procs: 3 }, async (master, slave) => {
    master.lease(1, 0, [{ do: "obey" }, { do: "hang" }, { do: "loop" }]);
    await master.until(() => slave.status().running === 3);
    const begunMs = performance.now();
    slave.drain();
    t.match(await slave.finished, { exitCode: 0 });
    await master.until(() => master.closed === 1);
    t.ok(performance.now() - begunMs < 3_000);
    t.same(master.named("released"), [0, 1, 2]);
    t.same([master.failed, master.crashes], [[], []], "nobody is charged");
  });
});

t.test("a master that drains gets everything back, and its next life is joined", async (t) => {
  await withSlave({ heartbeatMs: 300 }, {}, async (master, slave) => {
    master.lease(1, 0, [{ do: "sleep", ms: 1_500 }, {}, {}]);
    await master.until(() => slave.status().running > 0);
    master.send({ kind: "drain" });
    await master.until(() => master.closed === 1);
    const closedMs = performance.now();
    t.same([master.named("done"), master.named("released")], [[0], [1, 2]]);
    await master.until(() =>
      master.intros.length === 2 && master.said.filter(({ kind }) => kind === "ready").length === 2
    );
    t.ok(performance.now() - closedMs >= 590, "after two heartbeats");
    t.equal(master.intros[0]!.slaveId, master.intros[1]!.slaveId, "the same slave");
    master.lease(2, 1, [{}, {}]);
    await master.until(() => master.named("done").length === 3);
  });
});

t.test("a slave hands back what it was given for work that has become slow", async (t) => {
  await withSlave({ releases: false }, {}, async (master) => {
    for (let lease = 1; lease <= 20; lease++) {
      master.lease(lease, lease * 500, many(500, {}));
      await master.until(() => master.named("done").length === lease * 500);
    }
    const credit = Math.max(...master.said.map((message) => "credit" in message ? message.credit : 0));
    const own = credit - extraCredit;
    t.ok(own > 100, `the work was quick: a credit of ${own}`);
    const count = Math.min(own, 10_000);
    master.lease(21, 50_000, [{ do: "sleep", ms: 3_000 }, ...many(count - 1, {})]);
    await master.until(() => master.named("released").length === count - 1);
    t.notOk(master.named("done").includes(50_000), "while the slow one still runs");
  });
});

t.test("a plugin that does not load ends the slave before there is a master", async (t) => {
  const lines: Lines = [];
  const slave = slaveOf({ port: 1 }, { pluginPath: here("no_such_file.ts") }, lines);
  const { exitCode, reason } = await slave.finished;
  t.equal(exitCode, 4);
  t.match(reason, /no_such_file/);
});

t.test("a wrong token ends the slave with 5", async (t) => {
  const master = await FakeMaster.start();
  const slave = slaveOf(master, { token: new Uint8Array(32).fill(1) });
  t.match(await slave.finished, { exitCode: 5, reason: /token/ });
  await master.stop();
});

t.test("plugin code never sees the token", async (t) => {
  process.env.TASKMASTER_TOKEN = "do-not-show";
  t.teardown(() => delete process.env.TASKMASTER_TOKEN);
  await withSlave({}, {}, async (master) => {
    master.lease(1, 0, [{ do: "token" }]);
    await master.until(() => master.failed.length === 1);
    t.equal(master.failed[0]!.message, "TASKMASTER_TOKEN is undefined");
  });
});
