import t from "tap";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import * as clock from "../../src/lib/clock.ts";
import { childrenOf, isAlive } from "../kit/processes.ts";
import { Proxy } from "../kit/proxy.ts";
import { until } from "../kit/until.ts";
import { bun } from "../kit/runtimes.ts";
import { FakeMaster } from "./fake_master.ts";
import { here, ownTemporaryFolder, slaveOf } from "./slave_harness.ts";

t.jobs = 1;
const temporary = ownTemporaryFolder();
t.teardown(() => rmSync(temporary, { recursive: true, force: true }));

t.test("a slave waits for its master, says so once, and names what it held to the next one", async (t) => {
  const first = await FakeMaster.start({ heartbeatMs: 300 });
  const lines: { level: string; message: string }[] = [];
  const slave = slaveOf(first, { procs: 2 }, lines);
  t.teardown(() => slave.kill());
  await first.until(() => first.isReady);
  first.lease(1, 0, [{}, { do: "sleep", ms: 1_500 }, { do: "obey" }]);
  await first.until(() => first.named("done").length === 1);
  await first.until(() => slave.status().running === 2);
  await first.stop();
  const second = await FakeMaster.start({
    heartbeatMs: 300,
    port: first.port,
    masterId: "next",
    // It forgot job 2, and has not saved the answer about job 0.
    keep: (held) => held.map(({ lease }) => ({ lease, jobs: [0, 2] })),
  });
  await second.until(() => second.named("done").length === 2);
  const ready = second.said[0]!;
  t.match(ready, { kind: "ready", held: [{ lease: { masterId: "master", number: 1 }, jobs: [0, 3] }] });
  t.same(second.named("done"), [0, 1], "job 0 is said again, job 1 went on");
  t.equal(second.answers[0]!.number, 1, "answers are numbered anew");
  t.same(second.failed, [], "job 2, aborted, is of no account");
  t.equal(
    lines.filter(({ level, message }) => level !== "debug" && /trying again|ended:/.test(message)).length,
    1,
  );
  second.lease(1, 2, [{}]);
  await second.until(() => second.named("done").length === 3);
  second.send({ kind: "dismiss" });
  t.match(await slave.finished, { exitCode: 0 });
  await second.stop();
});

t.test("a worker that was ready before the master kept anything is told of at once, not at a tick", async (t) => {
  let rings = true;
  const timer = (ring: () => void, ms?: number) => setTimeout(() => rings && ring(), ms);
  const { slaveOf } = await t.mockImport<typeof import("./slave_harness.ts")>("./slave_harness.ts", {
    "../../src/lib/clock.ts": { ...clock, setTimeout: timer },
  });
  const master = await FakeMaster.start({ keepsLate: true });
  const slave = slaveOf(master);
  t.teardown(() => slave.kill());
  await master.until(() => master.isReady);
  while (slave.status().workers === 0) await sleep(5);
  rings = false;
  await sleep(200); // the tick that was due: no other follows
  master.send({ kind: "keep", leases: [] });
  const endMs = performance.now() + 1_000;
  const isTold = () => master.said.some((message) => message.kind === "credit" && message.credit > 0);
  while (!isTold() && performance.now() < endMs) await new Promise((resolve) => setImmediate(resolve));
  t.ok(isTold());
  rings = true;
  slave.kill();
  await slave.finished;
  await master.stop();
});

t.test("a lost job that is leased again waits until its first run here has ended", async (t) => {
  const master = await FakeMaster.start({ heartbeatMs: 300, keep: () => [] });
  const slave = slaveOf(master, { procs: 2 });
  t.teardown(() => slave.kill());
  await master.until(() => master.isReady);
  master.lease(1, 0, [{ do: "sleep", ms: 1_500 }]);
  await master.until(() => slave.status().running === 1);
  await master.link!.close("bye");
  await master.until(() =>
    master.intros.length === 2 && master.said.filter(({ kind }) => kind === "ready").length === 2
  );
  const rejoinedMs = performance.now();
  master.lease(2, 0, [{}]);
  master.lease(3, 7, [{}]);
  await master.until(() => master.named("done").length === 1);
  t.same(master.named("done"), [7], "others go on");
  await master.until(() => master.named("done").length === 2);
  t.ok(performance.now() - rejoinedMs > 300, "it waited");
  t.match(master.answers.at(-1), { lease: { number: 2 }, done: [0, 1] });
  slave.kill();
  await slave.finished;
  await master.stop();
});

t.test("what a state covers is forgotten", async (t) => {
  const first = await FakeMaster.start({ heartbeatMs: 300 });
  const slave = slaveOf(first);
  t.teardown(() => slave.kill());
  await first.until(() => first.isReady);
  first.lease(1, 0, [{}]);
  await first.until(() => first.named("done").length === 1);
  first.send({ kind: "saved", through: first.answers.at(-1)!.number });
  await first.link!.close("bye");
  await first.until(() => first.said.filter(({ kind }) => kind === "ready").length === 2);
  t.match(first.said.filter(({ kind }) => kind === "ready")[1], { held: [] });
  slave.kill();
  await slave.finished;
  await first.stop();
});

t.test("a master of another run is left with 5", async (t) => {
  const first = await FakeMaster.start({ heartbeatMs: 300 });
  const slave = slaveOf(first);
  t.teardown(() => slave.kill());
  await first.until(() => first.isReady);
  first.lease(1, 0, [{ do: "hang" }]);
  await first.until(() => slave.status().running === 1);
  await first.stop();
  const second = await FakeMaster.start({ port: first.port, runId: "another" });
  t.match(await slave.finished, { exitCode: 5, reason: /earlier run/ });
  t.same(second.said, [], "it is told nothing");
  await second.stop();
});

t.test("a master of the same run with other arguments is left with 5: workers have the first ones", async (t) => {
  const first = await FakeMaster.start({ heartbeatMs: 300, args: { from: "a", to: "b" } });
  const slave = slaveOf(first);
  t.teardown(() => slave.kill());
  await first.until(() => first.isReady);
  await first.stop();
  const same = await FakeMaster.start({ port: first.port, heartbeatMs: 300, args: { to: "b", from: "a" } });
  await same.until(() => same.isReady);
  await same.stop();
  const other = await FakeMaster.start({ port: first.port, args: { from: "a", to: "c" } });
  t.match(await slave.finished, { exitCode: 5, reason: /other arguments.*start it again/ });
  t.same(other.said, [], "it is told nothing");
  await other.stop();
});

t.test("an earlier master of the same run is left alone until a later one answers", async (t) => {
  const first = await FakeMaster.start({ heartbeatMs: 300, epoch: 2 });
  const slave = slaveOf(first);
  t.teardown(() => slave.kill());
  await first.until(() => first.isReady);
  await first.stop();
  const earlier = await FakeMaster.start({ port: first.port, epoch: 1 });
  await earlier.until(() => earlier.closed > 0);
  t.same(earlier.said, [], "it is told nothing");
  await earlier.stop();
  const later = await FakeMaster.start({ port: first.port, epoch: 3 });
  await later.until(() => later.isReady);
  slave.kill();
  await slave.finished;
  await later.stop();
});

t.test("a silent master is dialed anew; jobs and answers are kept until it welcomes", async (t) => {
  const master = await FakeMaster.start({ heartbeatMs: 200 });
  const proxy = await Proxy.open(master.port);
  const slave = slaveOf(proxy);
  t.teardown(() => slave.kill());
  await master.until(() => master.isReady);
  master.lease(1, 0, [{ do: "sleep", ms: 1_500 }]);
  await master.until(() => slave.status().running === 1);
  proxy.holdPresent();
  await master.until(() => master.intros.length === 2 && master.named("done").length === 1);
  t.equal(slave.status().done, 1, "it ran once");
  t.match(master.said.filter(({ kind }) => kind === "ready")[1], { held: [{ jobs: [0, 1] }] });
  slave.kill();
  await slave.finished;
  await master.stop();
  await proxy.close();
});

t.test("a supervisor that is killed leaves nothing running, loops or not", async (t) => {
  const master = await FakeMaster.start();
  const child = spawn(bun, [here("supervisor_entry.ts"), String(master.port), "2"], { stdio: "ignore" });
  t.teardown(() => child.kill("SIGKILL"));
  await master.until(() => master.isReady);
  await master.until(() => master.said.some((message) => "credit" in message && message.credit === 2));
  const marks = ["loop", "hang"].map((name) => `${temporary}/${name}`);
  master.lease(1, 0, [{ do: "loop", mark: marks[0] }, { do: "hang", mark: marks[1] }]);
  await until(() => marks.every((mark) => existsSync(mark)), "both run");
  const workers = childrenOf(child.pid!);
  t.equal(workers.length, 2);
  child.kill("SIGKILL");
  await once(child, "exit");
  const killedMs = performance.now();
  await until(() => !workers.some(isAlive), "no worker lives");
  t.ok(performance.now() - killedMs < 2_000, "within two seconds");
  t.same(readdirSync(temporary).sort(), ["hang", "loop"], "its folder is gone");
  await master.stop();
});

t.test("a master of the same run with other code is left with 5, both hashes named", async (t) => {
  const first = await FakeMaster.start({ heartbeatMs: 300 });
  const slave = slaveOf(first);
  t.teardown(() => slave.kill());
  await first.until(() => first.isReady);
  const { name, hash } = first.intros[0]!.plugin!;
  await first.stop();
  const plugin = { name, export: "default", hash: new Uint8Array(32) };
  const second = await FakeMaster.start({
    heartbeatMs: 300,
    port: first.port,
    masterId: "next",
    epoch: 2,
    plugin,
  });
  const { exitCode, reason } = await slave.finished;
  t.equal(exitCode, 5);
  t.match(reason, "00000000");
  t.match(reason, Buffer.from(hash).toString("hex").slice(0, 8));
  t.notOk(second.isReady, "it took nothing");
  await second.stop();
});
