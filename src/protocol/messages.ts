import type { Ranges } from "../lib/ranges.ts";

/** The right of one slave to run one batch. Never reused: the number counts up within one master process. */
export type LeaseName = Readonly<{ masterId: string; number: number }>;

/** Jobs of one lease: those a slave holds or has finished, or those it may keep. */
export type LeaseJobs = Readonly<{ lease: LeaseName; jobs: Ranges }>;

/** One attempt that failed at a slave. */
export type Failure = Readonly<{
  seq: number;
  /** `fatal` buries the job at once. */
  how: "threw" | "timed out" | "fatal";
  message: string;
  stack: string;
  durationMs: number;
}>;

/**
 * What a slave says of jobs of one lease. All ranges are seqs; each job stands in at most one of them. One that stands
 * in several counts for the first: done, skipped, failed, crash, released.
 */
export type Answer = Readonly<{
  lease: LeaseName;
  done: Ranges;
  skipped: Ranges;
  failed: readonly Failure[];
  /**
   * Jobs that may have been running when a worker died, and how it died; a sole one is charged. All suspects of that
   * death are named, in the answer of each lease that has one of them.
   */
  crash: Readonly<{ suspects: Ranges; reason: string }> | null;
  /** Handed back untried; nothing is spent. */
  released: Ranges;
}>;

/** An error that came after its job was acked. `seq` is null where nobody knows whose it is. */
export type LateError = Readonly<{ seq: number | null; message: string }>;

/** What a slave says to its master. */
export type SlaveMessage =
  /**
   * First after WELCOME, and only then. Names all jobs held, or finished and not known to be saved. `untouched`: of those
   * under leases of other masters than this one, the jobs that did not begin; to a master that named this feature.
   */
  | Readonly<{
    kind: "ready";
    credit: number;
    held: readonly LeaseJobs[];
    untouched?: readonly LeaseJobs[] | undefined;
  }>
  /** The new total of jobs this slave may hold. */
  | Readonly<{ kind: "credit"; credit: number }>
  /**
   * Settles jobs of one lease, names suspects, hands back the released. `number` counts the answers of this
   * session from 1. `credit` is the new total.
   */
  | Answer & Readonly<{ kind: "answer"; number: number; credit: number }>
  /** Of these jobs, the failures that this slave reported last were its worker's doing, not the jobs'. */
  | Readonly<{ kind: "excused"; jobs: Ranges }>
  /** Errors that came after their job was acked, since the `late` before: `count` in all, some of them named. */
  | Readonly<{ kind: "late"; errors: readonly LateError[]; count: number }>
  /**
   * So many jobs had ended in a worker that died before it said how, and are run again here; to a master that named this
   * feature.
   */
  | Readonly<{ kind: "again"; count: number }>
  /** What this slave waits for, for people; empty once it waits no more. */
  | Readonly<{ kind: "notice"; text: string }>
  /** Takes nothing new from now on; closes when what runs has ended. */
  | Readonly<{ kind: "leaving" }>
  /** The last message before a close: why, for the other side's log. */
  | Readonly<{ kind: "bye"; reason: string }>
  /** Says nothing else: any byte proves the peer is alive. */
  | Readonly<{ kind: "beat" }>;

/** What a master says to a slave. */
export type MasterMessage =
  /** Answer to `ready`: of the jobs named there, those the slave keeps. It drops the rest and aborts them. */
  | Readonly<{ kind: "keep"; leases: readonly LeaseJobs[] }>
  /**
   * One batch: `count` jobs numbered from `seq`, encoded one behind the other in `jobs`. The lease is
   * `number` of this master's id. `attempt` counts from 1. `probe`: a test at low load, whose failures charge nobody.
   */
  | Readonly<{
    kind: "lease";
    number: number;
    seq: number;
    count: number;
    attempt: number;
    alone: "no" | "in worker" | "in slave";
    probe: boolean;
    jobs: Uint8Array;
  }>
  /** The answers of this session up to this number are in a durable state: the slave may forget them. */
  | Readonly<{ kind: "saved"; through: number }>
  /** Take nothing new, hand back the untried, finish what runs, close. */
  | Readonly<{ kind: "drain" }>
  /** The run is complete: leave, exit 0. */
  | Readonly<{ kind: "dismiss" }>
  /** The last message before a close: why, for the other side's log. */
  | Readonly<{ kind: "bye"; reason: string }>
  | Readonly<{ kind: "beat" }>;

/** WELCOME's body: what a slave must know of the run before it says `ready`. Times in milliseconds. */
export type Welcome = Readonly<{
  runId: string;
  masterId: string;
  key: string;
  epoch: number;
  plugin: Readonly<{ name: string; export: string; hash: Uint8Array }>;
  args: Readonly<Record<string, string>>;
  /** 0 if there is none. */
  timeoutMs: number;
  heartbeatMs: number;
  graceMs: number;
  features: readonly string[];
}>;

/** AUTH's info: who asks to join. */
export type Introduction = Readonly<{
  /** Of the slave's process, for as long as it lives. */
  slaveId: string;
  /** For people: host and pid. */
  name: string;
  version: string;
  procs: number;
  plugin: Readonly<{ name: string; export: string; hash: Uint8Array }> | null;
  runtime: string;
  features: readonly string[];
  /** Its plugin is meant, though it is not the master's: `--any-plugin`. */
  anyPlugin?: boolean;
}>;

/** What a slave's supervisor says to one of its workers. Same frames as on the network. */
export type SupervisorMessage =
  /**
   * First. The worker imports the plugin and says `loaded`, `unloadable` or `changed`; none of its functions is called
   * yet. An empty `exportName` is the default. `hash` is what the code of the plugin must be; empty for the first
   * worker, which says what it is.
   */
  | Readonly<{ kind: "load"; plugin: string; exportName: string; hash: Uint8Array }>
  /** Once a master was found. The worker calls the plugin's `setup`, then says `prepared` or `unloadable`. */
  | Readonly<{
    kind: "setup";
    args: Readonly<Record<string, string>>;
    runId: string;
    concurrency: number;
    timeoutMs: number;
  }>
  /** Run these jobs in order: `count` encoded jobs numbered from `seq`. Slices of a worker are numbered from 1. */
  | Readonly<{ kind: "slice"; slice: number; seq: number; count: number; attempt: number; jobs: Uint8Array }>
  /** Hand back what has not begun. */
  | Readonly<{ kind: "withdraw" }>
  /** Fire the signal of these jobs: their lease is lost, or the grace of a stop ended. */
  | Readonly<{ kind: "abort"; jobs: Ranges; why: "lost" | "stop" }>
  /**
   * Finish what runs, call `teardown`, wait at most `waitMs` for what goes on all the same, exit 0. Where it `isSick`, as
   * what `setup` opened may be broken, `teardown` may well fail.
   */
  | Readonly<{ kind: "quit"; waitMs: number; isSick: boolean }>;

/** What a worker says to its supervisor. */
export type WorkerMessage =
  /** First, once each has proved to the other that it is who it should be. */
  | Readonly<{ kind: "hello"; pid: number; runtime: string }>
  /** The plugin was imported and has a handler; `options` are its own. */
  | Readonly<{ kind: "loaded"; hash: Uint8Array; options: Readonly<Record<string, unknown>> }>
  /** `setup` ended: the worker takes slices. */
  | Readonly<{ kind: "prepared" }>
  /** The plugin's code is not what the other workers of this slave run; nothing of it was. The sentence says so. */
  | Readonly<{ kind: "changed"; message: string }>
  /** The plugin did not load, or its `setup` threw; the sentence says why. */
  | Readonly<{ kind: "unloadable"; message: string }>
  /**
   * How jobs of one slice ended. `busyMs`: how long, since the answer before, the worker had jobs to run; with
   * the number of jobs it gives the worker's speed.
   */
  | Readonly<{
    kind: "answer";
    slice: number;
    done: Ranges;
    skipped: Ranges;
    failed: readonly Failure[];
    released: Ranges;
    busyMs: number;
  }>
  /** These jobs passed the timeout and still run: the worker takes nothing until they end. Empty: it takes jobs again. */
  | Readonly<{ kind: "overdue"; jobs: Ranges }>
  /** Errors that came after their job was acked, since the `late` before: `count` in all, some of them named. */
  | Readonly<{ kind: "late"; errors: readonly LateError[]; count: number }>
  /** `teardown` ended: the worker only waits for what goes on all the same. */
  | Readonly<{ kind: "resting" }>
  /** All of that has ended, or is told to be cut off: the process ends next. */
  | Readonly<{ kind: "over" }>
  /** Something threw outside of any job; the worker is about to exit. */
  | Readonly<{ kind: "broken"; message: string }>
  | Readonly<{ kind: "beat" }>;
