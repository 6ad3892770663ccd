// Limits that more than one file needs, with the unit in the name and the reason beside each. A limit with one user stands
// there. Characters are UTF-16 units.

/** Longest encoded job. A job is a reference to work, not the work's data. */
export const jobBytesMax = 1 << 20;
/** Longest frame on any connection; sixteen of the longest jobs. */
export const frameBytesMax = 16 << 20;
/** Deepest nesting of a CBOR item: far beyond rows, far below a stack overflow. */
export const cborDepthMax = 32;
/** Most CBOR items in one frame: bounds what decoding may allocate. */
export const cborItemsMax = 1_000_000;
/** Longest bignum: decoding a longer one costs time that grows with its square. */
export const bignumBytesMax = 1024;
/** Longest message of one error, in characters. */
export const errorMessageCharsMax = 1_000;
/** Error text kept for one job over all its attempts. */
export const jobErrorBytesMax = 8 << 10;
/** Deaths of its process after which a job becomes a dead letter. */
export const crashesMax = 3;
/** Silent heartbeats after which a peer is given up. */
export const silentHeartbeatsMax = 3;
/** Most bytes read from a connection before it has proved the token. */
export const handshakeBytesMax = 1024;
/** Longest a connection may take to prove the token. */
export const handshakeMs = 5_000;
/** Most connections at a master. */
export const connectionsMax = 4_096;
/** Memory of all frames at a master that have begun and not ended: four of the longest. Beyond it the slowest is ended. */
export const unfinishedBytesMax = 64 << 20;
/**
 * Whoever owns deadlines looks at them at least so often, whatever wake-up was asked for: what begins between two looks (a
 * stalled write, a new deadline) is seen then.
 */
export const tickMsMax = 1_000;
/** The slowest link on which a slave is of use: what it is sent may take so long to arrive. 10 KB/s. */
export const slowLinkBytesPerMs = 10;

/** Run id, master id, slave id, key. */
export const idCharsMax = 128;
/** A name for people, a plugin's or an export's name, a runtime, a version. */
export const nameCharsMax = 256;
/** A sentence: why a worker died, why a plugin does not load. */
export const sentenceCharsMax = 16_384;
/** Jobs a slave may hold in all. */
export const creditMax = 10_000_000;
/** Words of a slave that settle nothing (beats, `credit`, `late`, stale answers): a slave has many workers to speak for. */
export const slaveWords = 10_000, slaveWordsPerSecond = 1_000;
/** Errors named in one `late`; the rest is only counted. */
export const lateErrorsMax = 100;
/** What a slave waits for, and why a session ends, in words for people. */
export const remarkCharsMax = 1_000;
/** SHA-256. */
export const hashBytes = 32;
/** WELCOME as a whole; only the arguments of a run can make it long. */
export const welcomeBytesMax = 1 << 20;
/** Lines of one kind about strangers at the port: one in so long. */
export const strangerLogMs = 10_000;

/** Longest note of a holder, and most that is read of whoever holds a lock. */
export const lockTextBytesMax = 4 << 10;

/** How long a due retry waits for a slave that has not failed it. */
export const elsewhereMs = 10_000;
/** How much one more attempt of a job that failed before tells of all of those; below the last, they are bad. */
export const recoveryWeight = 0.05;
export const recoveryMin = 0.1;

/** Between supervisor and worker, a message for so many jobs costs next to nothing for each. */
export const messageJobs = 256;
