import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { stateVersion } from "../../src/state/state_fields.ts";
import { decodeHeader, encodeHeader, headerBytes } from "../../src/state/state_format.ts";
import { openState, readState } from "../../src/state/store.ts";
import type { Program } from "../kit/program.ts";
import { root, runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { row, type Stage } from "./stage.ts";

// Table D of docs/reliability.md: what is done to the files between two starts, or during one.

t.jobs = 3;

const script = "20*ok,@gate:more,20*ok";

/** Plays the first half of the script, stops in order, and returns the files of the state. */
async function firstHalf(
  stage: Stage,
  words: readonly string[] = [],
): Promise<{ state: Buffer; prev: Buffer }> {
  const master = stage.scripted(script, ["--checkpoint", "50ms", ...words]);
  stage.hand(await portOf(master));
  await until(() => stage.entries("E").length === 20, "the first half");
  await stage.until("scripted", ({ done }) => done === 20);
  master.signal("SIGINT");
  if (await master.ended !== 130) throw new Error(master.stderr);
  stage.open("more");
  return { state: stage.read("scripted.state"), prev: stage.read("scripted.state.prev") };
}

const calls = (stage: Stage) => stage.entries("S").map(({ more }) => more);

/** Starts a master, and stops it once it called getJobs. */
async function startAndStop(stage: Stage, words: readonly string[] = []): Promise<Program> {
  const before = calls(stage).length;
  const master = stage.scripted(script, words);
  await until(() => calls(stage).length > before || master.hasEnded, "getJobs called");
  master.signal("SIGINT");
  await master.ended;
  return master;
}

const flip = (bytes: Buffer, at: number) => bytes.map((byte, index) => index === at ? byte ^ 4 : byte);

row("D1: a damaged or missing state: the one before it is taken, with a warning", async (t, stage) => {
  const { state, prev } = await firstHalf(stage);
  const damages: Record<string, Uint8Array | null> = {
    truncated: state.subarray(0, state.length - 1),
    "cut in its header": state.subarray(0, 40),
    empty: new Uint8Array(),
    garbage: Buffer.from("not a state at all\n".repeat(20)),
    "a bit of its header flipped": flip(state, 15),
    "a bit of its body flipped": flip(state, headerBytes + 30),
    gone: null,
  };
  for (const [what, bytes] of Object.entries(damages)) {
    writeFileSync(join(stage.folder, "scripted.state.prev"), prev);
    if (bytes === null) stage.unlink("scripted.state");
    else writeFileSync(join(stage.folder, "scripted.state"), bytes);
    const master = await startAndStop(stage);
    t.match(master.stderr, /Going on from the one before it/, what);
    t.match(master.stderr, /knows of \d+ jobs handed out, \d+ of them settled.*is done once more/, what);
    t.match(master.stderr, /Repeated: (?:none known|at least \d+) /, what);
    t.not(calls(stage).at(-1), "null", `${what}: not from zero`);
  }
  const last = stage.scripted(script);
  stage.hand(await portOf(last));
  t.equal(await last.ended, 0, last.stderr);
  t.same(stage.records().lost(40), []);
  t.match(last.ending(), { handedOut: 40, done: 40 });
});

row("D1: neither is good: exit 6, and nothing is touched", async (t, stage) => {
  const { state, prev } = await firstHalf(stage);
  const before = calls(stage).length;
  for (
    const [badState, badPrev] of [
      [state.subarray(0, 50), prev.subarray(0, 50)],
      [flip(state, 200), null],
      [new Uint8Array(), new Uint8Array()],
      [null, flip(prev, 20)],
    ]
  ) {
    for (const [name, bytes] of [["scripted.state", badState], ["scripted.state.prev", badPrev]] as const) {
      if (bytes == null) stage.unlink(name);
      else writeFileSync(join(stage.folder, name), bytes);
    }
    const master = stage.scripted(script);
    t.equal(await master.ended, 6, master.stderr);
    t.match(master.stderr, /Put a good copy in its place, or start over with --reset/);
    if (badState != null) t.ok(stage.read("scripted.state").equals(badState), "as it was");
  }
  t.equal(calls(stage).length, before, "getJobs was not called");
});

row("D1: after --reset there is no state before it, of whatever run", async (t, stage) => {
  const { prev } = await firstHalf(stage);
  const again = stage.scripted(script, ["--reset", "--force", "--checkpoint", "1h"]);
  await portOf(again);
  again.signal("SIGKILL");
  await again.ended;
  t.notOk(stage.has("scripted.state.prev"), "the earlier run's is gone");
  writeFileSync(join(stage.folder, "scripted.state"), "damaged");
  const damaged = stage.scripted(script);
  t.equal(await damaged.ended, 6, "never from zero");
  // Not even if somebody puts it back.
  stage.unlink("scripted.state");
  const fresh = stage.scripted(script, ["--reset", "--force"]);
  await portOf(fresh);
  fresh.signal("SIGKILL");
  await fresh.ended;
  writeFileSync(join(stage.folder, "scripted.state.prev"), prev);
  writeFileSync(join(stage.folder, "scripted.state"), flip(stage.read("scripted.state"), headerBytes + 5));
  const foreign = stage.scripted(script);
  t.equal(await foreign.ended, 6);
  t.match(foreign.stderr, /is of another run/);
});

row("D2: leftover temporary files go, others' stay", async (t, stage) => {
  await firstHalf(stage);
  const leftovers = ["scripted.state.tmp.0badf00d", "scripted.state.prev.tmp.0badf00d", "scripted.state.tmp"];
  const others = ["scripted2.state.tmp.0badf00d", "scripted.state.tmp.notours"];
  for (const name of [...leftovers, ...others]) stage.write(name, "half a state");
  const master = stage.scripted(script);
  stage.hand(await portOf(master));
  t.equal(await master.ended, 0, master.stderr);
  t.same(leftovers.filter((name) => stage.has(name)), []);
  t.same(others.filter((name) => stage.has(name)), others);
  t.match(master.ending(), { handedOut: 40, done: 40, repeated: 0 });
});

row("D3: a state of a newer version: exit 6", async (t, stage) => {
  const { state } = await firstHalf(stage);
  const newer = { ...decodeHeader(state)!, version: stateVersion + 1 };
  const bytes = Buffer.concat([encodeHeader(newer), state.subarray(headerBytes)]);
  writeFileSync(join(stage.folder, "scripted.state"), bytes);
  const master = stage.scripted(script);
  t.equal(await master.ended, 6);
  t.match(master.stderr, /written by a newer taskmaster/);
  t.ok(stage.read("scripted.state").equals(bytes));
});

row("D3: a state that version 1 wrote, of a master that was killed, is resumed", async (t, stage) => {
  copyFileSync(join(root, "test", "state", "version1", "killed.state"), join(stage.folder, "posts.state"));
  const plugin = stage.write(
    "posts.ts",
    `
      import { appendFileSync } from "node:fs";
      import { join } from "node:path";
      export function* getJobs(last) { for (let id = last + 1; id <= 14; id++) yield { id }; }
      export const cursor = ({ id }) => id;
      export function handleJob({ id }) { appendFileSync(join(import.meta.dirname, "handled"), id + " "); }
    `,
  );
  const words = ["slow=1", "--state-dir", stage.folder, "--host", "127.0.0.1:0", "--procs", "1", "--json"];
  const resumed = stage.start(runtimes.binary, ["run", plugin, ...words]);
  t.equal(await resumed.ended, 3, resumed.stderr);
  const handled = stage.read("handled").toString().trim().split(" ").map(Number);
  t.same(handled.sort((a, b) => a - b), [4, 7, 8, 9, 10, 11, 12, 13, 14], "stranded, and what came after");
  t.match(resumed.ending(), { handedOut: 14, done: 12, skipped: 1, dead: 1, repeatedAtLeast: true });
  t.match(await stage.state("posts"), { version: 2, final: true, handedOut: 14, settings: {} });
});

row(
  "what an operator set outlives masters that stop and that are killed, until --reset",
  async (t, stage) => {
    await firstHalf(stage);
    const { identity, state } = await readState(join(stage.folder, "scripted.state"));
    const dir = stage.folder;
    const settings = { rate: 12.5, paused: false, "of-a-later-version": "x" };
    const store = await openState({
      ...{ dir, key: "scripted", identity, newRunId: () => "", reset: false, force: false, log: () => {} },
    });
    await store.save({ ...state, settings: new Map(Object.entries(settings)) });
    await store.close();
    const killed = stage.scripted(script);
    await killed.printed(/"event":"started"/);
    await stage.until("scripted", ({ epoch }) => epoch === 3);
    killed.signal("SIGKILL");
    await killed.ended;
    t.match(await stage.state(), { settings, final: false });
    const master = await startAndStop(stage);
    t.match(master.stderr, /Repeated: none known /);
    t.match(await stage.state(), { settings, final: true, repeatedAtLeast: true, epoch: 4 });
    const shown = stage.start(runtimes.binary, ["state", "scripted", "--state-dir", dir]);
    await shown.ended;
    t.match(shown.stdout, 'Settings: of-a-later-version="x", paused=false, rate=12.5');
    t.match(shown.stdout, /Repeated: none known /);
    await startAndStop(stage, ["--reset", "--force"]);
    t.match(await stage.state(), { settings: {}, repeatedAtLeast: false });
  },
);

row(
  "D4: another plugin's state, or of other arguments: exit 6 showing both, unless --force",
  async (t, stage) => {
    await firstHalf(stage);
    const other = stage.scripted("41*ok");
    t.equal(await other.ended, 6);
    t.match(other.stderr, `script="${script}"`);
    t.match(other.stderr, 'script="41*ok"');
    t.match(other.stderr, /--key|--reset|--force/);
    const plugin = stage.write(
      "other.mts",
      "export const getJobs = () => []; export const handleJob = () => {};",
    );
    const foreign = stage.masterOf(plugin, ["--key", "scripted"]);
    t.equal(await foreign.ended, 6);
    t.match(foreign.stderr, '"scripted.ts:default"');
    t.match(foreign.stderr, '"other.mts:default"');
    const forced = stage.scripted("41*ok", ["--force"]);
    stage.hand(await portOf(forced));
    t.equal(await forced.ended, 0, forced.stderr);
    t.match(forced.stderr, /by force/);
    t.match(forced.ending(), { handedOut: 41, done: 41, repeated: 0 }, "it went on");
  },
);

row("D4: a plugin whose text changed resumes, with a warning", async (t, stage) => {
  const text = (mark: string) => `
    import { existsSync } from "node:fs";
    export async function* getJobs(last, ctx) {
      for (let id = (last ?? -1) + 1; id < 10; id++) {
        while (id === 5 && !existsSync(ctx.args.dir + "/open.more")) await new Promise((go) => setTimeout(go, 10));
        yield id;
      }
    }
    export function handleJob(id) {} // ${mark}
  `;
  const plugin = stage.write("edited.mts", text("first"));
  const first = stage.masterOf(plugin, ["--checkpoint", "50ms"]);
  stage.hand(await portOf(first), [], plugin);
  await stage.until("edited", ({ done }) => done === 5);
  first.signal("SIGINT");
  t.equal(await first.ended, 130);
  stage.write("edited.mts", text("second"));
  stage.open("more");
  const second = stage.masterOf(plugin);
  stage.hand(await portOf(second), [], plugin);
  t.equal(await second.ended, 0, second.stderr);
  t.match(second.stderr, /has changed since the state was saved; resuming with the new one/);
  t.match(second.ending(), { handedOut: 10, done: 10 });
});

row(
  "D5: a symbolic link in the place of a file: refused, and what it leads to is not touched",
  async (t, stage) => {
    await firstHalf(stage);
    const folder = join(stage.folder, "linked");
    mkdirSync(folder);
    for (
      const name of ["scripted.state", "scripted.state.tmp.0badf00d", "scripted.dead.ndjson", "scripted.lock"]
    ) {
      const target = stage.write("target", "precious");
      for (const old of readdirSync(folder)) stage.unlink(join("linked", old));
      if (name !== "scripted.state") {
        copyFileSync(
          join(stage.folder, "scripted.state"),
          join(folder, "scripted.state"),
        );
      }
      symlinkSync(target, join(folder, name));
      const master = stage.scripted(script, ["--state-dir", folder]);
      t.equal(await master.ended, 6, `${name}: ${master.stderr}`);
      t.match(master.stderr, /symbolic link/, name);
      t.equal(readFileSync(target, "utf8"), "precious", name);
    }
  },
);

row("D6: a finished run stays finished: only jobs that appeared since are handed out", async (t, stage) => {
  const plugin = stage.write(
    "growing.mts",
    `
    import { appendFileSync, readFileSync } from "node:fs";
    export function* getJobs(last, ctx) {
      const jobs = Number(readFileSync(ctx.args.dir + "/jobs", "utf8"));
      for (let id = ctx.args.ignores ? 0 : (last ?? -1) + 1; id < jobs; id++) yield id;
    }
    export function handleJob(id, ctx) { appendFileSync(ctx.args.dir + "/done", id + "\\n"); }
  `,
  );
  const done = () =>
    readFileSync(join(stage.folder, "done"), "utf8").trim().split("\n").map(Number).sort((a, b) => a - b);
  const play = async (words: readonly string[] = []) => {
    const run = stage.start([join(stage.plugin, "../../../dist/taskmaster")], [
      "run",
      plugin,
      `dir=${stage.folder}`,
      "--host",
      "127.0.0.1:0",
      "--procs",
      "1",
      "--json",
      ...words,
    ]);
    t.equal(await run.ended, 0, run.stderr);
    return run;
  };
  stage.write("jobs", "5");
  await play();
  const again = await play();
  t.match(again.stderr, /This run was finished: 5 jobs settled/);
  t.match(again.ending(), { handedOut: 5, done: 5 });
  stage.write("jobs", "8");
  t.match((await play()).ending(), { handedOut: 8, done: 8, repeated: 0 });
  t.same(done(), [0, 1, 2, 3, 4, 5, 6, 7]);

  stage.write("jobs", "5");
  const words = ["ignores=yes", "--key", "ignoring"];
  await play(words);
  const beforeAgain = done().length;
  const ignoring = await play(words);
  t.match(ignoring.stderr, /Nothing was handed out: getJobs began at its first job again/, "it says why");
  t.equal(done().length, beforeAgain, "and hands out nothing");
  t.match(ignoring.ending(), { handedOut: 5, done: 5 });
});

row("D7: deleted or replaced while running: the next save makes it anew", async (t, stage) => {
  const steps = ["deleted", "garbage", "older", "all gone"];
  const master = stage.scripted(steps.map((step) => `5*ok,@gate:${step}`).join(), ["--checkpoint", "50ms"]);
  stage.hand(await portOf(master));
  await stage.until("scripted", ({ done }) => done === 5);
  const older = stage.read("scripted.state");
  for (const [at, step] of steps.entries()) {
    await stage.until("scripted", ({ done }) => done === 5 * (at + 1));
    if (step === "deleted") stage.unlink("scripted.state");
    if (step === "garbage") stage.write("scripted.state", "not ours");
    if (step === "older") writeFileSync(join(stage.folder, "scripted.state"), older);
    if (step === "all gone") ["scripted.state", "scripted.state.prev"].forEach((name) => stage.unlink(name));
    stage.open(step);
    if (at < 3) await until(() => stage.entries("E").length === 5 * (at + 2), "five more");
  }
  t.equal(await master.ended, 0, master.stderr);
  t.match(master.stderr, /was deleted or damaged meanwhile; writing it anew/);
  t.match(master.stderr, /was replaced by an older one meanwhile; writing it anew/);
  t.match(await stage.state(), { handedOut: 20, done: 20, complete: true });
});

row(
  "D7: replaced by a state of another run: this master ends with 6 and leaves it alone",
  async (t, stage) => {
    await firstHalf(stage);
    mkdirSync(join(stage.folder, "other"));
    const master = stage.scripted(`${script},@gate:end,ok`, [
      "--state-dir",
      join(stage.folder, "other"),
      "--checkpoint",
      "50ms",
    ]);
    stage.hand(await portOf(master));
    const path = join(stage.folder, "other", "scripted.state");
    // and has saved all there is to save: else the replacement may come amid a save, which looks before it replaces
    await stage.until("other/scripted", ({ done }) => done === 40);
    copyFileSync(join(stage.folder, "scripted.state"), path);
    stage.open("end");
    t.equal(await master.ended, 6, master.stderr);
    t.match(master.stderr, /it is of another run now/);
    t.ok(readFileSync(path).equals(stage.read("scripted.state")), "it left it alone");
  },
);
