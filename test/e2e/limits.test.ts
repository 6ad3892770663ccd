import t from "tap";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runtimes } from "../kit/runtimes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";

/** Its workers write when each attempt begins and ends, by the clock of the machine; every tenth job fails once. */
const plugin = `
import { appendFileSync } from "node:fs";
export function* getJobs(last = 0) { for (let id = last + 1; id <= 100_000; id++) yield id; }
export const cursor = (id: number) => id;
const file = process.env.LOG_DIR + "/" + process.pid + ".log";
export async function handleJob(id: number, ctx: { attempt: number }) {
  appendFileSync(file, "+" + Date.now() + "\\n");
  await new Promise((resolve) => setTimeout(resolve, 20));
  appendFileSync(file, "-" + Date.now() + "\\n");
  if (id % 10 === 0 && ctx.attempt === 1) throw new Error("once");
}
`;

type Moment = { atMs: number; isBegin: boolean };

/** Runs a master and slaves with an option until `forMs` after the first attempt; when attempts began and ended. */
async function play(
  t: { teardown(end: () => unknown): unknown },
  option: string,
  slaves: number,
  forMs: number,
) {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const path = join(scenario.folder, "plugin.ts");
  writeFileSync(path, plugin);
  const words = ["master", path, option, "--host", "127.0.0.1:0", "--backoff", "50ms", "--json"];
  const master = scenario.start(runtimes.binary, [...words, "--status-interval", "100ms"]);
  const port = await portOf(master);
  for (let at = 0; at < slaves; at++) {
    const more = ["--host", `127.0.0.1:${port}`, "--procs", "1", "--concurrency", "50"];
    scenario.start(runtimes.binary, ["slave", path, ...more], { LOG_DIR: scenario.folder });
  }
  const first = await master.event(({ event, handedOut }) => event === "status" && Number(handedOut) > 0);
  await master.event(({ event, elapsedMs }) =>
    event === "status" && Number(elapsedMs) > Number(first.elapsedMs) + forMs
  );
  const reason = master.events("status").at(-1)!.reason;
  master.signal("SIGTERM");
  await master.ended;
  const logs = readdirSync(scenario.folder).filter((name) => name.endsWith(".log"));
  const lines = logs.flatMap((name) => readFileSync(join(scenario.folder, name), "utf8").trim().split(/\n/));
  const moments = lines.map((line): Moment => ({ atMs: Number(line.slice(1)), isBegin: line[0] === "+" }));
  return {
    reason,
    moments: moments.sort((a, b) => a.atMs - b.atMs || Number(a.isBegin) - Number(b.isBegin)),
  };
}

t.test("a rate is held over several slaves, retries included", async (t) => {
  const { moments, reason } = await play(t, "--rate=150/s", 3, 4_000);
  const begun = moments.filter(({ isBegin }) => isBegin);
  const [firstMs, lastMs] = [begun[0]!.atMs, begun.at(-1)!.atMs];
  const allowed = 150 * (lastMs - firstMs) / 1_000 + 15 + 1;
  t.ok(begun.length <= allowed * 1.02, `${begun.length} begun, ${allowed} allowed`);
  t.ok(begun.length >= 0.9 * allowed, `${begun.length} begun, ${allowed} allowed`);
  t.equal(reason, "throttled: --rate 150/s");
});

t.test("a limit on jobs in flight is held over several slaves, and used", async (t) => {
  const { moments, reason } = await play(t, "--max-in-flight=7", 3, 2_000);
  let running = 0;
  let most = 0;
  for (const { isBegin } of moments) most = Math.max(most, running += isBegin ? 1 : -1);
  t.equal(most, 7);
  t.equal(reason, "throttled: --max-in-flight 7");
});

t.test("a rate or a limit that is none is refused", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  for (
    const words of [["--rate", "0/s"], ["--rate", "5"], ["--rate", "2000000/s"], ["--max-in-flight", "0"]]
  ) {
    const program = scenario.start(runtimes.binary, ["run", "plugin.ts", ...words]);
    t.equal(await program.ended, 2, words.join(" "));
    t.match(program.stderr, /it takes (?:a rate from 1\/h to 1000000\/s|a whole number of at least 1)/);
  }
});
