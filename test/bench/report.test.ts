import t from "tap";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { drawChart } from "../../bench/chart.ts";
import { cpuMsOfDescendants } from "../../bench/cpu_time.ts";
import { describe, marks } from "../../bench/document.ts";
import { replaceBetween } from "../../bench/marks.ts";
import { parseStat } from "../../bench/proc.ts";
import { Rig } from "../../bench/rig.ts";
import { measureOnce, medianRatio, type Result } from "../../bench/rounds.ts";
import { spreadOf, threeDigits } from "../../bench/statistics.ts";
import { systems } from "../../bench/systems.ts";
import { targetsOf } from "../../bench/targets.ts";
import { isAlive } from "../kit/processes.ts";
import { root } from "../kit/runtimes.ts";

const signal = new AbortController().signal;

function result(id: string, jobsPerSecond: number[], failures: string[] = []): Result {
  const system = systems.find((system) => system.id === id)!;
  return {
    system,
    shape: "small",
    jobsPerSecond,
    cpuSecondsPerMillion: jobsPerSecond.map((rate) => 1e6 / rate),
    failures,
  };
}

t.test("statistics", async (t) => {
  t.same(spreadOf([3, 1, 10]), { median: 3, least: 1, most: 10 });
  t.equal(spreadOf([4, 1, 2, 3]).median, 2.5);
  t.same(spreadOf([3, NaN, 1, 10]), { median: 3, least: 1, most: 10 }, "a round that failed is none");
  t.same(spreadOf([]), { median: NaN, least: NaN, most: NaN });
  t.same([43.14, 9_820.4, 1_487_300, 0.5, NaN].map(threeDigits), ["43.1", "9,820", "1,490,000", "0.5", "-"]);
});

t.test("tables hold medians, spreads and ratios", async (t) => {
  const text = describe({
    circumstances: ["Measured somewhere."],
    results: [
      result("bare", [4e6, 2e6, 3e6]),
      result("run", [1.5e6, 1.4e6, 1.6e6]),
      result("celery", [1000]),
      result("bullmq", [], ["It broke\nbadly"]),
    ],
    missing: [{
      system: systems.find(({ id }) => id === "beanstalkd")!,
      missing: "install Debian's beanstalkd",
    }],
    versions: new Map([["celery", "python3-celery 5.2.6"]]),
  });
  t.match(text, "| bare loop | 3,000,000 (2,000,000 to 4,000,000) | - | 0.333 |");
  t.match(text, "| `run`, one worker | 1,500,000 (1,400,000 to 1,600,000) | 0.53 | 0.667 |");
  t.match(text, "| Celery on Redis | 1,000 (1,000 to 1,000) | 1,500 times as fast | 1,000 |");
  t.match(text, "- Celery on Redis (python3-celery 5.2.6): one message a job");
  t.match(text, "| BullMQ on Redis | - | - | - | - | - | - |");
  t.match(text, "- Failed in 1 rounds, BullMQ on Redis, small: It broke badly");
  t.match(text, "- Not measured, beanstalkd: install Debian's beanstalkd.");
});

t.test("a ratio is that of a round: what slows all of one round down changes none", async (t) => {
  const bare = result("bare", [4e6, 1e6, 2e6]);
  t.equal(medianRatio(result("run", [2e6, 0.5e6, 1e6]), bare), 0.5);
  t.equal(medianRatio(result("run", [2e6, NaN, 1e6]), bare), 0.5, "also where a round failed");
  t.equal(medianRatio(result("run", [NaN, 0.25e6, NaN]), bare), 0.25);
  t.same(medianRatio(result("run", [NaN, NaN, NaN]), bare), NaN);
});

t.test("targets: the bare loop, and packed JetStream where it was measured", async (t) => {
  const isMet = (...results: Result[]) => targetsOf(results).map(({ isMet }) => isMet);
  t.same(isMet(result("bare", [100]), result("run", [60]), result("nats-packed", [59])), [true, true]);
  t.same(isMet(result("bare", [100]), result("run", [59]), result("nats-packed", [59])), [false, false]);
  t.same(isMet(result("bare", [100]), result("run", [60])), [true]);
  t.same(isMet(result("bare", [100]), result("run", [], ["It broke"])), [false]);
  t.same(isMet(result("run", [60])), []);
  const rows = [result("bare", [100]), result("run", [50])].map((one) => ({ ...one, shape: "row" as const }));
  const text = describe({ circumstances: [], results: rows, missing: [], versions: new Map() });
  t.match(text, "- Target, rows, to the bare loop: 0.50, at least 0.6: **not met**.");
});

t.test("only what is between the marks is replaced", async (t) => {
  const [beginMark, endMark] = marks;
  const document = `before\n${beginMark}\nold\n${endMark}\nafter\n`;
  const once = replaceBetween(marks, document, "new");
  t.equal(once, `before\n${beginMark}\n\nnew\n\n${endMark}\nafter\n`);
  t.equal(replaceBetween(marks, once, "new"), once, "again changes nothing");
  t.throws(() => replaceBetween(marks, "no marks", "new"), /lacks the lines/);
  t.doesNotThrow(() => replaceBetween(marks, readFileSync(join(root, "docs", "performance.md"), "utf8"), ""));
});

t.test("bars end where their rate is on the scale", async (t) => {
  const chart = drawChart("A & B", ["small jobs", "rows"], [
    { label: "<fast>", kind: "taskmaster", rates: [1e6, 1e5] },
    { label: "slow", kind: "peer", rates: [100, NaN] },
  ]);
  t.match(chart, "A &amp; B");
  t.match(chart, "&lt;fast&gt;");
  const bars = [...chart.matchAll(/x="285" y="[\d.]+" width="([\d.]+)"/g)].map(([, width]) => Number(width));
  t.equal(bars.length, 3, "what was not measured has no bar");
  const [million, tenth, hundred] = bars as [number, number, number];
  const decade = million - tenth;
  t.ok(
    decade > 50 && Math.abs(million - hundred - 4 * decade) < 0.3,
    "a power of ten is the same everywhere",
  );
});

t.test(
  "CPU time of children, and of theirs, is counted",
  { skip: process.platform !== "linux" },
  async (t) => {
    t.same(parseStat(`7 (a ) b) S 3 ${"0 ".repeat(9)}11 12 13 14 0`), {
      pid: 7,
      parent: 3,
      ownTicks: 23,
      waitedTicks: 27,
    });
    const rig = new Rig();
    t.teardown(() => rig.end());
    const beforeMs = cpuMsOfDescendants();
    const spin = "const end = process.cpuUsage().user + 200e3; while (process.cpuUsage().user < end);";
    // the outer process waits for the inner one, which does the work
    const outer = `require("node:child_process").execFileSync(process.execPath, ["-e", ${
      JSON.stringify(spin)
    }])`;
    const program = rig.start(process.execPath, ["-e", outer]);
    t.equal(await program.ended, 0);
    const spentMs = cpuMsOfDescendants() - beforeMs;
    t.ok(spentMs >= 200, `${spentMs} ms of at least 200`);
  },
);

t.test("a measurement leaves no process, whether it succeeds or fails", async (t) => {
  const pids: number[] = [];
  const measure = (script: string, serverScript = "exec sleep 60") =>
    measureOnce(
      {
        run(_load, rig) {
          const server = rig.start("sh", ["-c", serverScript]);
          const program = rig.start("sh", ["-c", script]);
          pids.push(server.pid, program.pid);
          return rig.measure(program);
        },
      },
      "small",
      1000,
      signal,
    );
  const startedAt = performance.now();
  const good = await measure("echo begin; sleep 0.1; echo end; exec sleep 60");
  const leastRate = 1000 / (performance.now() - startedAt) * 1000;
  t.ok("jobsPerSecond" in good && good.jobsPerSecond > leastRate, "the clock runs for a part of the time");
  const bad = await measure("echo begin; echo no such queue >&2; exit 3");
  t.match(bad, { failure: / ended \(3\) and never printed[^]*no such queue/ });
  const worse = await measure("echo begin; exec sleep 60", "sleep 0.1; echo disk full >&2; exit 4");
  t.match(worse, { failure: / ended \(4\) too early:\s+disk full/ }, "the end of any program is seen");
  t.equal(pids.length, 6);
  t.same(pids.filter(isAlive), []);
});

t.test("a measurement that is stopped leaves no process and no folder, and starts none", async (t) => {
  const stop = new AbortController();
  const pids: number[] = [];
  let folder = "", late: unknown = null;
  const measuring = measureOnce(
    {
      async run(_load, rig) {
        folder = rig.folder;
        // the second is ended first, and takes its time
        for (const script of ["exec sleep 60", "trap 'sleep 0.3; exit' TERM; echo ready; sleep 60 & wait"]) {
          const program = rig.start("sh", ["-c", script]);
          pids.push(program.pid);
          if (pids.length === 2) await program.printed(/^ready$/m);
        }
        stop.abort(new Error("Stopped."));
        try {
          pids.push(rig.start("sleep", ["60"]).pid);
        } catch (error) {
          late = error;
        }
        throw late;
      },
    },
    "small",
    1000,
    stop.signal,
  );
  await t.rejects(measuring, { message: "Stopped." });
  t.match(late, { message: "Cannot start sleep: the measurement has ended." });
  t.equal(pids.length, 2);
  t.same(pids.filter(isAlive), []);
  t.notOk(existsSync(folder));
});

t.test("the client libraries of the peers are pinned, and their lock names no registry", async (t) => {
  const read = (name: string) => readFileSync(join(root, "bench", "peers", name), "utf8");
  for (const [name, version] of Object.entries(JSON.parse(read("package.json")).dependencies)) {
    t.match(version, /^\d+\.\d+\.\d+$/, `${name} is pinned`);
  }
  t.notMatch(read("package-lock.json"), /"resolved"/);
});

t.test("each peer has a file of its own", async (t) => {
  const files = readdirSync(join(root, "bench", "peers")).filter((name) => name.endsWith(".ts"));
  const sources = files.map((name) => readFileSync(join(root, "bench", "peers", name), "utf8"));
  for (const { id, kind } of systems) {
    if (kind === "peer") t.equal(sources.filter((text) => text.includes(`"${id}"`)).length, 1, id);
  }
});
