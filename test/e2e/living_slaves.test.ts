import t from "tap";
import type { Program } from "../kit/program.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { Proxy } from "../kit/proxy.ts";
import { heartbeat, row, silenceMs, type Stage } from "./stage.ts";

// A master's death, or its absence, with slaves that live on: what they hold, or have finished, is not run again.

t.jobs = 3;

/** Long enough for a scenario to act between two saves. */
const checkpoint = ["--checkpoint", "3s"];

/** Waits until the state on disk knows that so many jobs were handed out. */
const savedLeases = (stage: Stage, jobs: number) =>
  stage.until("scripted", ({ handedOut }) => handedOut === jobs);

/** Waits until the state on disk knows that a session was lost. */
const savedLoss = (stage: Stage) =>
  stage.until(
    "scripted",
    ({ stranded }) =>
      (stranded as { lostSessions: number }[] ?? []).some(({ lostSessions }) => lostSessions === 1),
  );

/** Waits until the master has counted so many jobs. */
async function counted(master: Program, jobs: number): Promise<void> {
  const asking = setInterval(() => master.signal("SIGUSR1"), 50);
  await master.printed(new RegExp(`Current Job: ${jobs} `)).finally(() => clearInterval(asking));
}

const joined = (master: Program, times = 1) =>
  until(() => master.events("joined").length >= times, `${times} joined`);

row("a master killed: what its slave holds or has finished unsaved is not run again", async (t, stage) => {
  const script = "10*gate:a,10*gate:b,@gate:rest,5*ok";
  const first = stage.scripted(script, [...heartbeat, ...checkpoint]);
  const port = await portOf(first);
  const slave = stage.hand(port, ["--concurrency", "20"]);
  await until(() => stage.entries("B").length === 20, "all begun");
  await savedLeases(stage, 20);
  stage.open("a");
  await counted(first, 10);
  first.signal("SIGKILL");
  await first.ended;
  t.match(
    await stage.state(),
    { handedOut: 20, done: 0, strandedCount: 20 },
    "no state knows of the answers",
  );

  const second = stage.scripted(script, heartbeat, port);
  await portOf(second);
  stage.open("rest");
  await counted(second, 15);
  stage.open("b");
  t.equal(await second.ended, 0, second.stderr);
  t.equal(await slave.ended, 0);
  t.match(second.ending(), { handedOut: 25, done: 25, stranded: 0, repeated: 0 });
  t.same(stage.records().lost(25), []);
  t.equal(stage.records().repeated, 0);
  t.same(stage.entries("A"), [], "no job was aborted");
});

row("killed again and again, before and after its two slaves are back", async (t, stage) => {
  const script = "10*gate:a,10*gate:b,@gate:rest,20*ok";
  let master = stage.scripted(script, [...heartbeat, ...checkpoint]);
  const port = await portOf(master);
  const words = ["--concurrency", "10"];
  const slaves = [stage.hand(port, words), stage.hand(port, words)];
  await until(() => stage.entries("B").length === 20, "all begun");
  await savedLeases(stage, 20);
  stage.open("a");
  await counted(master, 10);
  for (const moment of ["both are back", "none is back", "one is back", "both are back"]) {
    master.signal("SIGKILL");
    await master.ended;
    // without any master
    if (moment === "one is back") stage.open("b");
    master = stage.scripted(script, [...heartbeat, ...checkpoint], port);
    await portOf(master);
    if (moment === "both are back") await joined(master, 2);
    if (moment === "one is back") await joined(master, 1);
  }
  stage.open("rest");
  t.equal(await master.ended, 0, master.stderr);
  for (const slave of slaves) t.equal(await slave.ended, 0);
  t.match(master.ending(), { handedOut: 40, done: 40, stranded: 0, repeated: 0 });
  t.equal(stage.records().repeated, 0);
  t.same(stage.entries("A"), []);
});

row(
  "a slave that was given up before the master died: the job that another holds by then is dropped",
  async (t, stage) => {
    const script = "gate:a,gate:b,gate:c";
    const words = [...heartbeat, "--size", "3"];
    const first = stage.scripted(script, words);
    const port = await portOf(first);
    const sleeper = stage.hand(port);
    await until(() => stage.entries("B", 0).length === 1, "the first job begun");
    stage.hand(port, ["--concurrency", "3"]);
    await until(() => stage.entries("B").length === 3, "all begun");
    sleeper.signal("SIGSTOP");
    await until(() => stage.entries("B", 0).length === 2, "the sleeper's job begun elsewhere");
    await stage.until("scripted", ({ repeated }) => repeated === 1);
    first.signal("SIGKILL");
    await first.ended;
    const second = stage.scripted(script, words, port);
    await portOf(second);
    sleeper.signal("SIGCONT");
    await until(() => stage.entries("A", 0).length === 1, "the sleeper aborts what another has");
    t.equal(stage.entries("A", 0)[0]!.pid, stage.entries("B", 0)[0]!.pid);
    for (const gate of ["a", "b", "c"]) stage.open(gate);
    t.equal(await second.ended, 0, second.stderr);
    t.match(second.ending(), { handedOut: 3, done: 3, repeated: 1 });
    t.equal(stage.records().repeated, 1, "by the silence, not by the death");
  },
);

row(
  "a slave that was given up before the master died: the job that nobody took since is its own again",
  async (t, stage) => {
    const script = "gate:a,gate:b";
    const words = [...heartbeat, "--size", "2"];
    const first = stage.scripted(script, words);
    const port = await portOf(first);
    const sleeper = stage.hand(port);
    await until(() => stage.entries("B", 0).length === 1, "the first job begun");
    stage.hand(port);
    await until(() => stage.entries("B", 1).length === 1, "the other one is busy");
    sleeper.signal("SIGSTOP");
    await first.printed(/"event":"left".*silent/);
    await savedLoss(stage);
    first.signal("SIGKILL");
    await first.ended;
    const second = stage.scripted(script, words, port);
    await portOf(second);
    sleeper.signal("SIGCONT");
    await joined(second, 2);
    for (const gate of ["a", "b"]) stage.open(gate);
    t.equal(await second.ended, 0, second.stderr);
    t.match(second.ending(), { handedOut: 2, done: 2, repeated: 0 });
    t.equal(stage.records().repeated, 0);
  },
);

row("a master stopped beyond the limits of silence: nothing is run again", async (t, stage) => {
  const master = stage.scripted("5*gate:a,5*gate:b,20*ok", [...heartbeat, "--size", "10"]);
  const port = await portOf(master);
  const words = ["--concurrency", "5"];
  const slaves = [stage.hand(port, words), stage.hand(port, words)];
  await until(() => stage.entries("B").length === 10, "all begun");
  master.signal("SIGSTOP");
  for (const slave of slaves) await slave.printed(/has been silent/);
  stage.open("a");
  await until(() => stage.entries("E").length === 5, "some end meanwhile");
  await new Promise((resolve) => setTimeout(resolve, silenceMs));
  master.signal("SIGCONT");
  await counted(master, 25);
  stage.open("b");
  t.equal(await master.ended, 0, master.stderr);
  t.match(master.ending(), { handedOut: 30, done: 30, repeated: 0 });
  t.equal(stage.records().repeated, 0);
  t.same(stage.entries("A"), []);
  t.notMatch(master.stdout, /silent/, "it gave nobody up");
});

row.long(
  "a master stopped until its slaves let go of their connections: nothing is run again",
  async (t, stage) => {
    const master = stage.scripted("5*gate:a,5*gate:b,20*ok", [...heartbeat, "--size", "10"]);
    const port = await portOf(master);
    const words = ["--concurrency", "5"];
    const slaves = [stage.hand(port, words), stage.hand(port, words)];
    await until(() => stage.entries("B").length === 10, "all begun");
    master.signal("SIGSTOP");
    // They keep an old connection for two minutes.
    for (const slave of slaves) {
      await slave.printed(
        /The connection to the master ended: silent for too long/,
      );
    }
    stage.open("a");
    await until(() => stage.entries("E").length === 5, "some end meanwhile");
    master.signal("SIGCONT");
    await counted(master, 25);
    stage.open("b");
    t.equal(await master.ended, 0, master.stderr);
    t.match(master.ending(), { handedOut: 30, done: 30, repeated: 0 });
    t.equal(stage.records().repeated, 0);
    t.same(stage.entries("A"), []);
  },
);

row("a master cut off from all slaves, and healed: nothing is run again", async (t, stage) => {
  const master = stage.scripted("5*gate:a,5*gate:b,20*ok", [...heartbeat, "--size", "10"]);
  const proxy = await Proxy.open(await portOf(master));
  t.teardown(() => proxy.close());
  const words = ["--concurrency", "5"];
  const slaves = [stage.hand(proxy.port, words), stage.hand(proxy.port, words)];
  await until(() => stage.entries("B").length === 10, "all begun");
  proxy.hold();
  await until(
    () => master.events("left").filter(({ reason }) => /silent/.test(String(reason))).length === 2,
    "both given up",
  );
  for (const slave of slaves) await slave.printed(/has been silent/);
  stage.open("a");
  await until(() => stage.entries("E").length === 5, "some end meanwhile");
  proxy.heal();
  await counted(master, 25);
  stage.open("b");
  t.equal(await master.ended, 0, master.stderr);
  t.match(master.ending(), { handedOut: 30, done: 30, repeated: 0 });
  t.equal(stage.records().repeated, 0);
  t.same(stage.entries("A"), []);
  t.equal(master.events("joined").length, 4, "both came back as new sessions");
});

row("Repeated says what ran again, as far as slaves that lived on can tell", async (t, stage) => {
  const script = "40*ok,@gate:b,60*gate:a";
  const first = stage.scripted(script, [...heartbeat, "--checkpoint", "1h"]);
  const port = await portOf(first);
  const slaves = [stage.hand(port, ["--concurrency", "3"]), stage.hand(port, ["--procs", "2"])];
  await until(() => stage.entries("E").length === 40, "the first ones ended");
  stage.open("b");
  await until(() => stage.entries("B").length === 45, "as many begun as run at once");
  first.signal("SIGKILL");
  await first.ended;
  t.match(await stage.state(), { handedOut: 0, final: false }, "no state knows of any");

  const second = stage.scripted(script, heartbeat, port);
  await portOf(second);
  await until(() => stage.entries("A").length === 5, "those that ran are aborted");
  stage.open("a");
  t.equal(await second.ended, 0, second.stderr);
  t.same(await Promise.all(slaves.map(({ ended }) => ended)), [0, 0]);
  t.equal(stage.records().repeated, 45, "40 had ended, 5 had begun; what the slaves held besides had not");
  t.match(second.ending(), { handedOut: 100, done: 100, repeated: 45, repeatedAtLeast: true });
  t.match(second.stderr, /Repeated: at least 45 /);
});

row("Repeated says no more than ran again, where nobody lived to tell", async (t, stage) => {
  const script = "40*ok,@gate:b,60*gate:a";
  const words = [...heartbeat, "--checkpoint", "100ms"];
  const first = stage.scripted(script, words);
  const slave = stage.hand(await portOf(first), ["--procs", "2"]);
  await stage.until("scripted", ({ done }) => done === 40);
  stage.open("b");
  await until(() => stage.entries("B").length === 42, "as many begun as run at once");
  await stage.until("scripted", ({ strandedCount }) => Number(strandedCount) > 2);
  for (const program of [slave, first]) program.signal("SIGKILL");
  await Promise.all([slave.ended, first.ended]);
  t.match(await stage.state(), { final: false, repeatedAtLeast: true }, "its master may have done more");
  const shown = stage.start(runtimes.binary, ["state", "scripted", "--state-dir", stage.folder]);
  t.equal(await shown.ended, 0, shown.stderr);
  t.match(shown.stdout, /Repeated: none known \(what its master did since this save is not known here\)/);
  stage.open("a");
  const second = stage.scripted(script, heartbeat);
  stage.hand(await portOf(second), ["--procs", "2"]);
  t.equal(await second.ended, 0, second.stderr);
  t.match(second.ending(), { handedOut: 100, done: 100, repeatedAtLeast: true });
  t.ok(Number(second.ending().repeated) <= stage.records().repeated, "the slave held more than it had begun");
  t.match(second.stderr, /Repeated: (?:none known|at least \d+) \(/);
  t.match(await stage.state(), { final: true, repeatedAtLeast: true });
});

row("a source that starts over: what it yields again is told from what is new", async (t, stage) => {
  const plugin = stage.write(
    "over.mts",
    `
      import { existsSync } from "node:fs";
      export async function* getJobs(_last, ctx) {
        for (let id = 0; id < 20; id++) {
          while (id === 8 && !existsSync(ctx.args.dir + "/open.more")) await new Promise((go) => setTimeout(go, 10));
          yield id;
        }
      }
      export function handleJob() {}
    `,
  );
  const first = stage.masterOf(plugin, ["--checkpoint", "50ms"]);
  stage.hand(await portOf(first), [], plugin);
  await stage.until("over", ({ done }) => done === 8);
  first.signal("SIGINT");
  t.equal(await first.ended, 130);
  stage.open("more");
  const second = stage.masterOf(plugin);
  stage.hand(await portOf(second), [], plugin);
  t.equal(await second.ended, 0, second.stderr);
  t.match(second.ending(), {
    handedOut: 28,
    handedOutAgain: 8,
    done: 28,
    repeated: 8,
    repeatedAtLeast: false,
  });
  t.match(
    second.stderr,
    /Handed out: 28 = 28 done .* \(as far as is known 20 different jobs: getJobs started over\)/,
  );
});
