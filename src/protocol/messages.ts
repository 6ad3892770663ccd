import type { Ranges } from "../base/ranges.ts";

// The same words as the core's, spelled out here: the wire is a contract of its own.

/** The right of one slave to run one batch. */
export type LeaseName = Readonly<{ masterId: string; number: number }>;

/** Jobs of one lease. */
export type LeaseJobs = Readonly<{ lease: LeaseName; jobs: Ranges }>;

/** One attempt that failed. */
export type Failure = Readonly<{
  seq: number;
  how: "threw" | "timed out" | "fatal";
  message: string;
  stack: string;
  durationMs: number;
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
  | Readonly<{
    kind: "answer";
    number: number;
    lease: LeaseName;
    credit: number;
    done: Ranges;
    skipped: Ranges;
    failed: readonly Failure[];
    crash: Readonly<{ suspects: Ranges; reason: string }> | null;
    released: Ranges;
  }>
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
