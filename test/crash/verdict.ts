import { readdirSync } from "node:fs";
import type { RunState } from "../../src/core/types.ts";
import { readDeadLetters } from "../kit/dead_letters.ts";
import { nodeDisk, stateFiles } from "../../src/state/disk.ts";
import { type LoadedState, loadState, type ReadState, readStateFile } from "../../src/state/read_state.ts";
import type { Records } from "../kit/records.ts";

const filesOf = (folder: string) => stateFiles(folder, "probe");

/** Numbers of the jobs in these dead letters. */
export async function lettersIn(folder: string): Promise<Set<number>> {
  const { letters } = await readDeadLetters(filesOf(folder).dead);
  return new Set(letters.map(({ seq }) => seq));
}

/** Half-made state files. */
export function leftoversIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => /\.state\.tmp\./.test(name));
}

/**
 * What a start would load: checked by header, both hashes and the equation of the counters. A warning is a problem:
 * without a power cut the state itself must be good.
 */
export async function load(folder: string, problems: string[]): Promise<LoadedState | null> {
  const warn = (_level: string, message: string) => void problems.push(`a start would warn: ${message}`);
  return await loadState(nodeDisk, filesOf(folder), warn).catch((error: unknown) => {
    problems.push(`no state could be loaded: ${error}`);
    return null;
  });
}

/** What a state calls settled was handled, or is on record as a dead letter; and it says how many of each. */
export function checkTruth(
  state: RunState,
  records: Records,
  letters: ReadonlySet<number>,
  problems: string[],
): void {
  const open = new Set<number>();
  for (const { span } of state.stranded) for (let { seq } = span; seq < span.end; seq++) open.add(seq);
  let done = 0, dead = 0;
  for (let seq = 0; seq < state.handedOut; seq++) {
    if (open.has(seq)) continue;
    if (letters.has(seq)) dead += 1;
    else if (records.ended.has(seq)) done += 1;
    else problems.push(`the state forgot job ${seq}, which has neither ended nor a dead letter`);
  }
  if (done !== state.done || dead !== state.dead) {
    problems.push(`the state says ${state.done} done, ${state.dead} dead; it was ${done} and ${dead}`);
  }
}

/** Looks at the state file every few milliseconds, while a master replaces it: it is always whole, and never goes back. */
export class StateWatch {
  readonly #path: string;
  readonly #problems: string[];
  readonly #timer: ReturnType<typeof setInterval>;
  #isLooking = false;
  #latest: ReadState | null = null;
  count = 0;

  constructor(folder: string, problems: string[]) {
    this.#path = filesOf(folder).state;
    this.#problems = problems;
    this.#timer = setInterval(() => void this.#look(), 5);
  }

  /** Looks no more. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Compares what is loaded later: what was there once was durable against the end of any process. */
  checkNotOlder(loaded: ReadState): void {
    const latest = this.#latest;
    if (latest !== null && isBefore(loaded, latest)) {
      this.#problems.push(`the state went back: ${brief(latest)}, then ${brief(loaded)}`);
    }
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      const state = await readStateFile(nodeDisk, this.#path);
      if (state === null) this.#problems.push("there was an instant without a state");
      else this.#saw(state);
    } catch (error) {
      this.#problems.push(`the state was not whole for an instant: ${error}`);
    } finally {
      this.#isLooking = false;
    }
  }

  #saw(state: ReadState): void {
    if (this.#latest !== null && state.savedAtMs === this.#latest.savedAtMs) return;
    this.checkNotOlder(state);
    this.#latest = state;
    this.count += 1;
  }
}

function isBefore(a: ReadState, b: ReadState): boolean {
  return a.header.epoch < b.header.epoch || a.state.handedOut < b.state.handedOut ||
    settledIn(a.state) < settledIn(b.state);
}

function settledIn({ done, skipped, dead }: RunState): number {
  return done + skipped + dead;
}

function brief({ header, state }: ReadState): string {
  return `epoch ${header.epoch}, ${state.handedOut} handed out, ${settledIn(state)} settled`;
}
