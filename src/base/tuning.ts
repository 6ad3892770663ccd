/** What a process of this program does: `run` is a master that starts a slave. */
export type Role = "master" | "slave" | "worker";

/**
 * Bun's last compiler (FTL) is asked thirty times later than by default (100,000; a call counts 15, a turn of a loop 1).
 * What runs once a job or oftener is compiled within the first second all the same. What runs once a batch is not worth
 * it, and would take a fifth of two cores for the first eight seconds of each of three processes.
 */
const later = { BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "3000000" };

/**
 * What Bun reads in the environment as a process begins. Memory that was freed goes back to the system after
 * `MIMALLOC_PURGE_DELAY` ms, 10 by default, and is paid for anew at every batch: a fifth of the throughput of small
 * jobs. Slaves and workers keep it. A master, whose memory is promised to be small, keeps it for a second.
 */
const settings: Readonly<Record<Role, Readonly<Record<string, string>>>> = {
  master: { MIMALLOC_PURGE_DELAY: "1000", ...later },
  slave: { MIMALLOC_PURGE_DELAY: "-1", ...later },
  worker: { MIMALLOC_PURGE_DELAY: "-1", ...later },
};

/** Names of the settings that are not the user's. */
const tunedVariable = "TASKMASTER_TUNED";

/** The environment with the settings of a role, but for those that the user has set. */
export function tuned(environment: Readonly<NodeJS.ProcessEnv>, role: Role): NodeJS.ProcessEnv {
  const own = Object.entries(settings[role]).filter(([name]) => environment[name] === undefined);
  const names = own.map(([name]) => name).join();
  return { ...environment, ...Object.fromEntries(own), [tunedVariable]: names };
}

/** Whether a process with this environment began with the settings of its role. */
export function isTuned(environment: Readonly<NodeJS.ProcessEnv>): boolean {
  return environment[tunedVariable] !== undefined;
}

/**
 * Takes these settings out of the environment of this process, where they have done their work: no program that a
 * plugin starts is to find them.
 */
export function forgetTuning(): void {
  const names = process.env[tunedVariable];
  if (names === undefined) return;
  for (const name of [tunedVariable, ...names.split(",")]) delete process.env[name];
}
