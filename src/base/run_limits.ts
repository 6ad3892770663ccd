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
