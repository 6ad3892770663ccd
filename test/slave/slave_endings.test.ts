import t from "tap";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { isAlive } from "../kit/processes.ts";
import { until } from "../kit/until.ts";
import { bun } from "../kit/runtimes.ts";
import { FakeMaster } from "./fake_master.ts";
import { here, type Lines, ownTemporaryFolder, slaveOf } from "./slave_harness.ts";

t.jobs = 1;
const temporary = ownTemporaryFolder();
t.teardown(() => rmSync(temporary, { recursive: true, force: true }));

async function withSlave(
  options: Parameters<typeof FakeMaster.start>[0],
  more: Parameters<typeof slaveOf>[1],
  body: (master: FakeMaster, slave: ReturnType<typeof slaveOf>, lines: Lines) => Promise<void>,
): Promise<void> {
  const master = await FakeMaster.start(options);
  const lines: Lines = [];
  const slave = slaveOf(master, more, lines);
  try {
    await master.until(() => master.isReady);
    await body(master, slave, lines);
  } finally {
    slave.kill();
    await slave.finished;
    await master.stop();
  }
}

t.test("a drained slave whose master is gone ends after the grace, whatever it has to say", async (t) => {
  await withSlave({ heartbeatMs: 300 }, { graceMs: 700 }, async (master, slave) => {
    master.lease(1, 0, [{ do: "sleep", ms: 400 }, {}]);
    await master.until(() => slave.status().running > 0);
    await master.stop();
    await until(() => slave.status().done === 1 || slave.status().running === 0, "its job ended");
    const beganMs = performance.now();
    slave.drain();
    t.match(await slave.finished, { exitCode: 0 });
    t.ok(performance.now() - beganMs >= 600, "it waited for a master that long");
  });
});

t.test("a slave whose folder is taken away makes another, and replaces workers as before", async (t) => {
  await withSlave({}, {}, async (master, slave, lines) => {
    for (const name of readdirSync(temporary)) rmSync(`${temporary}/${name}`, { recursive: true });
    master.lease(1, 0, [{}, { do: "exit", code: 3 }, {}]);
    await master.until(() => master.named("done").length === 2 && master.crashes.length === 1);
    t.match(master.crashes, [{ suspects: [1, 2] }], "notes of the living are read all the same");
    master.lease(2, 10, [{ do: "exit", code: 3 }, {}]);
    await master.until(() => master.named("done").length === 3 && master.crashes.length === 2);
    t.match(master.crashes[1], { suspects: [10, 11] });
    t.equal(lines.filter(({ message }) => /new folder/.test(message)).length, 1, "it says so");
    slave.drain();
    t.match(await slave.finished, { exitCode: 0 });
  });
  t.same(readdirSync(temporary), [], "nothing is left");
});

t.test("what a handler started dies with its worker that is killed", async (t) => {
  const mark = `${temporary}/child`;
  await withSlave({ timeoutMs: 300 }, {}, async (master) => {
    master.lease(1, 0, [{ do: "child", mark }]);
    // the file is there before what is in it
    const pidOf = () => existsSync(`${mark}.pid`) ? Number(readFileSync(`${mark}.pid`, "utf8")) : 0;
    await until(() => pidOf() > 0, "the handler's child runs");
    const pid = pidOf();
    t.ok(isAlive(pid));
    await master.until(() => master.failed.length === 1);
    await until(() => !isAlive(pid), "the child is gone");
  });
});

t.test("a master that changes while setup runs does not make it run again", async (t) => {
  const record = `${temporary}/setups`;
  const options = { heartbeatMs: 300, args: { record, ms: "1500" } };
  await withSlave(options, { pluginPath: here("prepared.ts") }, async (master) => {
    await until(() => existsSync(record), "something was recorded");
    await master.link!.close("bye");
    await master.until(() => master.said.filter(({ kind }) => kind === "ready").length === 2);
    master.lease(1, 0, [{}]);
    await master.until(() => master.named("done").length === 1);
    t.equal(readFileSync(record, "utf8"), "setup ");
  });
});

t.test("a setup that ends its process ends the slave", async (t) => {
  const options = { pluginPath: here("prepared.ts") };
  await withSlave({ args: { exit: "3" } }, options, async (_master, slave) => {
    const { exitCode, reason } = await slave.finished;
    t.equal(exitCode, 4);
    t.match(reason, /^setup ended the process \(exited \(3\) at \S+prepared\.ts:\d+:\d+\)$/);
  });
});

t.test("a worker that is killed before one was prepared is started again, twice", async (t) => {
  const options = { pluginPath: here("prepared.ts") };
  for (const kills of [2, 3]) {
    const record = `${temporary}/kills${kills}`;
    await withSlave({ args: { record, kills: String(kills) } }, options, async (master, slave) => {
      if (kills === 2) {
        await until(
          () => existsSync(record) && readFileSync(record, "utf8") === "setup setup setup ",
          "three set up",
        );
        master.lease(1, 0, [{}]);
        return void await master.until(() => master.named("done").length === 1);
      }
      const { exitCode, reason } = await slave.finished;
      t.equal(exitCode, 4);
      t.match(reason, /^setup ended the process \(killed by SIGKILL, as is done where memory runs out\)$/);
    });
  }
});

t.test("options of a plugin that are wrong end the slave before it dials", async (t) => {
  const checkOptions = () => {
    throw new Error("no such option");
  };
  const slave = slaveOf({ port: 1 }, { checkOptions });
  t.match(await slave.finished, { exitCode: 4, reason: "no such option" });
});

t.test("last words that repeat an answer and go on are heard to the end, once", async (t) => {
  const command = { command: bun, args: [here("repeating_worker.ts")] };
  await withSlave({}, { command, concurrency: 2 }, async (master, slave) => {
    master.lease(1, 0, [{}, {}]);
    await master.until(() => master.named("done").length + master.failed.length === 2);
    t.match(master.failed, [{ seq: 1, message: "at last" }]);
    t.match(slave.status(), { done: 1, failed: 1, running: 0 });
  });
});

t.test("workers that are killed at the end of the grace are not replaced", async (t) => {
  const record = `${temporary}/starts`;
  const script = 'echo start >> "$0"; exec "$@"';
  const command = { command: "/bin/sh", args: ["-c", script, record, bun, here("entry.ts"), "worker"] };
  await withSlave({}, { command, graceMs: 100, procs: 2 }, async (master, slave) => {
    master.lease(1, 0, [{ do: "loop" }, { do: "loop" }]);
    await master.until(() => slave.status().running === 2);
    slave.drain();
    t.match(await slave.finished, { exitCode: 0 });
    t.equal(readFileSync(record, "utf8"), "start\n".repeat(2));
  });
});

t.test("beats go out in time, also below the tick", async (t) => {
  await withSlave({ heartbeatMs: 50 }, {}, async (master) => {
    const beats = () => master.said.filter(({ kind }) => kind === "beat").length;
    const before = beats();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    t.ok(beats() - before >= 18, `${beats() - before} beats in 1.5 s`);
  });
});

t.test("a burst of failures with long stacks is told to the end", async (t) => {
  const options = { pluginPath: here("burst.ts"), concurrency: 2_500 };
  await withSlave({ releases: false }, options, async (master, slave) => {
    master.lease(1, 0, Array.from({ length: 2_500 }, () => ({})));
    await master.until(() => master.failed.length === 2_500 || master.crashes.length > 0);
    t.same(master.crashes, []);
    t.equal(new Set(master.failed.map(({ seq }) => seq)).size, 2_500, "each once");
    t.equal(slave.status().crashes, 0, "no worker was lost");
  });
});
