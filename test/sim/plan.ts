import { Random } from "./random.ts";

/** What one seed is about. Times in milliseconds, rates a thousand. */
export type Plan = ReturnType<typeof planOf>;

export const heartbeatMs = 1_000;
export const failuresMax = 3;

/** How a job behaves wherever it runs. */
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
  const isQuiet = random.perMille(60); // no fault at all: then nothing runs twice
  const hasOutage = !isQuiet && random.perMille(80);
  const often = (most: number) => (isQuiet || random.perMille(400) ? 0 : random.int(1, most));
  // Of a generator of its own: what older seeds play stays the same.
  const rows = new Random(seed ^ 0xbad);
  const world = isQuiet ? well : worldOf(new Random(seed ^ 0xace));
  const plan = {
    isQuiet,
    jobs: hasOutage || random.perMille(120) ? random.int(120, 300) : random.int(0, 90),
    /** Whether the source reads `last` as inclusive. */
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
    /** Which jobs misbehave. */
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
    /** How likely each fault is, every `faultEveryMs`. */
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
    /** For so long of each ten seconds all handlers throw. */
    outageMs: hasOutage ? random.int(500, 8_000) : 0,
  };
  return { ...plan, ...world };
}

/** Whose fault failures are, beside outages: nearly always nobody's. */
const well = {
  /** Until the faults end, all handlers of this slave throw at once; 0 for none. */
  sickSlave: 0,
  /** Until the faults end, a service admits so many calls a second, whoever makes them; 0 for any number. */
  admitsPerSecond: 0,
  /** All of these, below the second, are bad. */
  hole: [0, 0] as readonly [number, number],
};

/** What only a whole window of attempts can tell needs more jobs than that, and as many at once. */
function worldOf(random: Random) {
  if (!random.perMille(200)) return well;
  const world = { ...well, jobs: random.int(200, 400), jobsMax: 100, bytesMax: 1_000_000 };
  const from = random.int(0, 150);
  return random.pick([
    { ...world, slaves: random.int(2, 4), sickSlave: random.int(1, 2) },
    {
      ...world,
      admitsPerSecond: random.pick([20, 50]),
      // all at once are far too many for it, and one at a time is not
      slaves: random.int(2, 4),
      workers: 3,
      concurrency: 3,
      jobMs: 20,
      latencyMs: 20,
      // what is tried again at once is spent before a hundred attempts can have ended
      backoffMs: 1_000,
    },
    { ...world, hole: [from, from + random.int(5, 90)] as const },
  ]);
}

/** Most good jobs that may die of what the world does. */
export function burnedMaxOf({ jobsMax, bytesMax, admitsPerSecond }: Plan): number {
  // there is never a window of attempts
  if (jobsMax < 40 || bytesMax < 100_000) return Infinity;
  // where less than a quarter fails there is no test, and chance may have the same job thrice
  return admitsPerSecond > 0 ? 4 : 0;
}

/** Jobs whose handlers always succeed, unless the world is against it. */
export const neverFails: ReadonlySet<Behaviour> = new Set(["good", "slow", "skips"]);

export function behaviourOf(plan: Plan, seed: number, id: number): Behaviour {
  const random = new Random(Math.imul(seed, 31) + id);
  for (const [behaviour, rate] of Object.entries(plan.behaviours)) {
    if (random.perMille(rate)) return behaviour as Behaviour;
  }
  return id >= plan.hole[0] && id < plan.hole[1] ? "bad" : "good";
}
