import type { Block, JobSpan, Unsendable } from "../lib/bytes.ts";
import type { Ranges } from "../lib/ranges.ts";
import type { Answer, LeaseJobs, LeaseName } from "../protocol/messages.ts";

/** Number of one session (a connection from welcome to close) in this master process, from 1. */
export type SessionId = number;

/** One failed attempt, as the dead letter shows it. */
export type Attempt = Readonly<{
  how: "threw" | "timed out" | "crashed" | "fatal";
  /** At most 1,000 characters. */
  message: string;
  /** At most 50 lines; empty if there is none. */
  stack: string;
  slave: string;
  durationMs: number;
  /** Wall-clock time in ISO 8601, UTC; for display only. */
  at: string;
}>;

/** What happened to a job so far. Jobs of one span share it. */
export type History = Readonly<{
  /** Attempts that threw or timed out. */
  failures: number;
  /** Crashes of its process that are charged to the job. */
  crashes: number;
  /**
   * Crashes of its process while other jobs were suspects too. Once the job crashes alone, those not charged to another
   * job are charged to it.
   */
  crashesInCompany: number;
  /** Sessions that were lost while the job was in flight. */
  lostSessions: number;
  /** The latest failed attempts; older ones are dropped to stay within 8 KiB of text. */
  attempts: readonly Attempt[];
}>;

/** Jobs handed out and not settled, as the state file keeps them. */
export type Stranded = Readonly<{
  span: JobSpan;
  history: History;
  /** The jobs' last lease and the id of the slave that held it; null if no lease is remembered. */
  lease: Readonly<{ name: LeaseName; slaveId: string }> | null;
}>;

/**
 * What an operator set during the run, by name. Kept over restarts unchanged, names unknown to this version included.
 */
export type OperatorSettings = ReadonlyMap<string, boolean | number | string | null>;

/** What an operator can set in this version. `paused`: nothing is leased. */
export type SettingName = "paused";

/** Counts over all starts of a run: saved in its state, passed to `onFinish`, and shown. */
export type RunCounts = Readonly<{
  /** Jobs handed out at least once: `done + skipped + dead + (jobs stranded)`, always. */
  handedOut: number;
  /** Of `handedOut`: jobs that had been handed out before and were yielded again by a source that started over. */
  handedOutAgain: number;
  done: number;
  skipped: number;
  /** Dead letters. */
  dead: number;
  /** Jobs run again though they had not failed: leased again after a loss, or suspects of a worker crash. */
  repeated: number;
  /**
   * More jobs than `repeated` may have run again: a master died without a last save, and what it did after its last one
   * is unknown.
   */
  repeatedAtLeast: boolean;
}>;

/** The counts of a run that has not begun. */
export const noCounts: RunCounts = {
  handedOut: 0,
  handedOutAgain: 0,
  done: 0,
  skipped: 0,
  dead: 0,
  repeated: 0,
  repeatedAtLeast: false,
};

/** The counts of a state or status, without its other fields. */
export function countsOf(from: RunCounts): RunCounts {
  const names = Object.keys(noCounts) as (keyof RunCounts)[];
  return { ...noCounts, ...Object.fromEntries(names.map((name) => [name, from[name]])) };
}

/** Jobs that are done, skipped or dead. */
export function settledOf({ done, skipped, dead }: Pick<RunCounts, "done" | "skipped" | "dead">): number {
  return done + skipped + dead;
}

/**
 * All that a resume needs. The state file itself adds the run's identity (run id, plugin, arguments) and the epoch.
 */
export type RunState =
  & RunCounts
  & Readonly<{
    /** Jobs handed out before the source started over that it has not yielded again yet. */
    againToCome: number;
    /** The last job in source order ever handed out: its cursor (a CBOR item) and the SHA-256 of its encoding. */
    last: Readonly<{ cursor: Uint8Array; jobHash: Uint8Array }> | null;
    /** SHA-256 of the encoding of the run's very first job, by which a source that ignores `last` is recognized. */
    firstJobHash: Uint8Array | null;
    /** The source ended and every job is settled. */
    complete: boolean;
    /** This is its master's last save: nothing was handed out after it. */
    final: boolean;
    settings: OperatorSettings;
    stranded: readonly Stranded[];
  }>;

/** A job with no attempts left, to be written to the dead-letter file; or a row that cannot be sent. */
export type DeadLetter = Readonly<
  | { seq: number; job: Uint8Array; history: History; row?: undefined }
  | { seq: number; job: null; history: History; row: Unsendable }
>;

/** How a session ended. Only after `closed` a job that ran alone may be charged. */
export type SessionEnd = "closed" | "silent" | "drained" | "replaced" | "stuck" | "stale";

/** What the shell reports to the core. The time is passed along with the event, as `nowMs` of a monotonic clock. */
export type RunEvent =
  /**
   * The source yielded jobs; the core numbers them. `moreAtHand`: the block ended at a limit, and the source has more.
   */
  | Readonly<{ kind: "yielded"; block: Block; moreAtHand: boolean }>
  /**
   * The source yielded a row that cannot be sent. The row gets a seq, and becomes a dead letter once all jobs before it
   * are handed out.
   */
  | Readonly<{ kind: "unsendable"; row: Unsendable }>
  | Readonly<{ kind: "source ended" }>
  /** `getJobs` threw. `fatal`: it yielded something that cannot be sent, so calling it again cannot help. */
  | Readonly<{ kind: "source failed"; message: string; fatal: boolean }>
  /** A slave proved that it knows the token and named the jobs it holds. The effect `keep` answers it. */
  | Readonly<{
    kind: "joined";
    session: SessionId;
    slaveId: string;
    slaveName: string;
    credit: number;
    held: readonly LeaseJobs[];
    /** Of `held`: jobs under other masters' leases that did not begin. */
    untouched?: readonly LeaseJobs[];
  }>
  /** Bytes came from this session. */
  | Readonly<{ kind: "heard"; session: SessionId }>
  /** How many jobs the slave may hold in all. */
  | Readonly<{ kind: "credit"; session: SessionId; credit: number }>
  /** `number` counts the answers of a session from 1; `at` is the wall clock in ISO 8601. */
  | Readonly<{ kind: "answered"; session: SessionId; number: number; answer: Answer; at: string }>
  /** The latest failures of these jobs were the fault of the slave's worker. */
  | Readonly<{ kind: "excused"; session: SessionId; jobs: Ranges }>
  /** The slave runs `count` jobs again that had already ended there. */
  | Readonly<{ kind: "again"; session: SessionId; count: number }>
  /** The slave drains: it takes nothing new. */
  | Readonly<{ kind: "leaving"; session: SessionId }>
  /** `at` is the wall clock in ISO 8601: a job that ran alone there may be charged. */
  | Readonly<{ kind: "left"; session: SessionId; how: SessionEnd; at: string }>
  /** These dead letters are durable. */
  | Readonly<{ kind: "buried"; seqs: Ranges }>
  /** Dead letters exceed their disk limit: they are not durable and never will be. Ends the run. */
  | Readonly<{ kind: "no room"; message: string }>
  /** The state captured as this version is durable. */
  | Readonly<{ kind: "saved"; version: number }>
  /** An operator changes a setting of the state. */
  | Readonly<{ kind: "set"; name: SettingName; value: boolean }>
  /** The plugin holds the fleet for this reason; null: it does not. */
  | Readonly<{ kind: "throttled"; reason: string | null }>
  /** Stop handing out, wait for running jobs (at most `graceMs`), end. A second `stop` ends at once. */
  | Readonly<{ kind: "stop" }>;

/** What the core asks the shell to do; effects are carried out in order. */
export type Effect =
  /** Lease one batch: consecutive jobs with one history, in one or more parts. `attempt` counts from 1. */
  | Readonly<{
    kind: "lease";
    session: SessionId;
    lease: LeaseName;
    parts: readonly JobSpan[];
    attempt: number;
    alone: Alone;
    /** True for a probe: a test at low load, or of a quarantined slave. */
    probe: boolean;
  }>
  /** Answer to `joined`: which of the named jobs the slave may keep. It drops the others. */
  | Readonly<{ kind: "keep"; session: SessionId; leases: readonly LeaseJobs[] }>
  /** A durable state covers the answers of this session up to this number. */
  | Readonly<{ kind: "covered"; session: SessionId; through: number }>
  /** Tell the slave to take nothing new, release untried jobs, and finish running ones. */
  | Readonly<{ kind: "drain"; session: SessionId }>
  /** Close the connection from this side; `how` says why. */
  | Readonly<{ kind: "close"; session: SessionId; how: SessionEnd }>
  /** Make these letters durable, then report `buried`. Until then every state still contains the jobs. */
  | Readonly<{ kind: "bury"; letters: readonly DeadLetter[] }>
  /** Call `getJobs`; `last` is an encoded cursor, undefined on a fresh start. */
  | Readonly<{ kind: "open source"; last: Uint8Array | undefined }>
  /** Abort and return the iterator, waiting at most 5 s. */
  | Readonly<{ kind: "close source" }>
  /** Tell the operator something. */
  | Readonly<{ kind: "notice"; notice: Notice }>
  /** The run is over for this start; the last effect. The shell saves once more, dismisses the slaves and exits. */
  | Readonly<{ kind: "end"; outcome: Outcome }>;

/** What an operator should know, as a code with its data; `observe/phrases.ts` has the words. */
export type Notice = Readonly<
  /** Nothing succeeds any more; `message` is the failure. */
  | { code: "outage began"; message: string }
  | { code: "outage ended" }
  /** This slave fails everything while others do not: it gets one probe a second until one succeeds. */
  | { code: "slave sick"; slave: string; message: string }
  | { code: "slave well"; slave: string }
  /** The source began at the run's first job again, so completed jobs run again. */
  | { code: "source started over" }
  /** `getJobs` threw, or yielded something invalid. */
  | { code: "source failed"; fault: SourceFault; next: SourceRetry }
>;

/** What a source threw, with its stack. `startedOver`: when called again, the source began at the run's first job. */
export type SourceFault = Readonly<{ message: string; startedOver: boolean }>;

/** What happens after a failure of the source. */
export type SourceRetry = Readonly<
  | { kind: "called again"; pauseMs: number }
  /** Calling it again cannot help. */
  | { kind: "hopeless" }
  /** Given up after `failures` failures without a new job in between. */
  | { kind: "given up"; failures: number }
>;

/** Why the run is not faster, as a code with its data; `observe/phrases.ts` has the words. */
export type Reason = Readonly<
  | { code: "draining" }
  /** Paused by an operator. */
  | { code: "paused" }
  /** The plugin's `throttle` holds the fleet, for this reason. */
  | { code: "throttled"; message: string }
  /** Nothing succeeds, or the source fails. */
  | { code: "failing"; message: string }
  | { code: "waiting_for_slaves" }
  /** Load ramps up slowly after an outage. */
  | { code: "recovering"; message: string }
  /** Starts are limited, because more load makes more jobs fail. */
  | { code: "paced"; startsPerSecond: number; message: string }
  | { code: "slave_sick"; slave: string; message: string }
  /** Nothing was settled for `forMs`; `seq` is the first unanswered job of the oldest lease, and `slave` holds it. */
  | { code: "stalled"; forMs: number; seq: number; slave: string }
  | { code: "slaves_busy" }
  | { code: "source_slow" }
  /** The window is all jobs yielded and not settled. */
  | { code: "window_full"; limit: WindowLimit }
  | { code: "waiting_for_retries" }
  /** A limit of the operator: attempts begun a second, or jobs in flight. */
  | { code: "rate_limited"; perSecond: number }
  | { code: "in_flight_limited"; jobs: number }
>;

/** What limits the window: the number of its jobs, or their bytes. */
export type WindowLimit = "jobs" | "bytes";

/** The jobs that a test at low load runs: ones that failed before, or untried ones. */
export type ProbeKind = "failed" | "untried";

/** Why a lease is a probe: part of a test, or of a quarantined slave. */
export type Probe = ProbeKind | "quarantine";

/** How isolated a batch runs: beside others, alone in a worker, or alone in a slave. */
export type Alone = "no" | "in worker" | "in slave";

export type Outcome =
  /**
   * Every job is settled and the source ended. `ignoredLast`: nothing was handed out, because the source started over.
   */
  | Readonly<{ kind: "complete"; ignoredLast: boolean }>
  | Readonly<{ kind: "stopped" }>
  /** Nothing succeeded for longer than allowed. */
  | Readonly<{ kind: "outage"; message: string }>
  /** No room is left for dead letters. The state still contains the jobs whose letters were not written. */
  | Readonly<{ kind: "no room"; message: string }>
  | Readonly<{ kind: "source failed" }> & SourceFault;

/** One failed attempt and what happens to its job next, for observers of single jobs. */
export type FailedAttempt = Readonly<{
  seq: number;
  attempt: Attempt;
  /** Charged failures or crashes so far, this one included if charged; and the most allowed. */
  count: number;
  countMax: number;
  isCharged: boolean;
  /** The job became a dead letter. */
  isBuried: boolean;
  /** Delay until the retry; null if it never comes or is not known yet. */
  retryInMs: number | null;
}>;

/** What options of the command line set at the core; a master passes them on as they are. */
export type RunOptions = Readonly<{
  /** Most jobs yielded but not settled. */
  jobsMax: number;
  /** Most encoded bytes of those jobs, error text included. */
  bytesMax: number;
  /** Failures before a job becomes a dead letter. */
  failuresMax: number;
  /** First retry delay; doubles with each attempt, with full jitter. */
  backoffMs: number;
  heartbeatMs: number;
  graceMs: number;
  /** Most attempts begun a second in the whole fleet, retries included. @default no limit */
  ratePerSecond?: number | undefined;
  /** Most jobs in flight in the whole fleet. @default no limit */
  inFlightMax?: number | undefined;
}>;

export type RunSettings =
  & RunOptions
  & Readonly<{
    masterId: string;
    /** Longest duration of one attempt; 0 for no limit. */
    timeoutMs: number;
    /** How long everything may fail before the run ends; Infinity: for ever. */
    maxOutageMs: number;
    /** The same when only failed jobs are left: after it they are taken to be bad. */
    maxOutageAtEndMs: number;
    /** How long stranded leases wait for the slaves that held them; 0 under `run`. */
    reclaimMs: number;
    /** Returns a number in [0, 1); for jitter. */
    random: () => number;
    /** SHA-256. */
    digest: (bytes: Uint8Array) => Uint8Array;
    /** Called for each failed attempt, except crashes with several suspects. Must have no effect on the run. */
    onFailed?: ((failed: FailedAttempt) => void) | undefined;
  }>;

/** One connected slave, as the run sees it. */
export type SessionStatus = Readonly<{
  session: SessionId;
  name: string;
  /** The states drawn at `SlaveSession`. */
  mode: "open" | "reserved" | "quarantined" | "draining";
  inFlight: number;
  /** Jobs done or skipped in this session, and failed attempts. */
  settled: number;
  failures: number;
  /** Time since its last byte. */
  heardMs: number;
}>;

/** Numbers for the status line, over all starts of the run unless noted. */
export type RunStatus =
  & RunCounts
  & Readonly<{
    /** Jobs that are done, skipped or dead. */
    settled: number;
    /** Jobs settled by this start only. */
    settledNow: number;
    /** Jobs yielded and not leased. */
    buffered: number;
    /** Jobs leased and not answered. */
    inFlight: number;
    stranded: number;
    slaves: number;
    reason: Reason;
    /** The failure while nothing succeeds any more; null otherwise. */
    outage: string | null;
    /** Slaves that fail everything while others do not, and each one's latest failure. */
    sick: readonly Readonly<{ name: string; message: string }>[];
    /** Dead letters of this start, grouped by `messageGroup`: the first message of each, and whether others differ from it. */
    failures: readonly Readonly<{ message: string; count: number; differ: boolean }>[];
  }>;
