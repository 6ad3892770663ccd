/** Every limit of the program, with its unit in the name and its reason beside it. */

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
/** Most lines of one error's stack. */
export const errorStackLinesMax = 50;
/** Error text kept for one job over all its attempts. */
export const jobErrorBytesMax = 8 << 10;
/** Deaths of its process after which a job becomes a dead letter. */
export const crashesMax = 3;
/** Sessions a job may be in flight at when they are lost, before it runs alone. */
export const lostSessionsMax = 2;
/** Silent heartbeats after which a peer is given up. */
export const silentHeartbeatsMax = 3;
/** Most bytes read from a connection before it has proved the token. */
export const handshakeBytesMax = 1024;
/** Longest a connection may take to prove the token. */
export const handshakeMs = 5_000;
/** Once it speaks TLS: that is 4 KB, and two round trips in place of one. At 1 KB/s and 2 s each way 12.5 s were measured. */
export const handshakeTlsMs = 15_000;
/** Most connections that have not yet proved the token. */
export const handshakesMax = 64;
/** Most connections at a master. */
export const connectionsMax = 4_096;
/** Memory of all frames at a master that have begun and not ended: four of the longest. Beyond it the slowest is ended. */
export const unfinishedBytesMax = 64 << 20;
/**
 * A frame that takes less is none of those: if each connection had one, they would not be more than the bound. So a link of
 * 1 KB/s keeps its small frames, whatever others do.
 */
export const smallFrameBytes = unfinishedBytesMax / connectionsMax;
/** A frame may take as long as bytes keep coming; this long without one ends it. */
export const frameStallMs = 30_000;
/** Longest a peer that says nothing may take no bytes of what is queued for it. */
export const writeStallMs = 10_000;
/**
 * The same for one that is heard, so that its link is slow, and not dead: at 10 KB/s the longest piece that is written takes
 * 105 s, and a system whose 4 MiB are full takes no more before a third of them has left.
 */
export const heardWriteStallMs = 300_000;
/** The slowest link on which a slave is of use: what it is sent may take so long to arrive. 10 KB/s. */
export const slowLinkBytesPerMs = 10;
/** Bytes queued for a peer at which its sender pauses. */
export const sendQueuePauseBytes = 1 << 20;
/** Bytes queued for a peer at which its connection is ended. */
export const sendQueueBytesMax = 8 << 20;
/** How long a slave keeps an old connection while it dials anew. */
export const oldConnectionMs = 120_000;
/** Longest retry delay. */
export const retryDelayMsMax = 60_000;
/** Pauses before `getJobs` is called again after it threw, without a new job in between. */
export const sourceRetryMs: readonly number[] = [1_000, 2_000, 4_000, 8_000, 16_000];
/** Characters of foreign text (a job, an error, a name) shown on one line. */
export const shownCharsMax = 200;

/** Limits of single fields on the wire, beside those of lib/limits.ts. Characters are UTF-16 units. */

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

/** Limits of the files a run leaves on disk, with the unit in the name and the reason beside each. */

/** State bytes encoded, hashed and written in one step: some half a millisecond of the event loop. */
export const stateStepBytes = 256 << 10;
/** Stranded spans encoded in one piece: some half a millisecond even if each carries its failed attempts. */
export const stateSpansPerPiece = 128;
/** Fewest bytes of a state for each array, map or string: a span without a history takes five. */
export const stateBytesPerString = 3;
/** Most settings of an operator, and the longest text of one: a few words each, not data. */
export const settingsMax = 256;
export const settingTextCharsMax = 1_000;
/** Longest text of a job in a dead letter, for people, as it is written; its exact bytes stand beside it. */
export const deadLetterShownBytes = 4 << 10;
/** Most bytes of dead letters, where nothing else is said: a run that makes more has something wrong that no one looked at. */
export const maxDeadBytesDefault = 1 << 30;
/** Dead letters are written in groups of about this many bytes: one write each, bounded memory. */
export const deadLetterGroupBytes = 8 << 20;
/** How much of the dead letters a start looks at: more than are written between two states. */
export const lastLettersBytes = 64 << 20;
/** Longest wait for the holder of a lock to prove that it is a master; it may be stopped. */
export const lockAnswerMs = 1_000;
/** After a proof that did not hold: a master that took the lock just now may not have written its nonce yet. */
export const lockPauseMs = 50;
/** Most connections to the lock of a master at once, and the longest that one may take to ask: whoever starts asks at once. */
export const lockConnectionsMax = 8, lockAskMs = 500;
/** Longest note of a holder, and most that is read of whoever holds a lock. */
export const lockTextBytesMax = 4 << 10;
/** A master looks so often whether its note is there, when it is asked. */
export const lockNoteLookMs = 250;
/** How often the state of a master that may run elsewhere is looked at. */
export const foreignLookMs = 250;
/** How long it must stay unchanged: three heartbeats of the default length. */
export const foreignWatchMs = 15_000;

/** Most encoded bytes in one batch, though at least one job: a slave must be able to hand most of it back. */
export const leaseBytesMax = 1 << 20;
/** So many of the attempts that ended last are looked at: fewer say nothing of the world. */
export const failureWindow = 100;
/** In a run that is younger, so many at least. */
export const failureWindowMin = 50;
/** So large a share of them that failed is worth a test: handlers that fail now and then are far below. */
export const failureWindowShare = 0.25;
/** After a test that blamed the rows, none before so many attempts; twice as many each time, up to the last. */
export const retestGap = 300;
export const retestGapMax = 10_000;
/** A test waits so long for what runs: low load is what it is about. */
export const testSettleMs = 1_000;
/** A test blames the rows once what it saw would come by chance in so few cases. */
export const verdictChance = 0.005;
/** The same where there is nothing left to test with. */
export const lastVerdictChance = 0.01;
/** Probes beside one another, where they are slow: still next to no load. */
export const probesMax = 8;
/** A probe that takes so long is slow. */
export const slowProbeMs = 250;
/** So many probes in a row that fail are an outage: from then on each waits a little longer, up to two a second. */
export const outageProbes = 20;
export const outagePauseMsMin = 5;
export const outagePauseGrowth = 1.08;
export const outagePauseMsMax = 500;
/** Pause between two probes of jobs that are taken for bad. */
export const endgamePauseMs = 20;
/** Where nothing untried is left: pause between two probes, once so many failed in a row. A service that admits little admits these. */
export const tailPauseMs = 50;
export const tailProbesAtOnce = 5;
/** A row of failures that bad rows would make in fewer cases is an outage, and one of so many in any case. */
export const rowChance = 0.001;
export const rowMax = 80;
/** The same for the last row, which no success ends: with that few jobs it says nothing. */
export const lastRowChance = 0.005;
export const lastRowMin = 5;
/** What fails again this many times longer than any row before is bad, and what ended the row did not help it. */
export const longRowsMax = 3;
/** So many of the latest jobs tell how many are bad. */
export const amidMemory = 1_000;
/** Where nothing but failed jobs is left and nothing succeeded for so long, they are taken for bad. */
export const maxOutageAtEndMsDefault = 300_000;
/** Nothing happened for so long: what is condemned is buried though the source may go on. */
export const quietMs = 60_000;
/** Untried jobs that are kept for a test at the end, where many fail: so many that some of them succeed. */
export const reserveGood = 12;
export const reserveMax = 160;
/** Attempts in a row that a slave, or a worker, must fail before it can be the reason. */
export const healthAttempts = 20;
/** So many are remembered of each: where most rows are bad, it takes more than those to tell a slave from chance. */
export const healthMemory = 100;
/** A slave is the reason once it would fail so much, and others so little, by chance in so few cases. */
export const sickChance = 0.0005;
/** Pause between two probes of a slave in quarantine. */
export const quarantineProbeMs = 1_000;
/** How long a due retry waits for a slave that has not failed it. */
export const elsewhereMs = 10_000;
/** How often load may double after an outage. */
export const openingStepMs = 1_000;
/**
 * How fast paced starts grow: by a twentieth a second, so that the limit of a service is found again within some seconds; by
 * twice as much after each such while, of so many attempts, without a cut, up to twice a second.
 */
export const paceGrowthPerSecond = 0.05;
export const paceGrowthDoublesMs = 6_000;
export const paceGrowthDoublesAttempts = 80;
export const paceGrowthMax = 1;
/** While load comes back: from so many failures in a row on, the next start waits, twice as long each time, up to a second. */
export const holdAfterBad = 5;
export const holdMsMin = 10;
/** So many in a row say that even what is in flight is too much. */
export const cutAfterBad = 8;
/** Slaves that never had all they can take, for lack of jobs: after so many steps load is back all the same. */
export const emptyStepsMax = 30;
/** So many in a row say that nothing succeeds any more. */
export const collapseAttempts = 14;
/** Attempts that make one sample of how many fail at the present load. */
export const sampleAttempts = 20;
/** Where more fails one at a time, a lower pace is tried before that is taken for what fails at any load. */
export const slowerShare = 0.4;
/** How much one more attempt of a job that failed before tells of all of those; below the last, they are bad. */
export const recoveryWeight = 0.05;
export const recoveryMin = 0.1;
/** Failed attempts since the last success, with nothing left to do: fewer are no sign of an outage. */
export const tailAttempts = 25;
/** The time over which successes a second are counted. */
export const successRateMs = 1_000;
/** Nothing settled for this long although jobs are in flight: the status says so. */
export const stalledMs = 30_000;
/** A wake-up this late means that the master itself stood still; timers are never quite on time. */
export const lateMs = 100;
/** Deaths of workers in company that are remembered, to charge one job with each: far more than are open at once. */
export const deathsMax = 256;
/** Different messages counted apart in the summary of dead letters; the rest is counted together. */
export const failureGroupsMax = 1_000;
/** After it stood still, the master reads what waited in the sockets for this long before it judges anybody. */
export const settleMs = 1_000;

/** Longest a master waits for the slaves that it dismissed: 10 s for `teardown`, 5 s for what handlers left running. */
export const goodbyeMs = 17_000;

/** Between supervisor and worker, a message for so many jobs costs next to nothing for each. */
export const messageJobs = 256;
