import type { Block, JobSpan, Unsendable } from "../lib/bytes.ts";
import type { Ranges } from "../lib/ranges.ts";
import type { Answer, LeaseJobs, LeaseName } from "../protocol/messages.ts";

/** Number of one session (a connection from welcome to close) in this master process, from 1. */
export type SessionId = number;

/** One attempt that failed, for the dead letter. */
export type Attempt = Readonly<{
  how: "threw" | "timed out" | "crashed" | "fatal";
  /** At most 1,000 characters. */
  message: string;
  /** At most 50 lines; empty if there is none. */
  stack: string;
  slave: string;
  durationMs: number;
  /** Wall-clock time in ISO 8601, UTC; only ever shown. */
  at: string;
}>;

/** What happened to a job so far. Jobs of one span share it. */
export type History = Readonly<{
  /** Attempts that threw or timed out. */
  failures: number;
  /** Deaths of its process that the job is charged with. */
  crashes: number;
  /** Deaths of its process while other jobs were suspects too. Once the job crashes alone, those that no other job is charged with are. */
  crashesInCompany: number;
  /** Sessions that were lost while the job was in flight. */
  lostSessions: number;
  /** The latest attempts that failed; older ones are dropped to stay within 8 KiB of text. */
  attempts: readonly Attempt[];
}>;

/** Jobs handed out and not settled, as the state file keeps them. */
export type Stranded = Readonly<{
  span: JobSpan;
  history: History;
  /** The last lease they were in, and the id of the slave that held it; null if they are of no lease. */
  lease: Readonly<{ name: LeaseName; slaveId: string }> | null;
}>;

/**
 * What an operator set while the run went on, by name; kept over restarts as it is, also what this program does not
 * know.
 */
export type OperatorSettings = ReadonlyMap<string, boolean | number | string | null>;

/** What an operator can set in this version. `paused`: nothing is leased. */
export type SettingName = "paused";

/** What is counted over all starts of a run: kept in its state, told to `onFinish`, and shown. */
export type RunCounts = Readonly<{
  /** First hand-outs: `done + skipped + dead + (jobs stranded)`, always. */
  handedOut: number;
  /** Of `handedOut`: jobs that were handed out before, and that a source which started over yielded once more. */
  handedOutAgain: number;
  done: number;
  skipped: number;
  /** Dead letters. */
  dead: number;
  /** Runs repeated though nothing failed: jobs leased again after a loss, and suspects of a death in company. */
  repeated: number;
  /** More than `repeated` may have run again: a master died without a last save, and what it did since is not known. */
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

/** The counts in a state or a status, without the rest of it. */
export function countsOf(from: RunCounts): RunCounts {
  const names = Object.keys(noCounts) as (keyof RunCounts)[];
  return { ...noCounts, ...Object.fromEntries(names.map((name) => [name, from[name]])) };
}

/** Jobs that need nothing any more. */
export function settledOf({ done, skipped, dead }: Pick<RunCounts, "done" | "skipped" | "dead">): number {
  return done + skipped + dead;
}

/** All that a resume needs; identity (run id, plugin, arguments) and epoch are the state file's own. */
export type RunState =
  & RunCounts
  & Readonly<{
    /** Of the jobs handed out before the source started over: those that it has not yielded again yet. */
    againToCome: number;
    /** The furthest job ever handed out: its cursor (a CBOR item) and the SHA-256 of its encoding. */
    last: Readonly<{ cursor: Uint8Array; jobHash: Uint8Array }> | null;
    /** SHA-256 of the run's very first job's encoding: tells a source that ignores `last`. */
    firstJobHash: Uint8Array | null;
    /** The source ended and every job is settled. */
    complete: boolean;
    /** The last save of its master: nothing was handed out behind it. */
    final: boolean;
    settings: OperatorSettings;
    stranded: readonly Stranded[];
  }>;

/** A job with no attempts left, on its way to the dead-letter file; or a row that could not be sent. */
export type DeadLetter = Readonly<
  | { seq: number; job: Uint8Array; history: History; row?: undefined }
  | { seq: number; job: null; history: History; row: Unsendable }
>;

/** How a session ended. Only `closed` may charge a job that ran alone. */
export type SessionEnd = "closed" | "silent" | "drained" | "replaced" | "stuck" | "stale";

/** What the shell tells the core. Times come beside the event, as `nowMs` of a monotonic clock. */
export type RunEvent =
  /** The source yielded jobs; the core numbers them. `moreAtHand`: a limit ended the block, and not the source. */
  | Readonly<{ kind: "yielded"; block: Block; moreAtHand: boolean }>
  /** The source yielded a row that cannot be sent: it is numbered, and set aside when all before it are handed out. */
  | Readonly<{ kind: "unsendable"; row: Unsendable }>
  | Readonly<{ kind: "source ended" }>
  /** `getJobs` threw. `fatal`: it yielded what cannot be sent, so calling it again cannot help. */
  | Readonly<{ kind: "source failed"; message: string; fatal: boolean }>
  /** A slave proved the token and said what it holds. The answer is the effect `keep`. */
  | Readonly<{
    kind: "joined";
    session: SessionId;
    slaveId: string;
    slaveName: string;
    credit: number;
    held: readonly LeaseJobs[];
    /** Of `held`, under leases of other masters: what did not begin. */
    untouched?: readonly LeaseJobs[];
  }>
  /** Bytes came from this session. */
  | Readonly<{ kind: "heard"; session: SessionId }>
  /** How many jobs the slave may hold in all. */
  | Readonly<{ kind: "credit"; session: SessionId; credit: number }>
  /** `number` counts the answers of a session from 1; `at` is the wall clock in ISO 8601. */
  | Readonly<{ kind: "answered"; session: SessionId; number: number; answer: Answer; at: string }>
  /** The failures that the slave said last of these jobs were its worker's doing. */
  | Readonly<{ kind: "excused"; session: SessionId; jobs: Ranges }>
  /** So many jobs that had ended there are run again there. */
  | Readonly<{ kind: "again"; session: SessionId; count: number }>
  /** The slave drains: it takes nothing new. */
  | Readonly<{ kind: "leaving"; session: SessionId }>
  /** `at` is the wall clock in ISO 8601: a job that ran alone there may be charged. */
  | Readonly<{ kind: "left"; session: SessionId; how: SessionEnd; at: string }>
  /** These dead letters are durable. */
  | Readonly<{ kind: "buried"; seqs: Ranges }>
  /** Dead letters would take more of the disk than they may: they are not durable, and will not be. Ends the run. */
  | Readonly<{ kind: "no room"; message: string }>
  /** The state captured as this version is durable. */
  | Readonly<{ kind: "saved"; version: number }>
  /** An operator changes what is kept in the state's settings. */
  | Readonly<{ kind: "set"; name: SettingName; value: boolean }>
  /** Stop handing out, wait for what runs (at most the grace), end. A second one ends at once. */
  | Readonly<{ kind: "stop" }>;

/** What the core asks the shell to do, in this order. */
export type Effect =
  /** Lease one batch: consecutive jobs, of one history, in one or more parts. `attempt` counts from 1. */
  | Readonly<{
    kind: "lease";
    session: SessionId;
    lease: LeaseName;
    parts: readonly JobSpan[];
    attempt: number;
    alone: Alone;
    /** It tests whether anything succeeds at low load. */
    probe: boolean;
  }>
  /** Answer to `joined`: the jobs the slave may keep, of those it named. The rest it drops. */
  | Readonly<{ kind: "keep"; session: SessionId; leases: readonly LeaseJobs[] }>
  /** The answers of this session up to this number are covered by a durable state. */
  | Readonly<{ kind: "covered"; session: SessionId; through: number }>
  /** Tell the slave to take nothing new, hand back the untried, finish what runs. */
  | Readonly<{ kind: "drain"; session: SessionId }>
  /** End the connection: its slave is silent, or came back on another one. */
  | Readonly<{ kind: "close"; session: SessionId; how: SessionEnd }>
  /** Make these durable, then say `buried`. Until then the state still carries the jobs. */
  | Readonly<{ kind: "bury"; letters: readonly DeadLetter[] }>
  /** Call `getJobs`; `last` is an encoded cursor, undefined on a fresh start. */
  | Readonly<{ kind: "open source"; last: Uint8Array | undefined }>
  /** Abort and return the iterator, waiting at most 5 s. */
  | Readonly<{ kind: "close source" }>
  /** Something a person should know. */
  | Readonly<{ kind: "notice"; notice: Notice }>
  /** The run is over for this start; the last effect. The shell saves once more, dismisses the slaves, leaves. */
  | Readonly<{ kind: "end"; outcome: Outcome }>;

/** What a person should know, as a code and what belongs to it; `observe/phrases.ts` has the words. */
export type Notice = Readonly<
  /** Nothing succeeds any more, and `message` is what fails. */
  | { code: "outage began"; message: string }
  | { code: "outage ended" }
  /** This slave fails everything while others do not: it gets a probe a second until one succeeds. */
  | { code: "slave sick"; slave: string; message: string }
  | { code: "slave well"; slave: string }
  /** The source began at the run's first job again: jobs that are done run again. */
  | { code: "source started over" }
  /** `getJobs` threw, or yielded what no source may. */
  | { code: "source failed"; fault: SourceFault; next: SourceRetry }
>;

/** What a source threw, with its stack; `startedOver`: called again, it began at the run's first job. */
export type SourceFault = Readonly<{ message: string; startedOver: boolean }>;

/** What follows a failure of the source. */
export type SourceRetry = Readonly<
  | { kind: "called again"; pauseMs: number }
  /** Calling it again cannot help. */
  | { kind: "hopeless" }
  /** So many failures without a new job in between. */
  | { kind: "given up"; failures: number }
>;

/** Why the run is not faster, as a code and what belongs to it; `observe/phrases.ts` has the words. */
export type Reason = Readonly<
  | { code: "draining" }
  /** An operator said so. */
  | { code: "paused" }
  /** Nothing succeeds, or the source fails. */
  | { code: "failing"; message: string }
  | { code: "waiting_for_slaves" }
  /** Load comes back slowly after an outage. */
  | { code: "recovering"; message: string }
  /** More load makes more jobs fail. */
  | { code: "paced"; startsPerSecond: number; message: string }
  | { code: "slave_sick"; slave: string; message: string }
  /** Nothing was settled for so long; the first job not answered of the oldest lease, and who has it. */
  | { code: "stalled"; forMs: number; seq: number; slave: string }
  | { code: "slaves_busy" }
  | { code: "source_slow" }
  /** The window is all jobs yielded and not settled. */
  | { code: "window_full"; limit: WindowLimit }
  | { code: "waiting_for_retries" }
>;

/** What limits the window: the number of its jobs, or of their bytes. */
export type WindowLimit = "jobs" | "bytes";

/** What a test at low load is made with: a job that failed before, or one that was not tried yet. */
export type ProbeKind = "failed" | "untried";

/** Why a lease is a probe: it is of a test, or of a slave in quarantine. */
export type Probe = ProbeKind | "quarantine";

/** Whether a batch runs beside others, in a worker of its own, or in a slave of its own. */
export type Alone = "no" | "in worker" | "in slave";

export type Outcome =
  /** Every job is settled and the source ended. `ignoredLast`: nothing was handed out, for the source started over. */
  | Readonly<{ kind: "complete"; ignoredLast: boolean }>
  | Readonly<{ kind: "stopped" }>
  /** Nothing succeeded for longer than it may. */
  | Readonly<{ kind: "outage"; message: string }>
  /** There is no room for more dead letters; the state has the jobs of those that were not written. */
  | Readonly<{ kind: "no room"; message: string }>
  | Readonly<{ kind: "source failed" }> & SourceFault;

/** An attempt that failed, and what becomes of its job: for whoever follows single jobs. */
export type FailedAttempt = Readonly<{
  seq: number;
  attempt: Attempt;
  /** Charged failures, or crashes, this one included if it is charged; and how many there may be. */
  count: number;
  countMax: number;
  isCharged: boolean;
  /** It has become a dead letter. */
  isBuried: boolean;
  /** Until it is due again; null: not before more is known, or never. */
  retryInMs: number | null;
}>;

export type RunSettings = Readonly<{
  masterId: string;
  /** Most jobs yielded but not settled. */
  jobsMax: number;
  /** The same in encoded bytes, error text included. */
  bytesMax: number;
  /** Failures before a job becomes a dead letter. */
  failuresMax: number;
  /** First retry delay; doubles, with full jitter. */
  backoffMs: number;
  heartbeatMs: number;
  graceMs: number;
  /** Longest one attempt may take; 0 if there is no such limit. */
  timeoutMs: number;
  /** How long everything may fail before the run stops; Infinity: for ever. */
  maxOutageMs: number;
  /** The same where nothing but failed jobs is left: then they are taken for bad. */
  maxOutageAtEndMs: number;
  /** How long stranded leases wait for the slaves that held them. 0 under `run`. */
  reclaimMs: number;
  /** In [0, 1); for jitter. */
  random: () => number;
  /** SHA-256. */
  digest: (bytes: Uint8Array) => Uint8Array;
  /** Told of each attempt that failed, but for those of several suspects. It changes nothing. */
  onFailed?: ((failed: FailedAttempt) => void) | undefined;
}>;

/** One slave that is connected, as the run knows it. */
export type SessionStatus = Readonly<{
  session: SessionId;
  name: string;
  /** As its machine is drawn in `SlaveSession`. */
  mode: "open" | "reserved" | "quarantined" | "draining";
  inFlight: number;
  /** Jobs done or skipped in this session, and attempts that failed. */
  settled: number;
  failures: number;
  /** Since its last byte. */
  heardMs: number;
}>;

/** Numbers for the status line; all over all starts of the key unless said. */
export type RunStatus =
  & RunCounts
  & Readonly<{
    /** Done, skipped and dead. */
    settled: number;
    /** Settled by this start only. */
    settledNow: number;
    /** Yielded and not leased. */
    buffered: number;
    /** Leased and not answered. */
    inFlight: number;
    stranded: number;
    slaves: number;
    reason: Reason;
    /** What fails, while nothing succeeds any more; null otherwise. */
    outage: string | null;
    /** Slaves that fail everything while others do not, and what they fail with. */
    sick: readonly Readonly<{ name: string; message: string }>[];
    /** Dead letters of this start, grouped by message. */
    failures: readonly Readonly<{ message: string; count: number }>[];
  }>;
