import { badness } from "./probe.ts";
import type { SessionEvent } from "./events.ts";
import { afterMs, Exposure, isLoss } from "./exposure.ts";
import type { SavedState } from "./fleet.ts";
import { type JobRun, scanRecords } from "./record_scan.ts";
import type { Death, Timeline } from "./timeline.ts";

/** All that a run left behind. */
export type Evidence = Readonly<{
  /** Where the records are. */
  folder: string;
  /** Ids are 0 .. jobs - 1. */
  jobs: number;
  /** Arguments of the plugin. */
  args: Readonly<Record<string, string>>;
  timeline: Timeline;
  events: readonly SessionEvent[];
  /** Every state that was read, oldest first; the last one is that of the complete run. */
  states: readonly SavedState[];
  /** Ids of the jobs that the file of dead letters holds. */
  letters: readonly number[];
}>;

export type Verdict = Readonly<{
  lost: number;
  repeated: number;
  /** Most repeated runs that the faults explain. */
  bound: number;
  /** Sentences, lost and repeated jobs among them; none if all is well. */
  problems: readonly string[];
}>;

/** Attempts at a job that fails or crashes each time. */
const attemptsMax = 3;
/** Longest that a bad job may go on after it began to misbehave: until its worker is replaced, or its process gone. */
const misbehavesMs: Readonly<Record<string, number>> = { throw: 0, exit: 1_000, kill: 1_000, loop: 8_000 };
/** A worker whose supervisor was killed is gone by then (2 s), also on a loaded machine. */
const orphanMs = 4_000;
/** Most problems of one sort that are listed. */
const listedMax = 5;

/** Judges a run by what its processes left: nothing lost, nothing repeated without a reason, nothing invented. */
export function judge(evidence: Evidence): Verdict {
  const tally = new Tally(evidence);
  const crashes: Death[] = [];
  scanRecords(evidence.folder, {
    onYielded: (id, again) => tally.yielded(id, again),
    onRun: ({ id, pid, toMs, how }) => {
      const what = badness(id, evidence.args);
      if (how === "misbehaved" && what !== "throw") crashes.push({ pid, atMs: toMs });
    },
    onProblem: (problem) => tally.complain("records", problem),
  });
  const exposure = new Exposure(evidence.timeline, evidence.events, crashes);
  scanRecords(evidence.folder, {
    onYielded: () => {},
    onRun: (run) => tally.ran(run, exposure),
    onProblem: () => {},
  });
  return tally.verdict();
}

/** Counts a byte an id: runs of ten million jobs are judged too. */
class Tally {
  readonly #evidence: Evidence;
  readonly #yielded: Uint8Array;
  readonly #again: Uint8Array;
  readonly #begun: Uint8Array;
  readonly #handled: Uint8Array;
  readonly #exposed: Uint8Array;
  /** Runs whose worker was killed under them: three of them bury an innocent job. */
  readonly #killed = new Map<number, number>();
  readonly #diedMs: ReadonlyMap<number, number>;
  /** Sentences by sort. */
  readonly #problems = new Map<string, string[]>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
    const { jobs } = evidence;
    [this.#yielded, this.#again, this.#begun, this.#handled, this.#exposed] = [
      new Uint8Array(jobs),
      new Uint8Array(jobs),
      new Uint8Array(jobs),
      new Uint8Array(jobs),
      new Uint8Array(jobs),
    ];
    this.#diedMs = new Map(evidence.timeline.supervisorDeaths.map(({ pid, atMs }) => [pid, atMs]));
  }

  complain(sort: string, problem: string): void {
    const list = this.#problems.get(sort);
    if (list === undefined) this.#problems.set(sort, [problem]);
    else list.push(problem);
  }

  yielded(id: number, again: boolean): void {
    if (id >= this.#evidence.jobs) return this.complain("plan", `job ${id} was yielded, beyond the last one`);
    (again ? this.#again : this.#yielded)[id]!++;
  }

  ran(run: JobRun, exposure: Exposure): void {
    const { id, how } = run;
    if (!(this.#yielded[id]! > 0)) {
      return this.complain("invented", `job ${id} ran in worker ${run.pid}: it was never yielded`);
    }
    this.#begun[id]!++;
    if (how === "ended" || how === "skipped") this.#handled[id]!++;
    const what = badness(id, this.#evidence.args);
    const isExposed = how === "misbehaved"
      ? exposure.isLost({ ...run, toMs: run.toMs + misbehavesMs[what!]! })
      : exposure.isExposed(run);
    if (isExposed) this.#exposed[id]!++;
    if (how === "cut off" && exposure.isKilled(run)) this.#killed.set(id, (this.#killed.get(id) ?? 0) + 1);
    const diedMs = this.#diedMs.get(run.supervisor) ?? Infinity;
    if (run.fromMs > diedMs + orphanMs) {
      this.complain(
        "orphan",
        `worker ${run.pid} began job ${id} ${run.fromMs - diedMs} ms after its supervisor died`,
      );
    }
  }

  verdict(): Verdict {
    const { jobs, args, timeline } = this.#evidence;
    let lost = 0, repeated = 0, bound = 0, dead = 0, skipped = 0;
    const letters = new Set(this.#evidence.letters);
    for (let id = 0; id < jobs; id++) {
      const what = badness(id, args);
      const isBad = what !== undefined && what !== "skip";
      const runsMax = isBad ? attemptsMax : 1;
      const explained = this.#exposed[id]! + this.#again[id]!;
      const more = Math.max(0, this.#begun[id]! - runsMax);
      if (isBad) dead++;
      if (what === "skip") skipped++;
      repeated += more;
      bound += explained;
      if (more > explained) this.complain("repeated", this.#repeatedSentence(id, more, explained));
      if (letters.has(id) && !isBad) {
        if ((this.#killed.get(id) ?? 0) >= attemptsMax) dead++;
        else this.complain("dead", `job ${id} is a dead letter, and was not told to be bad`);
      }
      if (isBad && !letters.has(id)) this.complain("dead", `bad job ${id} (${what}) is no dead letter`);
      if (isBad || this.#handled[id]! > 0 || letters.has(id)) continue;
      lost++;
      this.complain("lost", `job ${id} was never handled`);
    }
    this.#judgeSessions();
    this.#judgeStates(dead, skipped);
    const problems = [...this.#problems].flatMap(([sort, list]) =>
      list.length <= listedMax ? list : [...list.slice(0, listedMax), `... ${list.length} in all (${sort})`]
    );
    return { lost, repeated, bound, problems: [...timeline.problems, ...problems] };
  }

  #repeatedSentence(id: number, more: number, explained: number): string {
    const sentence = `job ${id} ran ${more} times more than it should, of which faults explain ${explained}`;
    if ((this.#problems.get("repeated")?.length ?? 0) >= listedMax) return sentence;
    const runs: string[] = [];
    scanRecords(this.#evidence.folder, {
      onYielded: () => {},
      onRun: (run) => {
        if (run.id === id && runs.length < 10) {
          runs.push(`${run.pid} of ${run.supervisor}: ${run.fromMs} to ${run.toMs}`);
        }
      },
      onProblem: () => {},
    });
    return `${sentence} (${runs.join("; ")})`;
  }

  /** No slave is given up that was well. */
  #judgeSessions(): void {
    const { events, timeline } = this.#evidence;
    for (const event of events.filter((event) => isLoss(event, timeline))) {
      const isExplained = timeline.disturbances.some(({ pid, fromMs, toMs, losesSessions }) =>
        pid === event.pid && losesSessions && event.atMs >= fromMs && event.atMs <= toMs + afterMs
      );
      // strangers and storms have no pid of a slave
      if (!isExplained && event.pid > 0) {
        const time = new Date(event.atMs).toISOString().slice(11, -1);
        this.complain(
          "session",
          `slave ${event.pid} was given up at ${time}, though it was well: ${event.reason}`,
        );
      }
    }
  }

  #judgeStates(dead: number, skipped: number): void {
    const { states, jobs } = this.#evidence;
    const again = this.#again.reduce((sum, count) => sum + count, 0);
    let before: SavedState | undefined;
    for (const state of states) {
      const settled = settledOf(state);
      if (state.handedOut !== settled + state.strandedCount) {
        this.complain("state", `a state does not add up: ${counters(state)}`);
      }
      if (before !== undefined && (state.epoch < before.epoch || settled < settledOf(before))) {
        this.complain("state", `a state went back: ${counters(before)}, then ${counters(state)}`);
      }
      before = state;
    }
    if (before === undefined || !before.complete) {
      return this.complain("state", "the last state is not complete");
    }
    const isMore = before.handedOut >= jobs && before.handedOut <= jobs + again;
    if (!isMore || before.strandedCount !== 0 || before.dead !== dead || before.skipped < skipped) {
      this.complain(
        "state",
        `${jobs} jobs, ${dead} of them bad, ${skipped} to be skipped; but ${counters(before)}`,
      );
    }
  }
}

function settledOf({ done, skipped, dead }: SavedState): number {
  return done + skipped + dead;
}

function counters({ epoch, handedOut, done, skipped, dead, strandedCount }: SavedState): string {
  return `epoch ${epoch}: ${handedOut} = ${done} done + ${skipped} skipped + ${dead} dead + ${strandedCount} stranded`;
}
