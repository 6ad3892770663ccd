/**
 * What was done to the processes, and when, on the wall clock: all that a checker needs besides what the processes
 * themselves left behind.
 */

/** For this long this slave, or its way to the master, was not as usual. `toMs` is Infinity while it lasts. */
export type Disturbance = {
  /** Of the supervisor. */
  pid: number;
  fromMs: number;
  toMs: number;
  /** Whether it explains that the master lost a session of it. */
  losesSessions: boolean;
};

/** The slave was told to leave, or every one was by its master, which ends (`pid` is "all"): sessions end, and cost no run. */
export type Drain = { pid: number | "all"; fromMs: number; toMs: number };

/** A process of a slave was killed: a worker, or the supervisor. */
export type Death = Readonly<{ pid: number; atMs: number }>;

/** A master was killed; `savedAtMs` is the time of the state that it left. */
export type MasterDeath = Readonly<{ atMs: number; savedAtMs: number }>;

export class Timeline {
  readonly disturbances: Disturbance[] = [];
  readonly workerDeaths: Death[] = [];
  readonly supervisorDeaths: Death[] = [];
  readonly masterDeaths: MasterDeath[] = [];
  readonly drains: Drain[] = [];
  /** What ended otherwise than it was meant to, and the like. */
  readonly problems: string[] = [];

  /** Something begins; the caller ends it by setting `toMs`. */
  disturb(pid: number, losesSessions: boolean): Disturbance {
    const disturbance = { pid, fromMs: Date.now(), toMs: Infinity, losesSessions };
    this.disturbances.push(disturbance);
    return disturbance;
  }

  /** An orderly end begins; the caller ends it by setting `toMs`. */
  drain(pid: number | "all"): Drain {
    const drain = { pid, fromMs: Date.now(), toMs: Infinity };
    this.drains.push(drain);
    return drain;
  }
}
