import type { Block, Unsendable } from "../../src/lib/bytes.ts";
import type { Plan } from "./plan.ts";
import { encodeJobs, encodeRow, idOfCursor } from "./wire.ts";
import type { Process } from "./world.ts";

export interface SourceHooks {
  demand(): { jobs: number; bytes: number };
  onBlock(block: Block, moreAtHand: boolean): void;
  onRow(row: Unsendable): void;
  /** Whether the row with this id cannot be sent. */
  isUnsendable(id: number): boolean;
  onEnd(): void;
  onError(message: string): void;
}

/** The message of what it throws. */
export const brokenSource = "the source broke";

/** `getJobs` of the simulation: yields the ids from 0 on in small blocks, sometimes late, and sometimes throws. */
export class SimSource {
  readonly #plan: Plan;
  readonly #process: Process;
  readonly #hooks: SourceHooks;
  #next = 0;
  /** Counts openings: results of an earlier opening are ignored. */
  #opening = 0;
  #isOpen = false;
  #isPulled = false;

  constructor(plan: Plan, process: Process, hooks: SourceHooks) {
    this.#plan = plan;
    this.#process = process;
    this.#hooks = hooks;
  }

  open(last: Uint8Array | undefined): void {
    this.#next = last === undefined ? 0 : idOfCursor(last) + (this.#plan.isInclusive ? 0 : 1);
    this.#opening++;
    this.#isOpen = true;
    this.#isPulled = false;
  }

  close(): void {
    this.#isOpen = false;
  }

  /** Call when demand may have grown. */
  pull(): void {
    if (!this.#isOpen || this.#isPulled) return;
    const { jobs, bytes } = this.#hooks.demand();
    if (jobs === 0 || bytes === 0) return;
    this.#isPulled = true;
    const opening = this.#opening;
    const { random } = this.#process.world;
    this.#process.after(random.int(0, this.#plan.sourcePauseMs), () => {
      if (opening === this.#opening && this.#isOpen) this.#yield();
    });
  }

  #yield(): void {
    this.#isPulled = false;
    const { random } = this.#process.world;
    const { nowMs } = this.#process.world;
    if (nowMs < this.#plan.faultsEndMs && random.perMille(this.#plan.faults.sourceThrows)) {
      this.#isOpen = false;
      return this.#hooks.onError(brokenSource);
    }
    if (this.#next >= this.#plan.jobs) {
      this.#isOpen = false;
      return this.#hooks.onEnd();
    }
    const most = Math.min(
      this.#hooks.demand().jobs,
      random.int(1, this.#plan.blockMax),
      this.#plan.jobs - this.#next,
    );
    if (most <= 0) return;
    const ids = Array.from({ length: most }, (_, i) => this.#next + i);
    this.#next += most;
    this.#give(ids, this.#next < this.#plan.jobs);
  }

  /** Yields in order; jobs after an unsendable row form a new block. */
  #give(ids: readonly number[], moreAtHand: boolean): void {
    const at = this.#plan.hasCursors ? ids.findIndex((id) => this.#hooks.isUnsendable(id)) : -1;
    const jobs = at < 0 ? ids : ids.slice(0, at);
    const opening = this.#opening;
    if (jobs.length > 0) this.#hooks.onBlock(encodeJobs(jobs, this.#plan.hasCursors), moreAtHand || at >= 0);
    if (at < 0 || opening !== this.#opening || !this.#isOpen) return;
    this.#hooks.onRow(encodeRow(ids[at]!));
    if (at + 1 < ids.length && opening === this.#opening && this.#isOpen) {
      this.#give(ids.slice(at + 1), moreAtHand);
    }
  }
}
