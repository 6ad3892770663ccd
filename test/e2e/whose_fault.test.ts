import t from "tap";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Program } from "../kit/program.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { row, type Stage } from "./stage.ts";

// Whose fault failures are, on the binary: the rows', a slave's, a worker's, or the world's. The rules themselves are
// played with made-up times in core/failures.

// Most of these scenarios wait.
t.jobs = 2;

/** A plugin of numbers. */
const numbers = (count: number, rest: string): string => `
  export function* getJobs(last) {
    for (let i = (last ?? -1) + 1; i < ${count}; i++) yield i;
  }
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  ${rest}
`;

/** Runs such a plugin to its end. */
function runNumbers(
  stage: Stage,
  name: string,
  count: number,
  rest: string,
  words: readonly string[],
): Program {
  const plugin = stage.write(`${name}.ts`, numbers(count, rest));
  return stage.start(runtimes.binary, ["run", plugin, ...words, "--json"]);
}

/** The seqs of its dead letters. */
function dead(stage: Stage, name: string): number[] {
  const path = join(stage.folder, `${name}.dead.ndjson`);
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line).seq).sort((a, b) => a - b);
}

const wide = ["--procs", "2", "--concurrency", "4", "--backoff", "50ms"];

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

for (const [what, good] of [["quick", 10], ["slow", 500]] as const) {
  row(
    `A23: a slave that fails everything beside a healthy one with ${what} jobs: nobody dies, and it is named`,
    async (t, stage) => {
      const count = what === "quick" ? 800 : 60;
      const plugin = stage.write(
        "mount.ts",
        numbers(
          count,
          `
        export async function handleJob(_, { args }) {
          if (process.env.SCRATCH === "bad") throw new Error("the mount is missing");
          await pause(${good});
        }`,
        ),
      );
      const startedMs = Date.now();
      const master = stage.masterOf(plugin, ["--backoff", "100ms"]);
      const address = ["--host", `127.0.0.1:${await portOf(master)}`, "--procs", "2"];
      const bad = stage.start(runtimes.binary, ["slave", plugin, ...address], { SCRATCH: "bad" });
      const healthy = stage.start(runtimes.binary, ["slave", plugin, ...address]);
      t.equal(await master.ended, 0, master.stderr);
      const tookMs = Date.now() - startedMs;
      await Promise.all([bad.ended, healthy.ended]);
      t.match(master.ending(), { handedOut: count, done: count, dead: 0 });
      t.match(master.stderr, /Slave \S+ fails everything: the mount is missing/);
      t.match(master.stderr, /Slave \S+ failed everything: the mount is missing/, "the summary, too");
      // a start takes a second here, and the machine may be busy
      t.ok(tookMs < 1.3 * count * good / 2 + 6_000, `in ${tookMs} ms`);
    },
  );
}

row("A24: one worker of a slave fails everything: it is replaced, and nobody dies", async (t, stage) => {
  const flag = join(stage.folder, "broken");
  const isGoing = join(stage.folder, "going");
  const plugin = stage.write(
    "one.ts",
    `import { existsSync, openSync, writeFileSync } from "node:fs";
    ${
      numbers(
        600,
        `
        export function setup() {
          try {
            openSync(${JSON.stringify(flag)}, "wx");
            return { isBroken: true };
          } catch {
            return { isBroken: false };
          }
        }
        export async function handleJob(_, { shared }) {
          // before the other worker does anything, all that ends fails, and that is an outage
          while (shared.isBroken && !existsSync(${JSON.stringify(isGoing)})) await pause(5);
          if (shared.isBroken) throw new Error("the connection broke");
          await pause(5);
          if (!existsSync(${JSON.stringify(isGoing)})) writeFileSync(${JSON.stringify(isGoing)}, "");
        }`,
      )
    }`,
  );
  const run = stage.start(runtimes.binary, ["run", plugin, "--procs", "2", "--backoff", "100ms", "--json"]);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.ending(), { done: 600, dead: 0 });
  t.match(run.stderr, /A worker is replaced: .*: the connection broke/);
});

row(
  "A25: what setup opened breaks in all workers: they are replaced, and the run ends by itself",
  async (t, stage) => {
    const run = runNumbers(
      stage,
      "all",
      120,
      `export const setup = () => ({ jobs: 0 });
      export async function handleJob(_, { shared }) {
        if (++shared.jobs > 40) throw new Error("the connection was closed");
        await pause(2);
      }`,
      ["--procs", "2", "--backoff", "100ms"],
    );
    t.equal(await run.ended, 0, run.stderr);
    t.match(run.ending(), { done: 120, dead: 0 });
    t.match(run.stderr, /A worker is replaced: .*: the connection was closed/);
  },
);

/** Jobs of 2 ms, of which some rows are bad. */
const someBad = (isBad: string): string =>
  `export async function handleJob(job) {
    await pause(2);
    if (${isBad}) throw new Error("the row is bad");
  }`;

row(
  "A22a: 300 bad rows in a row are no outage: exactly these die, at nearly the speed of the handlers",
  async (t, stage) => {
    const run = runNumbers(stage, "hole", 1_000, someBad("job >= 400 && job < 700"), wide);
    t.equal(await run.ended, 3, run.stderr);
    t.match(run.ending(), { done: 700, dead: 300 });
    t.same(dead(stage, "hole"), range(400, 700));
  },
);

row("A22a: 40 % bad rows end by themselves", async (t, stage) => {
  const run = runNumbers(stage, "mixed", 500, someBad("job % 5 < 2"), wide);
  t.equal(await run.ended, 3, run.stderr);
  t.match(run.ending(), { done: 300, dead: 200 });
  t.same(dead(stage, "mixed"), range(0, 500).filter((job) => job % 5 < 2));
});

row("A22a: a tail of bad rows ends after --max-outage, as dead letters", async (t, stage) => {
  // in one worker, one after the other: where a good row ends behind a bad one, that is no outage
  const words = ["--procs", "1", "--concurrency", "1", "--backoff", "50ms", "--max-outage", "5s"];
  const run = runNumbers(stage, "tail", 200, someBad("job >= 140"), words);
  t.equal(await run.ended, 3, run.stderr);
  t.match(run.ending(), { done: 140, dead: 60 });
  t.same(dead(stage, "tail"), range(140, 200));
  t.match(run.stderr, /Everything fails: the row is bad\. No job is charged/);
});

row(
  "C21: a service that admits 100 calls a second is used at that, and no good row dies",
  async (t, stage) => {
    const run = runNumbers(
      stage,
      "limited",
      700,
      `export const options = { procs: 1, concurrency: 40 };
      let tokens = 100, atMs = Date.now(), calls = 0;
      export async function handleJob(job) {
        calls++;
        const nowMs = Date.now();
        tokens = Math.min(100, tokens + (nowMs - atMs) * 0.1);
        atMs = nowMs;
        if (job % 100 === 7) throw new Error("the row is bad");
        if (tokens < 1) throw new Error("429");
        tokens--;
        await pause(50);
      }
      export const teardown = ({ log }) => log.info("calls", { calls });`,
      [],
    );
    t.equal(await run.ended, 3, run.stderr);
    t.match(run.ending(), { done: 693, dead: 7 });
    t.same(dead(stage, "limited"), range(0, 7).map((i) => 100 * i + 7));
    const calls = Number(/"calls":(\d+)/.exec(run.stderr)?.[1]);
    t.ok(calls <= 3 * 700, `${calls} calls`);
  },
);

row(
  "everything fails for longer than --max-outage: stopped, saved, exit 7; the next start goes on",
  async (t, stage) => {
    const plugin = stage.write(
      "down.ts",
      `import { existsSync } from "node:fs";
    ${
        numbers(
          3_000,
          `
        export async function handleJob(job, { args }) {
          if (job > 50 && !existsSync(args.up)) throw new Error("the database is down");
        }`,
        )
      }`,
    );
    const up = join(stage.folder, "up");
    const words = [`up=${up}`, "--procs", "1", "--size", "500", "--max-outage", "2s", "--json"];
    const run = stage.start(runtimes.binary, ["run", plugin, ...words]);
    t.equal(await run.ended, 7, run.stderr);
    t.match(run.stderr, /nothing succeeded for as long as --max-outage allows: the database is down/);
    t.match(run.stderr, /Resume with: /);
    t.match(run.ending(), { dead: 0 });
    stage.write("up", "");
    const again = stage.start(runtimes.binary, ["run", plugin, ...words]);
    t.equal(await again.ended, 0, again.stderr);
    t.match(again.ending(), { done: 3_000, dead: 0, stranded: 0 });
  },
);
