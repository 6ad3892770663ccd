// Limits used by more than one file, with the unit in the name and the reason beside each. A limit with one user is
// declared there. Characters are UTF-16 units.

/** Longest encoded job. A job is a reference to work, not the work's data. */
export const jobBytesMax = 1 << 20;
/** Longest frame on any connection; sixteen of the longest jobs. */
export const frameBytesMax = 16 << 20;
/** Deepest nesting of a CBOR item: far beyond rows, far below a stack overflow. */
export const cborDepthMax = 32;
/** Most CBOR items in one frame: limits what decoding may allocate. */
export const cborItemsMax = 1_000_000;
/** Longest bignum: decoding a longer one costs time that grows with its square. */
export const bignumBytesMax = 1024;
/** Longest message of one error, in characters. */
export const errorMessageCharsMax = 1_000;
/** Error text kept for one job over all its attempts, in bytes. */
export const jobErrorBytesMax = 8 << 10;
/** Crashes of its process after which a job becomes a dead letter. */
export const crashesMax = 3;
/** Heartbeat intervals without a byte after which a peer is given up. */
export const silentHeartbeatsMax = 3;
/** Most bytes read from a connection before it has proved the token. */
export const handshakeBytesMax = 1024;
/** Longest a connection may take to prove the token. */
export const handshakeMs = 5_000;
/** Most connections at a master. */
export const connectionsMax = 4_096;
/** Memory of all incomplete frames at a master: four of the longest. Beyond it the slowest connection is closed. */
export const unfinishedBytesMax = 64 << 20;
/**
 * Longest time between two checks of deadlines, whatever wake-up was requested: a deadline that is set in between (such
 * as a stalled write) is noticed then.
 */
export const tickMsMax = 1_000;
/**
 * The slowest link on which a slave is useful, 10 KB/s: the time that data may take to reach a slave is derived from
 * it.
 */
export const slowLinkBytesPerMs = 10;

/** Run id, master id, slave id, key. */
export const idCharsMax = 128;
/** A name for people, a plugin's or an export's name, a runtime, a version. */
export const nameCharsMax = 256;
/** A sentence: why a worker died, or why a plugin does not load. */
export const sentenceCharsMax = 16_384;
/** Jobs a slave may hold in all. */
export const creditMax = 10_000_000;
/**
 * Messages of a slave that settle nothing (beats, `credit`, `late`, stale answers). Many, because a slave speaks for
 * many workers.
 */
export const slaveWords = 10_000, slaveWordsPerSecond = 1_000;
/** Errors listed in one `late`; the others are only counted. */
export const lateErrorsMax = 100;
/** What a slave waits for, or why a session ends, in words for people. */
export const remarkCharsMax = 1_000;
/** SHA-256. */
export const hashBytes = 32;
/** WELCOME as a whole; only the arguments of a run can make it long. */
export const welcomeBytesMax = 1 << 20;
/** Interval between log lines of one kind about unproven connections. */
export const strangerLogMs = 10_000;

/** Longest text in a lock file, and most that is read of one. */
export const lockTextBytesMax = 4 << 10;

/** How long a due retry waits for another slave than the one that failed it. */
export const elsewhereMs = 10_000;
/**
 * Weight of one retry in the moving average of retries that succeed, and the average below which retried jobs are taken
 * to be bad.
 */
export const recoveryWeight = 0.05;
export const recoveryMin = 0.1;

/** Most jobs in one message between supervisor and worker: enough that the cost of a message is negligible per job. */
export const messageJobs = 256;
