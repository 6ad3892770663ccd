import t from "tap";
import { runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { row, type Stage } from "./stage.ts";

// Row A26 of docs/reliability.md: work that goes on after its job was acked.

t.jobs = 3;

/** Case of a forgotten `await`: 50 jobs, of which one is not saved, 10 ms or more after it is done. */
const forgotten = `
  import { appendFileSync } from "node:fs";
  async function save(dir, id, ms) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (id === 3) throw new Error("save failed for " + id);
    appendFileSync(dir + "/saved.txt", id + "\\n");
  }
  export const getJobs = () => Array.from({ length: 50 }, (_, id) => id);
  export async function handleJob(id, { args }) {
    save(args.dir, id, Number(args.ms));
  }
  export const onFinish = ({ lateErrors }) => console.log("late errors: " + lateErrors);
`;
const savedIn = (stage: Stage) => String(stage.read("saved.txt")).split("\n").length - 1;

row(
  "A26: work that goes on after its job was acked is waited for, and what fails in it is named",
  async (t, stage) => {
    const plugin = stage.write("forgotten.ts", forgotten);
    const words = [plugin, `dir=${stage.folder}`, "ms=300"];
    const run = stage.start(runtimes.binary, ["run", ...words]);
    t.equal(await run.ended, 3, run.stderr);
    t.equal(savedIn(stage), 49);
    t.match(run.stderr, "Finished, with 1 error after the end of jobs.");
    t.match(run.stderr, /Errors after the end of their jobs.*\n +save failed for 3\n/);
    t.match(run.stderr, "late errors: 1");
  },
);

row("A26: the same at a slave elsewhere, dismissed or drained", async (t, stage) => {
  const plugin = stage.write("forgotten.ts", forgotten);
  const master = stage.masterOf(plugin, ["ms=400"]);
  const slave = stage.hand(await portOf(master), [], plugin);
  t.equal(await master.ended, 3, master.stderr);
  t.match(master.ending(), {
    exitCode: 3,
    done: 50,
    lateErrors: 1,
    late: [{ message: "save failed for 3" }],
  });
  t.equal(await slave.ended, 0);
  t.equal(savedIn(stage), 49);

  stage.unlink("saved.txt");
  const next = stage.masterOf(plugin, ["ms=400", "--reset"]);
  const drained = stage.hand(await portOf(next), [], plugin);
  await next.printed(/"event":"joined"/);
  drained.signal("SIGTERM");
  t.equal(await drained.ended, 0, "drained, or dismissed meanwhile");
  stage.hand(await portOf(next), [], plugin);
  await next.ended;
  t.equal(savedIn(stage), 49, "nothing that was begun is lost");
});

/** 20 jobs whose rows are written 0.5 s after their ack, and one that does `text` before that. */
const cutShort = (text: string, more = "") => `
  import { appendFileSync } from "node:fs";
  export const getJobs = () => Array.from({ length: 20 }, (_, id) => id);
  export function handleJob(id, { args }) {
    setTimeout(() => appendFileSync(args.dir + "/saved.txt", id + "\\n"), 500);
    if (id === 3) setTimeout(() => { ${text} }, 200);
  }
  ${more}
`;

for (
  const [what, [text, reason]] of Object.entries(
    {
      exits: ["process.exit(0)", /process\.exit\(0\)/],
      "is killed": ["process.kill(process.pid, 'SIGKILL')", /killed by SIGKILL/],
    } as const,
  )
) {
  row(`A26: a worker that ${what} while others' work goes on is no success`, async (t, stage) => {
    const plugin = stage.write("cut.ts", cutShort(text));
    const run = stage.start(runtimes.binary, [
      "run",
      plugin,
      `dir=${stage.folder}`,
      "--procs",
      "1",
      "--json",
    ]);
    t.equal(await run.ended, 3, run.stderr);
    t.match(run.ending(), { done: 20, lateErrors: 1, late: [{ message: reason }] });
    t.match(run.stderr, /a worker ended before what its jobs had begun/);
  });
}

row("A26: a loop that is left behind is killed soon after those 5 s, and named", async (t, stage) => {
  const plugin = stage.write("cut.ts", cutShort("for (;;);"));
  const startedMs = Date.now();
  const words = ["run", plugin, `dir=${stage.folder}`, "--procs", "1", "--grace", "1s"];
  const run = stage.start(runtimes.binary, words);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.stderr, /WARN: Worker \d+ is still busy, and its event loop stands still/);
  t.ok(Date.now() - startedMs < 9_000, "it may rest for a second, and not as long as a teardown takes");
});

row("A26: an exit of a job that had ended is its own, and charges no other job", async (t, stage) => {
  const plugin = stage.write(
    "exits.ts",
    `
    export const getJobs = () => Array.from({ length: 20 }, (_, id) => id);
    export async function handleJob(id) {
      if (id === 3) setTimeout(() => process.exit(0), 60);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  `,
  );
  const words = ["run", plugin, "--procs", "1", "--json", "--backoff", "10ms"];
  const run = stage.start(runtimes.binary, [...words, "--log-level", "debug"]);
  t.equal(await run.ended, 3, run.stderr);
  t.match(run.ending(), { done: 20, dead: 0, late: [{ seq: 3, message: /process\.exit\(0\)/ }] });
  t.notMatch(run.stderr, /failed|crash/, "who ran then is not charged");
});

row("A26: a teardown that throws is no success, for it may have had to write", async (t, stage) => {
  const plugin = stage.write(
    "down.ts",
    cutShort("", "export async function teardown() { throw new Error('disk full'); }"),
  );
  const run = stage.start(runtimes.binary, ["run", plugin, `dir=${stage.folder}`, "--procs", "1", "--json"]);
  t.equal(await run.ended, 3, run.stderr);
  t.match(run.ending(), { done: 20, lateErrors: 1, late: [{ message: "teardown failed: disk full" }] });
  t.equal(savedIn(stage), 20, "what goes on is waited for all the same");
});

row("A26: what is left open is waited for within the grace, and said", async (t, stage) => {
  const plugin = stage.write(
    "open.ts",
    `
    export const getJobs = () => [1, 2, 3];
    export const handleJob = () => void setInterval(() => {}, 1000);
  `,
  );
  const run = stage.start(runtimes.binary, ["run", plugin, "--procs", "1", "--grace", "700ms"]);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.stderr, /WARN: Worker \d+ is still busy: a forgotten await, or an open connection/);
});
