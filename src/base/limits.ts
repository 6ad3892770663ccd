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
