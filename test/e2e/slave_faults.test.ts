import t from "tap";
import { join } from "node:path";
import { runtimes } from "../kit/runtimes.ts";
import { processesOf } from "../kit/processes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { heartbeat, row, silenceMs, type Stage } from "./stage.ts";

// Table A of docs/reliability.md: what happens to a slave, and what comes of it.

// Most of these scenarios wait.
t.jobs = 3;

const begun = (stage: Stage, id: number, times = 1) =>
  until(() => stage.entries("B", id).length >= times, `job ${id} begun ${times} times`);

row("A1: a slave killed in mid-job: its jobs are leased elsewhere within a second", async (t, stage) => {
  const master = stage.scripted("gate:a,gate:b,20*ok");
  const port = await portOf(master);
  const doomed = stage.hand(port);
  await begun(stage, 0);
  stage.hand(port);
  await begun(stage, 1);
  const killedAtMs = Date.now();
  stage.open("b");
  doomed.signal("SIGKILL");
  await begun(stage, 0, 2);
  const [, again] = stage.entries("B", 0);
  t.ok(again!.atMs - killedAtMs < 1_000, `begun elsewhere after ${again!.atMs - killedAtMs} ms`);
  stage.open("a");
  t.equal(await master.ended, 0, master.stderr);
  t.same(stage.records().lost(22), []);
  t.same(stage.attempts(), [1], "a lost session charges nobody");
});

row(
  "A2: killed after the handler's effect and before its answer: a duplicate, never a loss",
  async (t, stage) => {
    const master = stage.scripted("once-effect-then-loop,5*ok");
    const port = await portOf(master);
    const doomed = stage.hand(port);
    await until(() => stage.entries("E", 0).length === 1, "the effect");
    doomed.signal("SIGKILL");
    stage.hand(port);
    t.equal(await master.ended, 0, master.stderr);
    t.equal(stage.entries("E", 0).length, 2, "done twice");
    t.same(stage.records().lost(6), []);
    t.match(master.ending(), { handedOut: 6, done: 6, dead: 0, stranded: 0 });
  },
);

row(
  "A3: stopped beyond the limit, then continued: a new session, and stale answers change nothing",
  async (t, stage) => {
    const master = stage.scripted("gate:a,gate:b,10*ok,gate:end", heartbeat);
    const port = await portOf(master);
    const sleeper = stage.hand(port);
    await begun(stage, 0);
    const other = stage.hand(port);
    await begun(stage, 1);
    // Only its supervisor stops: what it holds runs on, and ends while another has it.
    sleeper.signal("SIGSTOP");
    await master.printed(/"event":"left".*silent/);
    stage.open("b");
    await begun(stage, 0, 2);
    sleeper.signal("SIGCONT");
    await until(() => stage.entries("A", 0).length > 0, "the signal of the job that another has now");
    t.equal(stage.entries("A", 0)[0]!.pid, stage.entries("B", 0)[0]!.pid, "it fired in the slave that slept");
    stage.open("a");
    stage.open("end");
    t.equal(await master.ended, 0, master.stderr);
    t.same([await sleeper.ended, await other.ended], [0, 0], "both are dismissed");
    t.equal(master.events("joined").length, 3, "it came back as a new session");
    t.equal(stage.entries("E", 0).length, 1, "the job that was aborted was not counted");
    t.match(master.ending(), { handedOut: 13, done: 13, dead: 0, stranded: 0, repeated: 1 });
  },
);

row("A4: stopped for less than the limit: no loss, no duplicate", async (t, stage) => {
  const master = stage.scripted("300*wait:2,gate,300*wait:2", heartbeat);
  const port = await portOf(master);
  const sleeper = stage.hand(port);
  await begun(stage, 300);
  sleeper.signal("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, silenceMs - 700));
  sleeper.signal("SIGCONT");
  stage.open();
  t.equal(await master.ended, 0, master.stderr);
  t.equal(master.events("joined").length, 1, "it never had to come back");
  t.same(stage.records().lost(601), []);
  t.equal(stage.records().repeated, 0);
});

row("A5: a handler that blocks its event loop is not silence", async (t, stage) => {
  const master = stage.scripted(`5*ok,block:${2 * silenceMs},5*ok`, heartbeat);
  const slave = stage.hand(await portOf(master));
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0);
  t.equal(master.events("joined").length, 1);
  t.equal(stage.records().repeated, 0);
});

row.long("A5: a minute of it, at the default heartbeat", async (t, stage) => {
  const master = stage.scripted("5*ok,block:60000,5*ok");
  const slave = stage.hand(await portOf(master));
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0);
  t.equal(master.events("joined").length, 1);
  t.equal(stage.records().repeated, 0);
});

row(
  "A6: an endless loop ends at --timeout: its worker is replaced, its neighbours are not charged",
  async (t, stage) => {
    const master = stage.scripted("20*ok,loop,200*ok", [
      ...heartbeat,
      "--timeout",
      "300ms",
      "--attempts",
      "2",
      "--backoff",
      "1ms",
    ]);
    const slave = stage.hand(await portOf(master));
    t.equal(await master.ended, 3, master.stderr);
    t.equal(await slave.ended, 0, "the slave stays connected");
    t.equal(master.events("joined").length, 1);
    t.match(stage.deadLetters("scripted"), [{ seq: 20, failures: 2, crashes: 0 }]);
    t.same(stage.records().lost(221), [20]);
    t.same([...new Set(stage.entries("B").filter(({ id }) => id !== 20).map(({ more }) => more))], ["1"]);
  },
);

row(
  "A7: a handler that never settles: its signal, then its worker is replaced once the others ended",
  async (t, stage) => {
    const words = ["--timeout", "1s", "--attempts", "2", "--backoff", "1ms"];
    const master = stage.scripted("once-hang,99*wait:700,20*ok", words);
    const slave = stage.hand(await portOf(master), ["--concurrency", "100"]);
    t.equal(await master.ended, 0, master.stderr);
    t.equal(await slave.ended, 0, "the slave stays");
    const [first, second] = stage.entries("B", 0);
    const [aborted] = stage.entries("A", 0);
    // the handler may note its begin a little later than the worker does
    t.ok(aborted!.atMs - first!.atMs >= 900, "its signal fires at the timeout");
    t.ok(second!.atMs - first!.atMs >= 5_900, "it is tried again no earlier than 5 s later");
    t.not(second!.pid, first!.pid, "in another process");
    t.equal(stage.records().repeated, 1, "no other job was disturbed");
    t.same([...new Set(stage.entries("B").filter(({ id }) => id !== 0).map(({ more }) => more))], ["1"]);
  },
);

row("A8: whatever is thrown becomes a failure with a text that is cut", async (t, stage) => {
  const acts = ["text", "nothing", "proxy", "getter", "megabyte", "deep"].map((what) => `throws:${what}`);
  const master = stage.scripted([...acts, "20*ok"].join(), ["--attempts", "1"]);
  const slave = stage.hand(await portOf(master));
  t.equal(await master.ended, 3, master.stderr);
  t.equal(await slave.ended, 0);
  const letters = stage.deadLetters("scripted") as unknown as {
    seq: number;
    crashes: number;
    attempts: { how: string; error: string; stack: string }[];
  }[];
  t.same(letters.map(({ seq }) => seq).sort(), [0, 1, 2, 3, 4, 5]);
  for (const { seq, crashes, attempts } of letters) {
    const [{ how, error, stack }] = attempts as [typeof attempts[0]];
    t.match({ how, crashes }, { how: "threw", crashes: 0 }, `job ${seq} did not end its worker`);
    t.ok(error.length > 0 && error.length <= 1_000, `job ${seq}: ${error.length} characters`);
    t.ok(stack.split("\n").length <= 50, `job ${seq}: ${stack.split("\n").length} lines`);
  }
  t.match(letters.find(({ seq }) => seq === 0)?.attempts[0]?.error, /just a text/);
  t.equal(letters.find(({ seq }) => seq === 4)?.attempts[0]?.error.length, 1_000);
});

row("A10: process.exit() in a handler ends its worker only", async (t, stage) => {
  const master = stage.scripted("20*ok,exit,200*ok");
  const slave = stage.hand(await portOf(master));
  t.equal(await master.ended, 3, master.stderr);
  t.equal(await slave.ended, 0);
  t.equal(master.events("joined").length, 1);
  t.match(stage.deadLetters("scripted"), [{ seq: 20, failures: 0, crashes: 3 }]);
  t.match(stage.deadLetters("scripted")[0]!.attempts.at(-1)!.error, /exited \(3\)/);
  t.same(stage.records().lost(221), [20]);
});

row("A killed worker: Repeated says what ran again, also what had ended there unheard", async (t, stage) => {
  const plugin = stage.write(
    "killed.mts",
    `import { appendFileSync, existsSync, writeFileSync } from "node:fs";
     export const getJobs = () => [...Array(1_000).keys()];
     export function handleJob(id) {
       appendFileSync("ran", id + " ");
       if (id % 200 === 150 && !existsSync("killed" + id)) {
         writeFileSync("killed" + id, "");
         process.kill(process.pid, "SIGKILL");
       }
       for (const end = performance.now() + 0.5; performance.now() < end;);
     }`,
  );
  const master = stage.masterOf(plugin);
  stage.hand(await portOf(master), [], plugin);
  t.equal(await master.ended, 0, master.stderr);
  const ran = stage.read("ran").toString().trim().split(" ");
  const again = ran.length - 1_000;
  t.equal(new Set(ran).size, 1_000);
  t.ok(again > 5, `${again} ran again, five of them for they had killed it`);
  t.match(master.ending(), { handedOut: 1_000, done: 1_000, repeated: again - 5 });
});

row("A13: a handler that changes its job, or returns what nobody can send", async (t, stage) => {
  const master = stage.scripted("mutate,huge,function,5*ok", ["--attempts", "2", "--backoff", "1ms"]);
  stage.hand(await portOf(master));
  t.equal(await master.ended, 3, master.stderr);
  const [letter, ...more] = stage.deadLetters("scripted");
  t.same(more, []);
  t.match(letter, { seq: 0, job: { id: 0, act: "mutate" } }, "the job on record is as it was yielded");
  t.match(letter!.attempts.map(({ error }) => error), [/changed its job/, /changed its job/]);
  t.match(master.ending(), { done: 7, dead: 1 });
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  row(
    `A14: ${signal} at a slave: it finishes what runs and hands back the rest, uncharged`,
    async (t, stage) => {
      const master = stage.scripted("200*ok,gate:a,200*ok,gate:b");
      const port = await portOf(master);
      const leaver = stage.hand(port);
      await begun(stage, 200);
      leaver.signal(signal);
      stage.hand(port);
      await begun(stage, 401);
      t.equal(leaver.hasEnded, false, "it waits for what runs");
      stage.open("a");
      t.equal(await leaver.ended, 0, leaver.stderr);
      stage.open("b");
      t.equal(await master.ended, 0, master.stderr);
      t.equal(stage.records().repeated, 0);
      t.same(stage.records().lost(402), []);
      t.same(stage.attempts(), [1]);
    },
  );
}

row("A14: what does not end within --grace is aborted, and runs elsewhere, uncharged", async (t, stage) => {
  const master = stage.scripted("once-stubborn,20*ok");
  const port = await portOf(master);
  const leaver = stage.hand(port, ["--grace", "500ms"]);
  await begun(stage, 0);
  leaver.signal("SIGTERM");
  await until(() => stage.entries("A", 0).length > 0, "its signal at the end of the grace");
  t.equal(await leaver.ended, 0, leaver.stderr);
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
  t.same(stage.records().lost(21), []);
  t.same(stage.attempts(), [1]);
});

row("A15: a second signal ends a slave at once", async (t, stage) => {
  const master = stage.scripted("once-stubborn,20*ok");
  const port = await portOf(master);
  const leaver = stage.hand(port);
  await begun(stage, 0);
  leaver.signal("SIGINT");
  await leaver.printed(/Once more to end at once/);
  const signalledAtMs = performance.now();
  leaver.signal("SIGINT");
  t.equal(await leaver.ended, 130, leaver.stderr);
  t.ok(performance.now() - signalledAtMs < 2_000);
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
  t.same(stage.records().lost(21), []);
  t.same(stage.attempts(), [1]);
});

row(
  "A16: a plugin that cannot be loaded, or has no handler: exit 4 before any job is taken",
  async (t, stage) => {
    const master = stage.scripted("5*ok");
    const port = await portOf(master);
    const plugins = {
      "absent.ts": [null, /absent\.ts/],
      "broken.ts": ["export function handleJob( {", /broken\.ts/],
      "throws.ts": ["throw new Error('at the top');", /at the top/],
      "jobless.ts": ["export function getJobs() { return []; }", /handleJob/],
      "wrong.ts": ["export const handleJob = 5;", /handleJob/],
    } as const;
    for (const [name, [text, sentence]] of Object.entries(plugins)) {
      const path = text === null ? join(stage.folder, name) : stage.write(name, text);
      const slave = stage.hand(port, [], path);
      t.equal(await slave.ended, 4, `${name}: ${slave.stderr}`);
      t.match(slave.stderr, sentence, name);
    }
    t.same(master.events("joined"), [], "none of them ever joined");
    stage.hand(port);
    t.equal(await master.ended, 0);
  },
);

row("A18: all slaves are gone: the master waits and says so", async (t, stage) => {
  const master = stage.scripted("gate:a,gate:b,5*ok", heartbeat);
  const port = await portOf(master);
  const first = stage.hand(port);
  await begun(stage, 0);
  first.signal("SIGKILL");
  await master.printed(/"event":"left"/);
  await new Promise((resolve) => setTimeout(resolve, 2 * silenceMs));
  master.signal("SIGUSR1");
  await master.printed(/Slaves: 0 .*waiting for slaves/);
  stage.open("a");
  stage.open("b");
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
  t.same(stage.records().lost(7), []);
});

row("A19: a supervisor killed while a handler loops leaves nothing running", async (t, stage) => {
  const master = stage.scripted("loop,wait:60000");
  const port = await portOf(master);
  const doomed = stage.hand(port, ["--procs", "2"]);
  await until(() => stage.entries("B").length === 2, "both jobs begun");
  const killedAtMs = performance.now();
  doomed.signal("SIGKILL");
  await doomed.ended;
  await until(() => processesOf(stage.folder).length === 1, "only the master is left");
  const tookMs = Math.round(performance.now() - killedAtMs);
  t.ok(tookMs < 2_000, `its workers ended after ${tookMs} ms`);
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  row(`A20: ${signal} to every process of a slave, as a terminal or systemd sends it`, async (t, stage) => {
    const master = stage.scripted("gate,20*ok");
    const port = await portOf(master);
    const slave = stage.hand(port, ["--procs", "2"]);
    await begun(stage, 0);
    await until(() => stage.entries("E").length === 20, "the others ended");
    const pids = processesOf(stage.folder).map(Number).filter((pid) => pid !== master.process.pid);
    t.equal(pids.length, 3, "supervisor and workers");
    for (const pid of pids) process.kill(pid, signal);
    await slave.printed(/Stopping/);
    stage.open();
    t.equal(await slave.ended, 0, slave.stderr);
    t.equal(await master.ended, 0, master.stderr);
    t.equal(stage.records().repeated, 0, "workers ignored it: what ran was finished");
  });
}

row("A21: a slave stays with its run: the run replaced while it was cut off, it leaves", async (t, stage) => {
  const first = stage.scripted("gate:a,5*ok", heartbeat);
  const port = await portOf(first);
  const slave = stage.hand(port);
  await begun(stage, 0);
  first.signal("SIGKILL");
  await first.ended;
  const second = stage.scripted("gate:a,5*ok", [...heartbeat, "--reset", "--force"], port);
  await portOf(second);
  t.equal(await slave.ended, 5, slave.stderr);
  t.match(slave.stderr, /belongs to an earlier run/);
  t.same(second.events("joined"), [], "it took part in nothing");
  t.match(await stage.state(), { handedOut: 0, done: 0 }, "and settled nothing");
  stage.open("a");
  stage.hand(port);
  t.equal(await second.ended, 0, second.stderr);
  t.match(second.ending(), { handedOut: 6, done: 6 });
});

row("A22: the database is down for a while: nobody is buried for it", async (t, stage) => {
  stage.write("down", "");
  const jobs = 2_000;
  // a slow machine, too, sees a hundred attempts fail before one job has used up its own
  const words = ["--attempts", "5", "--backoff", "200ms", "--status-interval", "200ms", "--size", "1000"];
  const master = stage.scripted(`${jobs}*down`, words);
  const slave = stage.hand(await portOf(master), ["--procs", "2"]);
  await master.printed(/failing: .*the database is down/);
  // what was leased before still begins; then probes come less and less often, at last two a second
  await until(() => {
    const [first, , third] = stage.entries("B").slice(-3);
    return third!.atMs - first!.atMs >= 800;
  }, "three probes, half a second apart");
  stage.unlink("down");
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0);
  t.match(master.ending(), { handedOut: jobs, done: jobs, dead: 0 });
  t.notOk(stage.has("scripted.dead.ndjson"), "no dead letter was ever written");
});

row(
  "A27: a handler that fakes the clock, as helpers of tests do: it ends, and nobody is charged",
  async (t, stage) => {
    const plugin = stage.write(
      "clock.ts",
      `
    function fake() {
      performance.now = () => 0;
      Date.now = () => 0;
      for (const name of ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"]) globalThis[name] = () => 0;
      process.nextTick = () => {};
    }
    export function* getJobs() {
      fake();
      for (let id = 0; id < 200; id++) yield id;
    }
    export const handleJob = fake;
  `,
    );
    const master = stage.start(runtimes.binary, ["run", plugin, "--procs", "1", "--timeout", "1s", "--json"]);
    t.equal(await master.ended, 0, master.stderr);
    t.match(master.ending(), { done: 200, dead: 0, repeated: 0 });
    t.notMatch(master.stderr, /WARN/);
  },
);

const broken: Readonly<Record<string, readonly [change: string, word: RegExp]>> = {
  "what runs jobs": [
    `(await import("node:async_hooks")).AsyncLocalStorage.prototype.enterWith = () => { throw new Error("no"); };`,
    /A worker is replaced: the worker itself failed, as if a handler had changed built-in objects: no/,
  ],
  "what sends": [
    `(await import("node:net")).default.Socket.prototype.write = () => { throw new Error("no"); };`,
    /A worker is replaced: its connection to the supervisor ended while it ran/,
  ],
  "what hears": [
    `(await import("node:events")).EventEmitter.prototype.emit = () => { throw new Error("no"); };`,
    /A worker is replaced: it was given jobs, and has begun none for 10 s/,
  ],
};

for (const [what, [change, words]] of Object.entries(broken)) {
  row(`A27: a handler that breaks ${what} in its worker: that is replaced`, async (t, stage) => {
    const plugin = stage.write(
      "broken.ts",
      `import { existsSync, writeFileSync } from "node:fs";
export const getJobs = () => Array.from({ length: 300 }, (_, id) => id);
export async function handleJob(id) {
  if (id !== 50 || existsSync("${stage.folder}/once")) return;
  writeFileSync("${stage.folder}/once", "");
  ${change}
}`,
    );
    const run = stage.start(runtimes.binary, [
      "run",
      plugin,
      "--host",
      "127.0.0.1:0",
      "--procs",
      "1",
      "--json",
    ]);
    const code = await run.ended;
    t.ok(code === 0 || code === 3, `${code} ${run.stderr}`);
    t.match(run.stderr, words);
    t.match(run.ending(), { done: 300, dead: 0 });
  });
}

/** Stops all processes of a stage, as a machine that sleeps does, for so long. */
async function sleepAll(stage: Stage, ms: number): Promise<void> {
  const pids = processesOf(stage.folder).map(Number);
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, ms));
  for (const pid of pids) process.kill(pid, "SIGCONT");
}

for (const [what, sleptMs] of [["longer", 4_000], ["shorter", 1_800]] as const) {
  row(
    `A30: a machine that slept, ${what} than --timeout: nobody is charged, nothing runs twice`,
    async (t, stage) => {
      const master = stage.scripted("gate:a,block:300,gate:b,20*ok", [...heartbeat, "--timeout", "2500ms"]);
      stage.hand(await portOf(master));
      await begun(stage, 0);
      await sleepAll(stage, sleptMs);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      stage.open("a");
      await begun(stage, 2);
      await sleepAll(stage, sleptMs);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      stage.open("b");
      t.equal(await master.ended, 0, master.stderr);
      t.same(stage.attempts(), [1], "nobody is charged");
      t.match(master.ending(), { handedOut: 23, done: 23, repeated: 0 });
      t.equal(stage.entries("B").length, 23, "nothing ran twice");
    },
  );
}

row("A30: a worker that is stopped alone is silent, and judged", async (t, stage) => {
  const master = stage.scripted("gate:a,20*ok", ["--timeout", "1s", "--backoff", "50ms"]);
  stage.hand(await portOf(master));
  await begun(stage, 0);
  process.kill(stage.entries("B", 0)[0]!.pid, "SIGSTOP");
  await begun(stage, 0, 2);
  stage.open("a");
  t.equal(await master.ended, 0, master.stderr);
  t.same(stage.attempts(), [1, 2], "it is charged");
  t.match(master.stderr + stage.entries("B").length, /22$/);
});
