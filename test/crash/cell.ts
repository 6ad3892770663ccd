import { join } from "node:path";
import type { Program } from "../kit/program.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { type Fault, isBehindRename, saveSteps, type Step } from "./steps.ts";
import { type Call, readCalls, trace, wasHit } from "./strace.ts";
import { checkTruth, leftoversIn, lettersIn, load, StateWatch } from "./verdict.ts";

/** What came of one fault at one system call. */
export type Row = Readonly<{
  step: Step;
  fault: Fault;
  /** How often the fault struck there. */
  hits: number;
  /** Exit code of the run that was struck, or the signal that ended it. */
  ended: number | string;
  /** What the next start loaded; null where the run went on. */
  loaded: "old" | "new" | null;
  lost: number;
  repeated: number;
  /** How many may be repeated. */
  bound: number;
  /** What was not as promised. */
  problems: readonly string[];
}>;

const jobs = 700;
/** Each of these throws, and becomes a dead letter at once. */
const bads = Array.from({ length: 9 }, (_, i) => 75 * i + 50);
const checkpointMs = 200;
const stateExit = 6;
/** How often a call is aimed at: which thread of two carries it out is chance, and strace counts for each. */
const triesMax = 25;

/** Strikes one call in a real run, starts the run again, lets it end, and judges what is left. */
export async function strike(step: Step, fault: Fault): Promise<Row> {
  const problems: string[] = [];
  for (let tries = 0; tries < triesMax; tries++) {
    const blow = new Blow(step, fault);
    try {
      const row = step.of === "start" ? await blow.atStart() : await blow.inMidRun();
      problems.push(...row.problems);
      if (row.hits > 0) return { ...row, problems };
    } finally {
      await blow.scenario.end();
    }
  }
  problems.push(`"${step.name}" was not struck in ${triesMax} runs`);
  return { step, fault, hits: 0, ended: "", loaded: null, lost: 0, repeated: 0, bound: 0, problems };
}

/** One run that is struck, and the one that goes on with it. */
class Blow {
  readonly scenario = new Scenario();
  readonly #step: Step;
  readonly #fault: Fault;
  readonly #bads: readonly number[];
  /** Exit code of a run that came to its end. */
  readonly #goodExit: number;
  readonly #problems: string[] = [];

  constructor(step: Step, fault: Fault) {
    this.#step = step;
    this.#fault = fault;
    this.#bads = step.isWithoutLetters ? [] : bads;
    this.#goodExit = step.isWithoutLetters ? 0 : 3;
  }

  async inMidRun(): Promise<Row> {
    const { scenario } = this;
    const master = scenario.master(this.#words());
    const port = await portOf(master);
    scenario.slave(port, ["--procs", "2"]);
    await until(
      () => scenario.records().ended.size > jobs / 5 || master.hasEnded,
      "a fifth of the jobs ended",
    );
    const watch = new StateWatch(scenario.folder, this.#problems);
    const mainIsSpared = this.#step.of === "last save";
    const tracer = trace(scenario, master.process.pid!, this.#tracePath, this.#straceWords(), mainIsSpared);
    await tracer.attached();
    const ended = await master.ended;
    const endedAtMs = Date.now();
    watch.stop();
    const calls = await tracer.calls();
    const hits = this.#hits(calls);
    // Bun keeps the error of a close to itself; what was written was synced before
    const isSilent = this.#step.call === "close";
    if (this.#fault !== "SIGKILL" && (this.#step.of !== "last save" || isSilent)) {
      return await this.#wentOn(master, ended, hits, isSilent);
    }
    if (ended !== (this.#fault === "SIGKILL" ? "SIGKILL" : stateExit)) {
      // Another thread, which had not come that far, carried the last try out.
      const isMissed = calls.some((call) => this.#step.line.test(call.text) && !wasHit(call));
      if (!isMissed && (hits > 0 || this.#fault !== "SIGKILL")) {
        this.#problem(`it ended with ${ended}\n${master.stderr}`);
      }
      return this.#row(0, ended, null, 0);
    }
    const loaded = await this.#judgeFiles(watch, hits > 0);
    const bound = this.#bound(endedAtMs);
    await this.#goOn(port);
    return this.#row(hits, ended, loaded, bound);
  }

  async atStart(): Promise<Row> {
    const { scenario } = this;
    const strace = ["strace", "-f", "-y", "-s", "16", "-o", this.#tracePath, ...this.#straceWords()];
    const master = scenario.master(this.#words(), [...strace, ...runtimes.binary]);
    const isUp = await portOf(master).then(() => true, () => false);
    if (isUp) return this.#row(0, "", null, 0);
    const ended = await master.ended;
    const hits = this.#hits(readCalls(this.#tracePath));
    if (ended !== (this.#fault === "SIGKILL" ? "SIGKILL" : stateExit)) {
      this.#problem(`it ended with ${ended}\n${master.stderr}`);
    }
    if (hits > 0 && scenario.records().yielded.size > 0) {
      this.#problem("jobs were asked for before the first save");
    }
    if (hits > 0) await this.#goOn(0);
    return this.#row(hits, ended, null, 0);
  }

  /** The run that was struck by an error goes to its end, with a warning; later saves succeed. */
  async #wentOn(
    master: Program,
    ended: number | string,
    hits: number,
    isSilent: boolean,
  ): Promise<Row> {
    if (ended !== this.#goodExit) this.#problem(`it ended with ${ended}\n${master.stderr}`);
    const what = this.#step.of === "save" ? "Cannot save the state" : "Cannot write dead letters";
    if (hits > 0 && !isSilent && !new RegExp(`${what}.*${this.#fault}`).test(master.stderr)) {
      this.#problem("it gave no warning");
    }
    await this.#judgeEnd();
    return this.#row(hits, ended, null, 0);
  }

  /** What is on disk right after the death. */
  async #judgeFiles(watch: StateWatch, isHit: boolean): Promise<Row["loaded"]> {
    const { folder } = this.scenario;
    const records = this.scenario.records();
    const loaded = await load(folder, this.#problems);
    if (loaded === null) return null;
    watch.checkNotOlder(loaded);
    checkTruth(loaded.state, records, await lettersIn(folder), this.#problems);
    if (isHit) this.#judgePlace();
    const isNew = isBehindRename(this.#step);
    return isNew ? "new" : "old";
  }

  /** Until it is renamed, a new state has a temporary name. */
  #judgePlace(): void {
    const { of, name } = this.#step;
    const isHalfMade = leftoversIn(this.scenario.folder).length > 0;
    if (of === "append" || name === saveSteps[0]!.name || this.#fault !== "SIGKILL") return;
    if (isBehindRename(this.#step) && isHalfMade) this.#problem("the new state was not in place");
    if (!isBehindRename(this.#step) && !isHalfMade) this.#problem("the new state was in place too early");
  }

  /** Starts the run again, unharmed, and judges its end. */
  async #goOn(port: number): Promise<void> {
    const master = this.scenario.master(this.#words(), runtimes.binary, port);
    const bound = await portOf(master);
    if (port === 0) this.scenario.slave(bound, ["--procs", "2"]);
    const ended = await master.ended;
    if (ended !== this.#goodExit) this.#problem(`the next start ended with ${ended}\n${master.stderr}`);
    await this.#judgeEnd();
  }

  async #judgeEnd(): Promise<void> {
    const { folder } = this.scenario;
    const letters = await lettersIn(folder);
    if (letters.size !== this.#bads.length || this.#bads.some((id) => !letters.has(id))) {
      this.#problem(`dead letters of ${[...letters]} instead of ${this.#bads}`);
    }
    if (leftoversIn(folder).length > 0) this.#problem(`left behind: ${leftoversIn(folder)}`);
    const loaded = await load(folder, this.#problems);
    if (loaded === null) return;
    const { complete, handedOut } = loaded.state;
    if (!complete || handedOut !== jobs) {
      this.#problem(`at the end ${handedOut} handed out, complete: ${complete}`);
    }
    checkTruth(loaded.state, this.scenario.records(), letters, this.#problems);
  }

  /** Begun since the last checkpoint (and the time of a save ago), or handed out and not begun then. */
  #bound(endedAtMs: number): number {
    if (this.#step.checkpoint !== undefined) return Infinity;
    return this.scenario.records().begunBetween(endedAtMs - checkpointMs - 500, endedAtMs) + 2 * (1 + 100);
  }

  #row(hits: number, ended: Row["ended"], loaded: Row["loaded"], bound: number): Row {
    const records = this.scenario.records();
    const lost = records.lost(jobs).filter((id) => !this.#bads.includes(id)).length;
    const { repeated } = records;
    if (hits > 0 && lost > 0) this.#problem(`${lost} jobs are lost`);
    if (hits > 0 && repeated > bound) this.#problem(`${repeated} jobs are repeated, of at most ${bound}`);
    const problems = this.#problems;
    return { step: this.#step, fault: this.#fault, hits, ended, loaded, lost, repeated, bound, problems };
  }

  get #tracePath(): string {
    return join(this.scenario.folder, "trace");
  }

  #words(): string[] {
    const { isForLarge, checkpoint = `${checkpointMs}ms` } = this.#step;
    const bad = `bad=${this.#bads.map((id) => `${id}:throw`)}`;
    const words = [`jobs=${jobs}`, "pause=1", bad, ...(isForLarge ? ["bytes=40000"] : [])];
    return [...words, "--attempts", "1", "--checkpoint", checkpoint];
  }

  #straceWords(): string[] {
    const { call, on, after = 0, of } = this.#step;
    const { folder } = this.scenario;
    const paths = { state: join(folder, "probe.state"), dead: join(folder, "probe.dead.ndjson"), folder };
    const what = this.#fault === "SIGKILL" ? "signal=SIGKILL" : `error=${this.#fault}`;
    // A last save is tried again: it fails for good only if each try does.
    const when = `${after + 1}${of === "last save" && this.#fault !== "SIGKILL" ? "+" : ""}`;
    return [
      ...(on === undefined ? [] : ["-P", paths[on]]),
      "-e",
      `trace=${call}`,
      "-e",
      `inject=${call}:${what}:when=${when}`,
    ];
  }

  /** How often the call at hand was struck. */
  #hits(calls: readonly Call[]): number {
    const { line, alike } = this.#step;
    const ours = calls.filter(({ text }) => line.test(text));
    return ours.filter((call, at) => wasHit(call) && (alike === undefined || at % 2 === alike)).length;
  }

  #problem(what: string): void {
    this.#problems.push(what);
  }
}
