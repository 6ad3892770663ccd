/** Limits of single fields on the wire, beside those of base/limits.ts. Characters are UTF-16 units. */

/** Run id, master id, slave id, key. */
export const idCharsMax = 128;
/** A name for people, a plugin's or an export's name, a runtime, a version. */
export const nameCharsMax = 256;
/** The path of a plugin, between a supervisor and its workers. */
export const pathCharsMax = 4_096;
/** The stack of one error; 50 lines that are longer are nobody's stack. */
export const stackCharsMax = 16_384;
/** A sentence: why a worker died, why a plugin does not load. */
export const sentenceCharsMax = 16_384;
/** Jobs a slave may hold in all. */
export const creditMax = 10_000_000;
/** A heartbeat, a timeout or a grace: a bit more than three weeks, what a timer can wait. */
export const durationMsMax = 2_147_483_647;
/** The heartbeats that a slave keeps; what its master says beyond them is taken for the nearest. */
export const heartbeatMsMin = 50, heartbeatMsMax = 3_600_000;
/**
 * Words of a master beside leases (beats, `saved`, `drain`): so many at once, and as many a second as the second says, are far
 * more than a master has reason for.
 */
export const masterWords = 1_000, masterWordsPerSecond = 100;
/** Words of a slave that settle nothing (beats, `credit`, `late`, stale answers): a slave has many workers to speak for. */
export const slaveWords = 10_000, slaveWordsPerSecond = 1_000;
/** Features that a side may name, and the length of each name. */
export const featuresMax = 64, featureCharsMax = 64;
/** Errors named in one `late`; the rest is only counted. */
export const lateErrorsMax = 100;
/** What a slave waits for, and why a session ends, in words for people. */
export const remarkCharsMax = 1_000;
/** SHA-256. */
export const hashBytes = 32;
/** Arguments of a run. */
export const argsMax = 1_000;
/** The value of one of them. */
export const argCharsMax = 1 << 16;
/** WELCOME as a whole; only the arguments of a run can make it long. */
export const welcomeBytesMax = 1 << 20;
/** Shortest token: 128 bits. */
export const tokenBytesMin = 16;
/** While others wait, the oldest unproved connection is closed after this long. */
export const handshakeCrowdedMs = 500;
/**
 * Longest a slave waits for a session, from dialing to WELCOME: the master's five seconds and slow round trips. With TLS
 * it waits so long until that is established, and as long again for WELCOME.
 */
export const dialMs = 15_000;
/** How long what was sent last may take to leave after a link closed. */
export const lingerMs = 2_000;
/** A slave, whose last answers are worth work, waits longer if so many bytes a millisecond need that, but not for ever. */
export const lingerBytesPerMs = 10, lingerMsMax = 30_000;
/** First piece of what is written at once; doubles while the peer is quick, so that a slow one shows progress. */
export const writePieceBytesMin = 16 << 10;
/** Longest piece. */
export const writePieceBytesMax = 1 << 20;
/** Lines of one kind about strangers at the port: one in so long. */
export const strangerLogMs = 10_000;
/** Arrays, maps and strings, or items of any kind, in a message of any length: more than a short one can have. */
export const messageItemsFree = 4_096;
/** Beyond those, bytes of the message for each item: what costs memory must be sent. A range's bounds take more. */
export const messageBytesPerItem = 3;
/** Beyond those, bytes for each array, map or string that is no word of the protocol. A lease's name takes more. */
export const messageBytesPerString = 8;
