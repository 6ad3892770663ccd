import type { ReceivedLease } from "../core/held_lease.ts";
import type { Holdings } from "../core/holdings.ts";
import type { LostJobs } from "./lost_jobs.ts";

/** Takes leases in; those with a job that still runs here, lost in an earlier session, wait until it ended. */
export class Inbox {
  readonly #holdings: Holdings;
  readonly #lost: LostJobs;
  #waiting: ReceivedLease[] = [];

  constructor(holdings: Holdings, lost: LostJobs) {
    this.#holdings = holdings;
    this.#lost = lost;
  }

  receive(lease: ReceivedLease): void {
    if (this.#lost.holdUp(lease.seq, lease.count)) this.#waiting.push(lease);
    else this.#holdings.receive(lease);
  }

  /** Lost jobs ended: lets in what waited for them. Returns whether there was any. */
  retry(): boolean {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const lease of waiting) this.receive(lease);
    return this.#waiting.length < waiting.length;
  }

  /** The slave drains: lets all in, to be handed back. */
  yield(): void {
    for (const lease of this.#waiting) this.#holdings.receive(lease);
    this.#waiting = [];
  }

  /** A new session: what was not let in is not named to the master, which leases it anew. */
  clear(): void {
    this.#waiting = [];
  }
}
