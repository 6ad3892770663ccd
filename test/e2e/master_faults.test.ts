import t from "tap";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeSlave } from "../kit/fake_slave.ts";
import { readDeadLetters } from "../kit/dead_letters.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { heartbeat, row, silenceMs, type Stage, token } from "./stage.ts";

// Table C of docs/reliability.md, but for what is done to the disk and for two masters on two hosts.

t.jobs = 3;

const noYield = (stage: Stage) => stage.entries("S").length === 0;

row("C3: a folder that is missing, or is none: refused before getJobs is called", async (t, stage) => {
  writeFileSync(join(stage.folder, "file"), "");
  for (
    const [dir, sentence] of [["absent", /there is no such folder/], ["file", /it is no folder/]] as const
  ) {
    const master = stage.scripted("3*ok", ["--state-dir", join(stage.folder, dir)]);
    t.equal(await master.ended, 6);
    t.match(master.stderr, sentence);
    t.match(master.stderr, /--state-dir/, "what to do next");
  }
  t.ok(noYield(stage));
});

row("C3: a folder that takes no file: refused before getJobs is called", async (t, stage) => {
  // Of a file system that is read-only to root too.
  const master = stage.scripted("3*ok", ["--state-dir", "/proc/self"]);
  t.equal(await master.ended, 6);
  t.match(master.stderr, /Cannot keep the state in "\/proc\/self"/);
  t.ok(noYield(stage));
}, { skip: process.platform !== "linux" });

row(
  "C4, C5: a stopped master keeps its lock; the second touches nothing; after a kill the next one starts unaided",
  async (t, stage) => {
    const script = "gate,5*ok";
    const first = stage.scripted(script);
    const port = await portOf(first);
    const slave = stage.hand(port);
    await until(() => stage.entries("B", 0).length === 1, "a job begun");
    first.signal("SIGSTOP");
    const before = readFileSync(join(stage.folder, "scripted.state"));
    const second = stage.scripted(script);
    t.equal(await second.ended, 6);
    t.match(second.stderr, new RegExp(`already runs, pid ${first.process.pid}\\b`));
    t.ok(before.equals(readFileSync(join(stage.folder, "scripted.state"))), "the state is as it was");
    first.signal("SIGKILL");
    await first.ended;
    t.ok(stage.has("scripted.lock"), "what the killed one left");
    const third = stage.scripted(script, [], port);
    await portOf(third);
    stage.open();
    t.equal(await third.ended, 0, third.stderr);
    t.equal(await slave.ended, 0);
    t.same(stage.records().lost(6), []);
  },
);

row("I10: of five masters that start at once, one runs", async (t, stage) => {
  const masters = Array.from({ length: 5 }, () => stage.scripted("gate"));
  const codes: unknown[] = [];
  for (const master of masters) void master.ended.then((code) => codes.push(code));
  await until(() => codes.length === 4, "four refused");
  t.same(codes, [6, 6, 6, 6]);
  const winner = masters.find((master) => !master.hasEnded)!;
  stage.open();
  stage.hand(await portOf(winner));
  t.equal(await winner.ended, 0, winner.stderr);
});

/** Master, supervisor and worker all see this clock, which jumps when the file of that name appears. */
const jumpingClock = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long jump(void) { const char *f = getenv("CLOCK_JUMP"); return f && !access(f, F_OK) ? atol(getenv("CLOCK_SECONDS")) : 0; }
int clock_gettime(clockid_t id, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, at);
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) at->tv_sec += jump();
  return result;
}
int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); if (at) *at = now.tv_sec; return now.tv_sec; }
`;

for (const [name, seconds] of [["forwards", 3_600], ["backwards", -3_600]] as const) {
  row(`C7: the wall clock jumps an hour ${name}: no effect`, async (t, stage) => {
    const library = stage.compileC("clock", jumpingClock);
    if (library === null) {
      return void t.pass("not tried", { skip: "no C compiler to make such a clock with" });
    }
    Object.assign(stage.env, {
      LD_PRELOAD: library,
      CLOCK_JUMP: join(stage.folder, "jump"),
      CLOCK_SECONDS: String(seconds),
    });
    const words = [...heartbeat, "--timeout", "20s", "--backoff", "100ms"];
    const master = stage.scripted("100*wait:2,gate,once-throws:text,200*wait:5", words);
    const slave = stage.hand(await portOf(master), ["--procs", "2"]);
    await until(
      () => stage.entries("B", 100).length === 1 && stage.entries("B").length > 150,
      "in the middle",
    );
    const beforeMs = stage.entries("B").at(-1)!.atMs;
    stage.write("jump", "");
    stage.open();
    t.equal(await master.ended, 0, master.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    const jumpedMs = stage.entries("E").find(({ id }) => id === 100)!.atMs - beforeMs;
    t.ok(Math.abs(jumpedMs - seconds * 1_000) < 30_000, `the handlers saw it jump by ${jumpedMs / 1_000} s`);
    t.equal(master.events("joined").length, 1, "nobody was given up");
    t.match(master.ending(), { done: 302, dead: 0, repeated: 0 }, "the one that threw was tried again");
    t.ok(Number(master.ending().elapsedMs) < 60_000, "elapsed time is not the wall clock's");
    t.same(stage.entries("A"), [], "no timeout");
  });
}

row("C8: a getJobs that blocks the master loses no slave, and repeats nothing", async (t, stage) => {
  const script = `300*wait:2,@block:${2 * silenceMs},100*wait:2`;
  const master = stage.scripted(script, [...heartbeat, "--size", "200"]);
  const slave = stage.hand(await portOf(master));
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0);
  t.equal(master.events("joined").length, 1);
  t.notMatch(master.stdout, /silent/);
  t.same(stage.records().lost(400), []);
  t.equal(stage.records().repeated, 0);
});

row.long("C8: a getJobs that blocks the master for a minute, at the default heartbeat", async (t, stage) => {
  const master = stage.scripted("300*wait:2,@block:60000,100*wait:2", ["--size", "200"]);
  const slave = stage.hand(await portOf(master));
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0);
  t.equal(master.events("joined").length, 1);
  t.notMatch(master.stdout, /silent/);
  t.equal(stage.records().repeated, 0);
});

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  row(
    `C9: ${signal}: hands out nothing more, waits, saves, exits ${code}, says how to go on`,
    async (t, stage) => {
      const script = "gate,100*ok,@stuck";
      const master = stage.scripted(script);
      const port = await portOf(master);
      const slave = stage.hand(port);
      await until(() => stage.entries("B", 0).length === 1, "a job begun");
      master.signal(signal);
      await master.printed(/nothing more is handed out/);
      const begun = stage.entries("B").length;
      stage.open();
      t.equal(await master.ended, code, master.stderr);
      t.equal(stage.entries("E", 0).length, 1, "what ran was waited for");
      t.equal(stage.entries("B").length, begun, "nothing more was begun");
      const { handedOut, done, strandedCount } = await stage.state();
      t.equal(handedOut, Number(done) + Number(strandedCount));
      const [, command] = /^\s*(.*taskmaster master .*script=.*)$/m.exec(master.stderr) ?? [];
      t.match(command, "scripted.ts", "the command that resumes");
      t.notMatch(command, /--reset/);
      const second = stage.scripted("gate,100*ok", ["--force"], port);
      t.equal(await slave.ended, 5, "its slave waited for the next master, which has other arguments");
      const other = stage.hand(port);
      t.equal(await second.ended, 0, second.stderr);
      t.equal(await other.ended, 0);
      t.same(stage.records().lost(101), []);
      t.equal(stage.records().repeated, 0);
    },
  );
}

row("C10: the second SIGINT saves at once", async (t, stage) => {
  const script = "gate,5*ok";
  const master = stage.scripted(script, ["--checkpoint", "1h"]);
  const port = await portOf(master);
  stage.hand(port);
  await until(() => stage.entries("B", 0).length === 1, "a job begun");
  master.signal("SIGINT");
  await master.printed(/Once more to end at once/);
  const atMs = performance.now();
  master.signal("SIGINT");
  t.equal(await master.ended, 130, master.stderr);
  t.ok(performance.now() - atMs < 3_000);
  t.match(await stage.state(), { handedOut: 1, done: 0, strandedCount: 1 });
  const second = stage.scripted(script, [], port);
  await portOf(second);
  stage.open();
  t.equal(await second.ended, 0, second.stderr);
  t.equal(stage.records().repeated, 0, "its slave held it all the while");
});

row("C11: a getJobs that throws is called again from its last job", async (t, stage) => {
  const master = stage.scripted("20*ok,@throw-once:20,20*ok,@throw-once:40,20*ok");
  stage.hand(await portOf(master));
  t.equal(await master.ended, 0, master.stderr);
  t.same(stage.entries("S").map(({ more }) => more), ["null", "19", "39"]);
  const [first, second] = stage.entries("S");
  t.ok(second!.atMs - first!.atMs >= 990, "a second later");
  t.match(master.stderr, /the source broke at 20; it is called again in 1 s/);
  t.same([stage.records().yielded.size, stage.records().lost(60)], [60, []]);
  t.equal(stage.records().repeated, 0);
});

row.long(
  "C11: a getJobs that throws five times in a row is given up; the next start goes on",
  async (t, stage) => {
    const master = stage.scripted("20*ok,@throw:20,20*ok");
    const port = await portOf(master);
    stage.hand(port);
    t.equal(await master.ended, 1, master.stderr);
    const calls = stage.entries("S");
    t.equal(calls.length, 6);
    const pauses = calls.slice(1).map(({ atMs }, at) => Math.round((atMs - calls[at]!.atMs) / 1_000));
    t.same(pauses, [1, 2, 4, 8, 16]);
    t.match(master.stderr, /the source broke at 20\n.*at .*scripted\.ts/, "with the plugin's stack");
    t.match(await stage.state(), { handedOut: 20, done: 20, strandedCount: 0 }, "what it yielded is done");
    const second = stage.scripted("20*ok,20*ok", ["--force"], port);
    t.equal(await second.ended, 0, second.stderr);
    t.same(stage.records().lost(40), []);
  },
);

row(
  "J1: ctx.fatal in getJobs ends the run at once: what was yielded is done, and the run can be resumed",
  async (t, stage) => {
    const plugin = stage.write(
      "fatal.mts",
      `
    import { existsSync } from "node:fs";
    export async function* getJobs(last = -1, { args, fatal }) {
      for (let id = last + 1; id < 5; id++) yield id;
      try {
        if (!existsSync(args.dir + "/rows.csv")) fatal("there is no rows.csv");
      } catch { await new Promise(() => {}); }
      yield 5;
    }
    export function handleJob() {}
  `,
    );
    const beganMs = performance.now();
    const master = stage.masterOf(plugin);
    const port = await portOf(master);
    stage.hand(port, [], plugin);
    t.equal(await master.ended, 1, master.stderr);
    t.ok(performance.now() - beganMs < 15_000, "not after 31 s");
    t.match(
      master.stderr,
      /WARN: getJobs called ctx\.fatal: there is no rows\.csv; calling it again cannot help/,
    );
    t.match(master.stderr, /^Ended: getJobs called ctx\.fatal: there is no rows\.csv$/m);
    t.match(await stage.state("fatal"), { handedOut: 5, done: 5, strandedCount: 0, complete: false });
    stage.write("rows.csv", "");
    const second = stage.masterOf(plugin, [], port);
    t.equal(await second.ended, 0, second.stderr);
    t.match(await stage.state("fatal"), { handedOut: 6, done: 6, complete: true });
  },
);

row(
  "J2: an iterator that breaks the protocol ends the run at once, and says what is expected",
  async (t, stage) => {
    const plugin = stage.write(
      "broken.mts",
      `
    const rows = [{ id: 1 }, { id: 2 }];
    const iterators = {
      bare: { [Symbol.asyncIterator]() { return this; }, next: async () => rows.shift() },
      late: { [Symbol.iterator]() { return this; }, next: async () => ({ value: rows.shift(), done: !rows.length }) },
      none: { [Symbol.iterator]: () => rows },
    };
    export const getJobs = (last, { args }) => iterators[args.kind];
    export function handleJob() {}
  `,
    );
    const check = async (kind: string, words: RegExp) => {
      const beganMs = performance.now();
      const master = stage.masterOf(plugin, [`kind=${kind}`, "--key", kind]);
      t.equal(await master.ended, 1, `${kind}: ${master.stderr}`);
      t.ok(performance.now() - beganMs < 15_000, "at once");
      t.match(master.stderr, words);
      t.match(await stage.state(kind), { handedOut: 0, complete: false });
    };
    await check(
      "bare",
      /next\(\) answered an object without `value` \(it has `id`\).*`\{ value: job, done: false \}`/,
    );
    await check("late", /next\(\) answered a promise.*\[Symbol\.asyncIterator\]/);
    await check("none", /\[Symbol\.iterator\]\(\) returned an array, which has no `next`/);
  },
);

row("J3: an error in getJobs is told with its file and line, at once", async (t, stage) => {
  const plugin = stage.write(
    "line.mts",
    "export function* getJobs(last, ctx) {\n  yield 1;\n  yield ctx.nothing.rows;\n}\nexport function handleJob() {}\n",
  );
  const master = stage.masterOf(plugin);
  await master.printed(
    /WARN: getJobs threw: TypeError: .*; it is called again in 1 s\. It was thrown at \S+line\.mts:3:\d+\./,
  );
  master.signal("SIGTERM");
  t.equal(await master.ended, 143, master.stderr);
});

row(
  "C12: a getJobs that never yields and never returns: beats go on, and a stop waits 5 s for it at most",
  async (t, stage) => {
    const master = stage.scripted("5*ok,@stuck", heartbeat);
    const slave = stage.hand(await portOf(master));
    await until(() => stage.entries("E").length === 5, "what there was is done");
    await new Promise((resolve) => setTimeout(resolve, silenceMs + 500));
    t.notMatch(master.stdout, /"event":"left"/);
    t.notMatch(slave.stderr, /silent/);
    const atMs = performance.now();
    master.signal("SIGINT");
    t.equal(await master.ended, 130, master.stderr);
    t.ok(performance.now() - atMs < 7_000);
  },
);

row("C13, C14: falsy jobs are jobs, and each type arrives as it was sent", async (t, stage) => {
  const plugin = stage.write(
    "types.mts",
    `
    import { appendFileSync } from "node:fs";
    import { inspect } from "node:util";
    const jobs = () => [undefined, null, 0, "", false, NaN, -1.5, 2n ** 80n, -(2n ** 64n), 7n,
      new Date(1700000000123), new Date(NaN), new Map([[1, "a"], [{ k: 1 }, new Set([1])]]), new Set(["x", 2n]),
      new Uint8Array([0, 255, 3]), [[], {}], { deep: [{ at: new Date(5) }] }, "ünïcødé \\u{1f600}", 2 ** 53 - 1, 1e300];
    const show = (job) => inspect(job, { depth: 9 });
    export function* getJobs(last) { yield* jobs().map((job, at) => [at, job]).slice((last?.[0] ?? -1) + 1); }
    export const cursor = ([at]) => [at];
    export function handleJob([at, job], ctx) {
      if (show(job) !== show(jobs()[at])) throw new Error("job " + at + " arrived as " + show(job));
      appendFileSync(ctx.args.dir + "/seen", at + "\\n");
    }
  `,
  );
  const master = stage.masterOf(plugin, ["--attempts", "1"]);
  stage.hand(await portOf(master), [], plugin);
  t.equal(await master.ended, 0, `${master.stderr}\n${JSON.stringify(stage.deadLetters("types"))}`);
  t.equal(readFileSync(join(stage.folder, "seen"), "utf8").trim().split("\n").length, 20);

  const bare = stage.write(
    "bare.mts",
    `
    import { appendFileSync } from "node:fs";
    export const getJobs = () => [undefined, null, 0, "", false];
    export const cursor = (job) => [typeof job, job === null];
    export function handleJob(job, ctx) { appendFileSync(ctx.args.dir + "/bare", String(job) + ";"); }
  `,
  );
  const second = stage.masterOf(bare);
  stage.hand(await portOf(second), [], bare);
  t.equal(await second.ended, 0, second.stderr);
  t.same(readFileSync(join(stage.folder, "bare"), "utf8").split(";").sort(), [
    "",
    "",
    "0",
    "false",
    "null",
    "undefined",
  ]);
});

row(
  "C15, C16: a job that cannot be sent ends the run, naming its number and the path in it; what came before is done",
  async (t, stage) => {
    const bads: Record<string, readonly [string, RegExp]> = {
      "a function": ["{ a: [1, { f: () => 1 }] }", /\ba\[1\]\.f\b.*function/],
      "a symbol": ["{ s: Symbol('x') }", /\bs\b.*symbol/],
      "a cycle": ["(() => { const o = { in: {} }; o.in.o = o; return o; })()", /in\.o/],
      "20,000 levels": [
        "(() => { let o = {}; for (let i = 0; i < 20000; i++) o = { o }; return o; })()",
        /32/,
      ],
      "a class instance": ["{ row: new (class Row {})() }", /\brow\b.*Row/],
      "a promise": ["{ p: Promise.resolve(1) }", /\bp\b.*Promise/],
      "a regular expression": ["[/x/]", /\[0\].*RegExp/],
      "an error": ["{ e: new Error('x') }", /\be\b.*Error/],
      "a job over 1 MiB": ["new Uint8Array(1048576)", /1048581 bytes encoded, more than 1048576/],
    };
    const plugin = stage.write(
      "bad.mts",
      `
    const bads = [${Object.values(bads).map(([text]) => `() => (${text})`).join(", ")}];
    export function* getJobs(last, ctx) {
      for (let at = 0; at < 7; at++) yield at === 5 ? bads[Number(ctx.args.which)]() : at;
    }
  `,
    );
    const check = async (which: number, what: string, sentence: RegExp) => {
      const master = stage.masterOf(plugin, [`which=${which}`, "--key", `bad${which}`]);
      const slave = await FakeSlave.join({ host: "127.0.0.1", port: await portOf(master) }, { token });
      t.same(await slave.work(), [0, 1, 2, 3, 4], `${what}: what came before is done`);
      t.equal(await master.ended, 1, `${what}: ${master.stderr}`);
      t.match(master.stderr, /\bjob 5\b/, `${what}: its number`);
      t.match(master.stderr, sentence, `${what}: what and where`);
      t.match(await stage.state(`bad${which}`), { handedOut: 5, done: 5, strandedCount: 0, complete: false });
    };
    const all = Object.entries(bads).map(([what, [, sentence]], which) => [which, what, sentence] as const);
    for (let at = 0; at < all.length; at += 3) {
      await Promise.all(all.slice(at, at + 3).map((one) => check(...one)));
    }
  },
);

row("J4: a run of nothing else ends although its slave has not joined yet", async (t, stage) => {
  const plugin = stage.write(
    "row.mjs",
    "export const getJobs = () => [{ id: 1, name: 'x\\ud800' }];\nexport const cursor = ({ id }) => id;\n" +
      "await new Promise((resolve) => setTimeout(resolve, process.argv.includes('run') ? 0 : 1_000));\n" +
      "export function handleJob() {}\n",
  );
  const startedMs = Date.now();
  const run = stage.start(runtimes.binary, ["run", plugin, "--host", "127.0.0.1:0", "--procs", "1"]);
  t.equal(await run.ended, 3, run.stderr);
  t.ok(Date.now() - startedMs < 8_000, "nobody that was dismissed is waited for: nobody was");
  t.match(run.stderr, /1 dead \+ 0 stranded/);
});

row(
  "J4: rows with a fault of their data are set aside one by one; the master killed at them loses none",
  async (t, stage) => {
    const plugin = stage.write(
      "rows.mts",
      `
    import { appendFileSync } from "node:fs";
    const odd = {
      3: (id) => ({ id, name: "x\\ud800" }), 4: (id) => JSON.parse('{"id":' + id + ',"a":{"__proto__":1}}'),
      5: (id) => ({ id, text: "x".repeat(2 << 20) }), 6: (id) => ({ id, big: 2n ** 9000n }),
    };
    export async function* getJobs(last = -1, { args }) {
      appendFileSync(args.dir + "/calls", last + "\\n");
      for (let id = last + 1; id < 300; id++) {
        yield (odd[id % 50] ?? ((id) => ({ id })))(id);
        if (id % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 40));
      }
    }
    export const cursor = ({ id }) => id;
    export function handleJob({ id }, { args }) { appendFileSync(args.dir + "/ran", id + "\\n"); }
  `,
    );
    const run = (words: readonly string[] = []) =>
      stage.start(runtimes.binary, [
        ...["run", plugin, `dir=${stage.folder}`, "--state-dir", stage.folder, "--host", "127.0.0.1:0"],
        ...["--procs", "1", "--json", ...words],
      ]);
    for (const seq of [4, 106, 205]) {
      const killed = run();
      await killed.printed(new RegExp(`"event":"dead","at":"[^"]+","seq":${seq},`)).catch((error) =>
        t.fail(String(error))
      );
      killed.signal("SIGKILL");
      await killed.ended;
    }
    const last = run();
    t.equal(await last.ended, 3, last.stderr);
    t.match(last.stderr, /^ +\d x cannot be sent: a property named __proto__$/m, "by what is wrong");
    const state = await stage.state("rows");
    t.match(state, { handedOut: 300, done: 276, skipped: 0, dead: 24, strandedCount: 0, complete: true });
    const letters = (await readDeadLetters(join(stage.folder, "rows.dead.ndjson"))).letters;
    t.same(
      letters.map(({ seq }) => seq),
      [0, 50, 100, 150, 200, 250].flatMap((at) => [3, 4, 5, 6].map((odd) => at + odd)),
    );
    t.ok(
      letters.every(({ seq, cbor, row }) => cbor === null && row?.cursor === seq),
      "with the cursor of each",
    );
    t.match(letters.slice(0, 4).map(({ row }) => row), [
      { path: "$.name", reason: /half a surrogate pair/ },
      { path: "$.a", reason: /__proto__/ },
      { path: "$.text", reason: /2097152 characters/ },
      { path: "$.big", reason: /1024 bytes/ },
    ]);
    const ran = new Set(readFileSync(join(stage.folder, "ran"), "utf8").trim().split("\n").map(Number));
    t.equal(ran.size, 276, "every other row was handled");
  },
);

row("C15a: a generator that reuses one object, and rows without a prototype", async (t, stage) => {
  const plugin = stage.write(
    "reuse.mts",
    `
    import { appendFileSync } from "node:fs";
    export function* getJobs() {
      const row = Object.create(null);
      row.list = [];
      for (let id = 0; id < 500; id++) { row.id = id; row.list[0] = id; yield row; }
    }
    export const cursor = ({ id }) => id;
    export function handleJob({ id, list }, ctx) {
      if (list[0] !== id) throw new Error("mixed up");
      appendFileSync(ctx.args.dir + "/ids", id + "\\n");
    }
  `,
  );
  const master = stage.masterOf(plugin);
  stage.hand(await portOf(master), [], plugin);
  t.equal(await master.ended, 0, master.stderr);
  const ids = readFileSync(join(stage.folder, "ids"), "utf8").trim().split("\n").map(Number);
  t.same(ids.sort((a, b) => a - b), Array.from({ length: 500 }, (_, id) => id));
});

row("C17: a source far longer than the buffer is pulled only as jobs settle", async (t, stage) => {
  // Handlers count before the master can: what is read here is never more than what is really unsettled.
  const plugin = stage.write(
    "long.mts",
    `
    import { appendFileSync, existsSync, statSync } from "node:fs";
    const ended = (ctx) => existsSync(ctx.args.dir + "/ended") ? statSync(ctx.args.dir + "/ended").size : 0;
    export function* getJobs(last, ctx) {
      let most = 0;
      for (let id = 0; id < 30000; id++) {
        if (id % 50 === 0) most = Math.max(most, id - ended(ctx));
        yield id;
      }
      appendFileSync(ctx.args.dir + "/most", String(most));
    }
    export function handleJob(id, ctx) { appendFileSync(ctx.args.dir + "/ended", "x"); }
  `,
  );
  const master = stage.masterOf(plugin, ["--size", "1000"]);
  stage.hand(await portOf(master), [], plugin);
  t.equal(await master.ended, 0, master.stderr);
  const most = Number(readFileSync(join(stage.folder, "most"), "utf8"));
  t.ok(most <= 1_000, `${most} unsettled at most`);
  t.ok(most > 500, "and the cap was reached");
});

row("C18: an exception in the core: exit 1, and the state stays as it was", async (t, stage) => {
  // The plugin runs in the master's process: it breaks `Math.max` for the one call that the core makes of how much of its
  // credit a slave gets at once, told by its arguments.
  const plugin = stage.write(
    "core.mts",
    `
    import { existsSync } from "node:fs";
    const max = Math.max;
    export async function* getJobs(last, ctx) {
      for (let id = 0; id < 50; id++) yield id;
      while (!existsSync(ctx.args.dir + "/break")) await new Promise((resolve) => setTimeout(resolve, 10));
      Math.max = (...args) => {
        if (args.length === 2 && args[0] === 1 / 16 && args[1] === 1 / 1000) throw new Error("a fault in the core");
        return max(...args);
      };
      for (let id = 50; id < 1000; id++) yield id;
    }
    export function handleJob() {}
  `,
  );
  const words = ["--size", "4321", "--checkpoint", "100ms"];
  const master = stage.masterOf(plugin, words);
  stage.hand(await portOf(master), [], plugin);
  await stage.until("core", ({ done }) => done === 50);
  const before = readFileSync(join(stage.folder, "core.state"));
  stage.write("break", "");
  t.equal(await master.ended, 1, master.stderr);
  t.match(master.stderr, /a fault in the core/);
  t.ok(before.equals(readFileSync(join(stage.folder, "core.state"))), "nothing was saved after it");
});
