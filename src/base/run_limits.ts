/** Most encoded bytes in one batch, though at least one job: a slave must be able to hand most of it back. */
export const leaseBytesMax = 1 << 20;
/** Pause between two probes during an outage. */
export const probeMs = 1_000;
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
