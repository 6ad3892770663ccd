/** How long handlers have to end after their signals fired. */
const abortedMs = 1_000;

/** How far a slave is with its jobs. */
type Progress = Readonly<{
  /** No worker runs a job. */
  isIdle: boolean;
  /** Every job was answered or handed back, as far as the master took it. */
  isSaid: boolean;
}>;

/**
 * How a slave stops.
 *
 *     NOT --- begin ---> FINISHING --- grace over ---> ABORTED --- 1 s ---> KILLED
 *      ^                    '--- nothing runs, all said ---'-------------------'---> DONE
 *      '--- end: the master that asked is gone, and there is another
 *
 * After the grace, a slave that a signal told to stop does not wait until a master takes the remaining answers.
 */
export class Stopping {
  #why: "signal" | "master" | null = null;
  #stage: "finishing" | "aborted" | "killed" | "done" = "finishing";
  #untilMs = Infinity;
  #graceEndsMs = Infinity;

  /** Null if the slave does not stop. */
  get why(): "signal" | "master" | null {
    return this.#why;
  }

  /** A signal outweighs a master; the grace that ends first holds. */
  begin(why: "signal" | "master", graceMs: number, nowMs: number): void {
    const isFirst = this.#why === null;
    this.#why = why;
    this.#untilMs = Math.min(this.#untilMs, nowMs + graceMs);
    this.#graceEndsMs = Math.min(this.#graceEndsMs, nowMs + graceMs);
    if (isFirst || this.#stage === "done") this.#stage = "finishing";
  }

  /** The slave works on, with its next master. */
  end(): void {
    this.#why = null;
    this.#untilMs = Infinity;
    this.#graceEndsMs = Infinity;
  }

  /** What is left of the grace; null if the slave does not stop. */
  graceLeftMs(nowMs: number): number | null {
    return this.#why === null ? null : Math.max(0, this.#graceEndsMs - nowMs);
  }

  /**
   * What the slave must do now, each once: `abort` fires the signals of running jobs, `kill` ends their workers by
   * force, `leave` means that nothing is left to wait for. Null: wait.
   */
  tick(nowMs: number, { isIdle, isSaid }: Progress): "abort" | "kill" | "leave" | null {
    if (this.#why === null || this.#stage === "done") return null;
    const isPatient = this.#why === "master" || (this.#stage === "finishing" && nowMs < this.#untilMs);
    if (isIdle && (!isPatient || isSaid)) {
      this.#stage = "done";
      return "leave";
    }
    if (nowMs < this.#untilMs) return null;
    if (this.#stage === "finishing") {
      this.#stage = "aborted";
      this.#untilMs = nowMs + abortedMs;
      return "abort";
    }
    if (this.#stage === "killed") return null;
    this.#stage = "killed";
    this.#untilMs = Infinity;
    return "kill";
  }
}
