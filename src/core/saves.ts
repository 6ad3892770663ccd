import type { Session } from "./sessions.ts";
import type { SessionId } from "./types.ts";

/** States on their way to the disk at most: what an older one covers is covered by the ones behind it, too. */
const capturedMax = 8;

/** Which answers each state that is on its way to the disk covers. */
export class Saves {
  /** Grows with every change of what a state says. */
  version = 0;
  #savedVersion = -1;
  #captured: { version: number; answered: Map<SessionId, number> }[] = [];

  /** Whether something changed since the state that was saved last was captured. */
  get isDirty(): boolean {
    return this.version !== this.#savedVersion;
  }

  captured(sessions: Iterable<Session>): void {
    const answered = new Map<SessionId, number>();
    for (const session of sessions) {
      if (session.answered > session.covered) answered.set(session.id, session.answered);
    }
    this.#captured = this.#captured.filter(({ version }) => version !== this.version);
    this.#captured.push({ version: this.version, answered });
    if (this.#captured.length > capturedMax) this.#captured.shift();
  }

  /** The state of this version is durable: returns which answers that covers. */
  saved(version: number): ReadonlyMap<SessionId, number> {
    const state = this.#captured.find((captured) => captured.version === version);
    this.#captured = this.#captured.filter((captured) => captured.version > version);
    if (version > this.#savedVersion) this.#savedVersion = version;
    return state?.answered ?? new Map();
  }
}
