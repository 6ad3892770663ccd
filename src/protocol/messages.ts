import {
  creditMax,
  errorMessageCharsMax,
  hashBytes,
  idCharsMax,
  lateErrorsMax,
  nameCharsMax,
  remarkCharsMax,
  sentenceCharsMax,
} from "../lib/limits.ts";
import {
  anything,
  boolean,
  bytes,
  type Check,
  elapsedMs,
  list,
  mapOf,
  type MessageOf,
  nullable,
  oneOf,
  optional,
  ranges,
  record,
  text,
  trueOrMissing,
  type TypeOf,
  whole,
} from "./schema.ts";

// All messages, one row each: the sender, the effect, the fields and their limits. Types and checks are derived from
// these rows. A switch over one sender's kinds does not compile until it handles a new row. docs/protocol.md describes
// the same for people who write another slave. All ranges are of seqs; times are in milliseconds.

/** Path of a plugin, between a supervisor and its workers. */
const pathCharsMax = 4_096;
/** Stack of one error. 50 lines stay far below it. */
const stackCharsMax = 16_384;
/** A heartbeat, timeout or grace: at most what a timer can wait, a bit more than three weeks. */
const durationMsMax = 2_147_483_647;
/** Features that a side may announce, and the length of each name. */
const featuresMax = 64, featureCharsMax = 64;
/** Arguments of a run, and the length of each value. */
const argsMax = 1_000, argCharsMax = 1 << 16;
/** Worker processes of one slave. */
const procsMax = 100_000;
/** Options that a plugin exports. */
const pluginOptionsMax = 1_000;

const id = text(idCharsMax);
const name = text(nameCharsMax);
const sentence = text(sentenceCharsMax);
const remark = text(remarkCharsMax);
const number = whole(0, Number.MAX_SAFE_INTEGER);
const counted = whole(1, Number.MAX_SAFE_INTEGER);
const credit = whole(0, creditMax);
const jobCount = whole(1, creditMax);
const duration = whole(0, durationMsMax);
const args = mapOf(argsMax, text(argCharsMax));
const features = list(text(featureCharsMax), featuresMax);
const plugin = record({ name, export: name, hash: bytes(hashBytes) });

const leaseName = record({ masterId: id, number });
/** The right of one slave to run one batch. Never reused: the number counts up within one master process. */
export type LeaseName = TypeOf<typeof leaseName>;

const leaseJobs = record({ lease: leaseName, jobs: ranges });
/** Jobs of one lease: those a slave holds or has finished, or those it may keep. */
export type LeaseJobs = TypeOf<typeof leaseJobs>;

/** The message of a failure that is `timed out`. */
export const timedOutMessage = "The attempt took longer than --timeout";

const failure = record({
  seq: number,
  /** `fatal` makes the job a dead letter at once. */
  how: oneOf("threw", "timed out", "fatal"),
  message: text(errorMessageCharsMax),
  stack: text(stackCharsMax),
  durationMs: elapsedMs,
});
/** One attempt that failed at a slave. */
export type Failure = TypeOf<typeof failure>;

/**
 * An error that came after its job was acked. Written out here because it is part of the public API.
 *
 * `seq` is null if the job is unknown.
 */
export type LateError = Readonly<{ seq: number | null; message: string }>;
const lateError: Check<LateError> = record({ seq: nullable(number), message: text(errorMessageCharsMax) });

const answerFields = {
  lease: leaseName,
  done: ranges,
  skipped: ranges,
  failed: list(failure),
  /**
   * Jobs that may have been running when a worker crashed, and how it died; a single suspect is charged. Every answer
   * about that crash names all of its suspects, one answer for each lease that has one.
   */
  crash: nullable(record({ suspects: ranges, reason: sentence })),
  /** Handed back untried; no attempt is spent. */
  released: ranges,
};
const answer = record(answerFields);
/**
 * What a slave reports about jobs of one lease. Each job should be in at most one field. If it is in several, the first
 * counts: done, skipped, failed, crash, released.
 */
export type Answer = TypeOf<typeof answer>;

/** Errors since the previous `late`: `count` in all, of which some are listed. */
const late = { errors: list(lateError, lateErrorsMax), count: number };

/** Texts that repeat within a long message: field names and words of list members. */
export const repeatedWords: readonly string[] = [
  ...new Set([leaseJobs, failure, lateError].flatMap(({ words = [] }) => words)),
];

export const slaveMessages = {
  /** First after WELCOME, and only then. The master answers with `keep`. */
  ready: {
    credit,
    /** All jobs that the slave holds, or has finished without knowing that they are saved. */
    held: list(leaseJobs),
    /**
     * Of `held`: jobs under other masters' leases that did not begin. Sent to a master with the feature `untouched`.
     */
    untouched: optional(list(leaseJobs)),
  },
  /** The new total of jobs that this slave may hold. */
  credit: { credit },
  /** Settles jobs of one lease, names suspects, and hands back released jobs. */
  answer: {
    /** Counts this session's answers from 1. */
    number: counted,
    /** The new total, as in `credit`. */
    credit,
    ...answerFields,
  },
  /** This slave's latest failures of these jobs were its worker's fault, not the jobs'. */
  excused: { jobs: ranges },
  /** Errors that came after their job was acked. */
  late,
  /**
   * `count` jobs had ended in a worker that died before it reported them, and run again here. Sent to a master with the
   * feature `again`.
   */
  again: { count: jobCount },
  /** What this slave waits for, for people; empty once it no longer waits. */
  notice: { text: remark },
  /** The slave takes nothing new from now on, and closes when running jobs have ended. */
  leaving: {},
  /** The last message before a close: why, for the master's log. */
  bye: { reason: remark },
  /** Has no other content: any byte proves that the peer is alive. */
  beat: {},
};
/** What a slave sends to its master. */
export type SlaveMessage = MessageOf<typeof slaveMessages>;

export const masterMessages = {
  /** The answer to `ready`: which of the named jobs the slave keeps. It drops the others and aborts them. */
  keep: { leases: list(leaseJobs) },
  /** One batch: `count` jobs numbered from `seq`, encoded one behind the other in `jobs`. */
  lease: {
    /** The lease's name is this number and this master's id. */
    number: counted,
    seq: number,
    count: jobCount,
    /** Counts from 1. */
    attempt: counted,
    /** Whether each job needs a worker, or the slave, to itself. */
    alone: oneOf("no", "in worker", "in slave"),
    /** A probe, usually a test at low load, whose failures are not charged. */
    probe: boolean,
    jobs: bytes(),
  },
  /** A durable state covers this session's answers up to this number: the slave may forget them. */
  saved: { through: number },
  /** The slave takes nothing new, hands back untried jobs, finishes running ones, and closes. */
  drain: {},
  /** The run is complete: the slave leaves and exits with 0. */
  dismiss: {},
  /** The last message before a close: why, for the slave's log. */
  bye: { reason: remark },
  /** As a slave's. */
  beat: {},
};
/** What a master sends to a slave. */
export type MasterMessage = MessageOf<typeof masterMessages>;

export const supervisorMessages = {
  /**
   * First. The worker imports the plugin and answers `loaded`, `unloadable` or `changed`; it does not call the plugin's
   * functions yet.
   */
  load: {
    plugin: text(pathCharsMax),
    /** Empty for the default export. */
    exportName: name,
    /** The expected hash of the plugin's code. Empty for the first worker, which reports the hash. */
    hash: bytes(),
  },
  /** Sent once a master was found. The worker calls the plugin's `setup`, then answers `prepared` or `unloadable`. */
  setup: { args, runId: id, concurrency: jobCount, timeoutMs: duration },
  /** Run these jobs in order: `count` encoded jobs numbered from `seq`. */
  slice: {
    /** Numbers this worker's slices from 1. */
    slice: counted,
    seq: number,
    count: jobCount,
    attempt: counted,
    jobs: bytes(),
  },
  /** Hand back the jobs that have not begun. */
  withdraw: {},
  /** Fire the abort signal of these jobs: their lease is lost, or the grace of a stop is over. */
  abort: { jobs: ranges, why: oneOf("lost", "stop") },
  /** Finish running jobs, call `teardown`, wait for work that goes on in the background, exit 0. */
  quit: {
    /** Longest wait after `teardown`. */
    waitMs: duration,
    /** What `setup` opened may be broken, so a failing `teardown` is expected. */
    isSick: boolean,
  },
};
/** What a slave's supervisor sends to one of its workers, in the same frames as on the network. */
export type SupervisorMessage = MessageOf<typeof supervisorMessages>;

export const workerMessages = {
  /** First, after both sides have proved their identity to each other. */
  hello: { pid: counted, runtime: name },
  /** The plugin was imported and has a handler. */
  loaded: {
    hash: bytes(hashBytes),
    /** The options that the plugin exports, unchecked here. */
    options: mapOf(pluginOptionsMax, anything),
  },
  /** `setup` ended: the worker takes slices. */
  prepared: {},
  /**
   * The plugin's code differs from what the other workers of this slave run, and none of it was run. The sentence says
   * so.
   */
  changed: { message: sentence },
  /** The plugin did not load, or its `setup` threw; the sentence says why. */
  unloadable: { message: sentence },
  /** The results of jobs of one slice. */
  answer: {
    slice: counted,
    done: ranges,
    skipped: ranges,
    failed: list(failure),
    released: ranges,
    /**
     * Time since the previous answer in which the worker had jobs to run. With the number of jobs it gives the worker's
     * speed.
     */
    busyMs: elapsedMs,
  },
  /**
   * These jobs passed the timeout and still run: the worker takes nothing until they end. Empty: it takes jobs again.
   */
  overdue: { jobs: ranges },
  /** Errors that came after their job was acked. */
  late,
  /** `teardown` ended: the worker only waits for work that goes on in the background. */
  resting: {},
  /** That work has ended, or is to be cut off: the process exits next. */
  over: {},
  /** Something threw outside of any job; the worker is about to exit. */
  broken: { message: sentence },
  /** The event loop runs. */
  beat: {},
};
/** What a worker sends to its supervisor. */
export type WorkerMessage = MessageOf<typeof workerMessages>;

export const controlRequests = {
  /** Run a command. The master answers with `answer` or `refused`. */
  ask: {
    /** Chosen by the client; the reply repeats it. */
    id: counted,
    command: name,
    /** The command's argument; null if it has none. */
    value: nullable(remark),
  },
  /** The last message before a close: why, for the master's log. */
  bye: { reason: remark },
  /** As a slave's. */
  beat: {},
};
/** What a client of role `control` sends to a master. */
export type ControlRequest = MessageOf<typeof controlRequests>;

export const controlReplies = {
  /** The result of the `ask` with this id, as plain data. */
  answer: { id: counted, result: anything },
  /** The `ask` with this id had no effect; the sentence says why. */
  refused: { id: counted, message: sentence },
  /** The last message before a close: why, for the client. */
  bye: { reason: remark },
  /** As a slave's. */
  beat: {},
};
/** What a master sends to a client of role `control`. */
export type ControlReply = MessageOf<typeof controlReplies>;

/** Any message of any sender. */
export type Message =
  | SlaveMessage
  | MasterMessage
  | SupervisorMessage
  | WorkerMessage
  | ControlRequest
  | ControlReply;

// What both sides tell of themselves in the handshake can be extended: unknown fields are ignored.

export const welcome = record({
  runId: id,
  masterId: id,
  key: id,
  epoch: number,
  plugin,
  args,
  /** 0 if there is none. */
  timeoutMs: duration,
  heartbeatMs: whole(1, durationMsMax),
  graceMs: duration,
  features,
}, true);
/** WELCOME's body: what a slave must know of the run before it says `ready`. */
export type Welcome = TypeOf<typeof welcome>;

export const introduction = record({
  /** Identifies the slave's process for its whole life. */
  slaveId: id,
  /** For people: host and pid. */
  name,
  version: name,
  procs: whole(0, procsMax),
  plugin: nullable(plugin),
  runtime: name,
  features,
  /** `--any-plugin`: its plugin may differ from the master's. */
  anyPlugin: trueOrMissing,
}, true);
/** AUTH's info: who wants to join. */
export type Introduction = TypeOf<typeof introduction>;
