import { Random } from "./random.ts";

/** The parameters of one seed. Times are in milliseconds, probabilities per thousand. */
export type Plan = ReturnType<typeof planOf>;

export const heartbeatMs = 1_000;
export const failuresMax = 3;

/** How a job behaves, wherever it runs. */
export type Behaviour =
  | "unsendable"
  | "good"
  | "flaky"
  | "bad"
  | "fatal"
  | "skips"
  | "slow"
  | "poison"
  | "killer";

export function planOf(seed: number) {
  const random = new Random(seed ^ 0x5eed);
  const isQuiet = random.perMille(60); // no faults at all: then nothing may run twice
  const hasOutage = !isQuiet && random.perMille(80);
  const often = (most: number) => (isQuiet || random.perMille(400) ? 0 : random.int(1, most));
  // a generator of its own, so that older seeds keep their traces
  const rows = new Random(seed ^ 0xbad);
  const limits = limitsOf(new Random(seed ^ 0x9a7e), isQuiet || hasOutage);
  const world = isQuiet ? well : worldOf(new Random(seed ^ 0xace));
  const plan = {
    isQuiet,
    jobs: hasOutage || random.perMille(120) ? random.int(120, 300) : random.int(0, 90),
    /** Whether the source treats `last` as inclusive. */
    isInclusive: random.perMille(500),
    hasCursors: random.perMille(500),
    /** Most jobs in one block of the source, and its longest pause. */
    blockMax: random.pick([1, 3, 10, 50]),
    sourcePauseMs: random.pick([0, 5, 200]),
    jobsMax: random.pick([3, 10, 40, 100]),
    bytesMax: random.pick([100, 1_000, 1_000_000]),
    slaves: random.int(1, 4),
    workers: random.int(1, 3),
    concurrency: random.int(1, 3),
    extraCredit: random.pick([0, 0, 2, 20]),
    latencyMs: random.pick([0, 1, 20, 300]),
    jobMs: hasOutage ? random.pick([1, 20]) : random.pick([1, 20, 200, 1_500]),
    saveMs: random.pick([1, 10, 400]),
    checkpointMs: random.pick([100, 1_000]),
    backoffMs: hasOutage ? random.pick([1, 20]) : random.pick([1, 100, 1_000]),
    graceMs: random.pick([100, 3_000]),
    orphans: random.perMille(800),
    /** Jobs per thousand that misbehave, by kind. */
    behaviours: {
      flaky: often(200),
      bad: often(60),
      fatal: often(60),
      skips: often(100),
      slow: often(100),
      poison: often(30),
      killer: often(12),
      unsendable: rows.perMille(400) ? rows.int(1, 150) : 0,
    },
    /** Probability of each fault, drawn every `faultEveryMs`. */
    faultEveryMs: random.pick([100, 500, 2_000]),
    faultsEndMs: random.int(1_000, 20_000),
    faults: {
      slaveDies: often(60),
      hostDies: often(40),
      linkHeld: often(80),
      linkHeldOneWay: often(60),
      linkDies: often(50),
      slavePaused: often(60),
      workerDies: often(60),
      masterDies: often(60),
      masterPaused: often(60),
      masterStopped: often(40),
      staleAnswer: often(250),
      sourceThrows: often(40),
      redials: often(60),
    },
    /** All handlers throw for this part of each ten seconds. */
    outageMs: hasOutage ? random.int(500, 8_000) : 0,
  };
  return { ...plan, ...world, ...limits };
}

/** What the operator allows; usually all. An outage must end in time, so there is no rate then. */
function limitsOf(random: Random, isUnlimited: boolean): { ratePerSecond: number; inFlightMax: number } {
  const none = { ratePerSecond: Infinity, inFlightMax: Infinity };
  if (isUnlimited || !random.perMille(250)) return none;
  return random.perMille(500)
    ? { ...none, ratePerSecond: random.pick([20, 50, 200, 5_000]) }
    : { ...none, inFlightMax: random.pick([1, 2, 5, 20]) };
}

/** Causes of failures besides outages; usually none. */
const well = {
  /** All handlers of this slave throw at once until faults end; 0 for none. */
  sickSlave: 0,
  /**
   * The called service admits this many calls a second, from all slaves together, until faults end; 0 for no limit.
   */
  admitsPerSecond: 0,
  /** All jobs with `first <= id < second` are bad. */
  hole: [0, 0] as readonly [number, number],
};

/** Larger plans: a cause that only a full window of attempts can show needs more jobs, and more at once. */
function worldOf(random: Random) {
  if (!random.perMille(200)) return well;
  const world = { ...well, jobs: random.int(200, 400), jobsMax: 100, bytesMax: 1_000_000 };
  const from = random.int(0, 150);
  return random.pick([
    { ...world, slaves: random.int(2, 4), sickSlave: random.int(1, 2) },
    {
      ...world,
      admitsPerSecond: random.pick([20, 50]),
      // all slots at once are far too many for the service, one job at a time is not
      slaves: random.int(2, 4),
      workers: 3,
      concurrency: 3,
      jobMs: 20,
      latencyMs: 20,
      // retries without a delay would spend a job before a hundred attempts have ended
      backoffMs: 1_000,
    },
    { ...world, hole: [from, from + random.int(5, 90)] as const },
  ]);
}

/** Most good jobs that may become dead letters because of the environment. */
export function burnedMaxOf({ jobsMax, bytesMax, admitsPerSecond }: Plan): number {
  // the window of attempts never fills
  if (jobsMax < 40 || bytesMax < 100_000) return Infinity;
  // with less than a quarter failing there is no test, and one job may fail three times by chance
  return admitsPerSecond > 0 ? 4 : 0;
}

/** Jobs whose handlers always succeed unless the environment prevents it. */
export const neverFails: ReadonlySet<Behaviour> = new Set(["good", "slow", "skips"]);

export function behaviourOf(plan: Plan, seed: number, id: number): Behaviour {
  const random = new Random(Math.imul(seed, 31) + id);
  for (const [behaviour, rate] of Object.entries(plan.behaviours)) {
    if (random.perMille(rate)) return behaviour as Behaviour;
  }
  return id >= plan.hole[0] && id < plan.hole[1] ? "bad" : "good";
}
