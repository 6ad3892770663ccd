/** What a process of this program does: `run` is a master that starts a slave. */
export type Role = "master" | "slave" | "worker";

type Settings = Readonly<Record<string, string>>;

/**
 * Bun's last compiler (FTL) is asked ten times later than by default, after 1,000,000 counts, of which a call has 15
 * and a turn of a loop 1. It takes 10 to 70 ms for a function of ours. What runs once a job gets there within a second
 * where jobs are so small that it matters; what runs once a batch, in each of three processes, would take a fifth of two
 * cores for eight seconds. Thirty times later, a master with 10,000 messages a second was slow for 20 s.
 */
const compileLater: Settings = { BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "1000000" };

/** Freed memory goes back to the system after so many ms, 10 by default, and is paid for anew at every batch. */
const purgeAfter = (ms: number): Settings => ({ MIMALLOC_PURGE_DELAY: String(ms) });

/**
 * What Bun reads in the environment as a process begins. Slaves and workers keep the memory they freed; a master, whose
 * memory is promised to be small, keeps it for a second.
 */
const settings: Readonly<Record<Role, Settings>> = {
  master: { ...purgeAfter(1_000), ...compileLater },
  slave: { ...purgeAfter(-1), ...compileLater },
  worker: { ...purgeAfter(-1), ...compileLater },
};

/** A role, and the names of its settings that are not the user's: `slave:NAME,NAME`. */
const tunedVariable = "TASKMASTER_TUNED";

/** What a process of this role begins with, where the user has set none of it: names and values. */
export function settingsOf(role: Role): Settings {
  return settings[role];
}

/** The environment with the settings of a role, but for those that the user has set. */
export function tuned(environment: Readonly<NodeJS.ProcessEnv>, role: Role): NodeJS.ProcessEnv {
  const users = { ...environment };
  for (const name of namesOf(environment)) delete users[name];
  const own = Object.entries(settings[role]).filter(([name]) => users[name] === undefined);
  const marker = `${role}:${own.map(([name]) => name).join()}`;
  return { ...users, ...Object.fromEntries(own), [tunedVariable]: marker };
}

/** Whether a process with this environment began with the settings of this role. */
export function isTuned(environment: Readonly<NodeJS.ProcessEnv>, role: Role): boolean {
  return environment[tunedVariable]?.startsWith(`${role}:`) === true;
}

/**
 * Takes these settings out of `process.env`, where they have done their work, so that programs of a plugin do not find
 * them; but for those that are started by `Bun.spawn` without `env`, which have the environment this process began with.
 */
export function forgetTuning(): void {
  for (const name of namesOf(process.env)) delete process.env[name];
}

/** What `tuned` put there. The marker may have come from anywhere: it names nothing but settings. */
function namesOf(environment: Readonly<NodeJS.ProcessEnv>): readonly string[] {
  const marker = environment[tunedVariable];
  if (marker === undefined) return [];
  const named = marker.slice(marker.indexOf(":") + 1).split(",");
  return [tunedVariable, ...Object.keys(settings.worker).filter((name) => named.includes(name))];
}
