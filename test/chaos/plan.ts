import { randomFrom } from "../kit/random.ts";
import { type FaultName, kindOf } from "./faults.ts";

/** One fault of a plan. No slave suffers two faults at once, but for those of the master. */
export type Fault = Readonly<{
  /** Since the beginning. */
  atMs: number;
  name: FaultName;
  /** Which slave; -1 if it is not about one. */
  slot: number;
  forMs: number;
  /** Whatever else is chosen about it is drawn from this. */
  pick: number;
}>;

export type PlanOptions = Readonly<{
  seed: number;
  seconds: number;
  slots: number;
  /** Longest pause between two faults; the shortest is a third of it. */
  gapMs: number;
  /** Faults with how likely they are, against each other. */
  faults: Readonly<Partial<Record<FaultName, number>>>;
  /** Slot 0 is never killed, nor its workers: they live long enough for their memory to be judged. */
  sparesFirst?: boolean;
}>;

/** After a fault, its slave or the master is left alone for as long: sessions settle. */
const restMs = 1_000;

/**
 * Draws all faults before the first one is injected: the same seed gives the same plan. Only the moments at which they
 * hit the processes differ from run to run.
 */
export function drawPlan(options: PlanOptions): readonly Fault[] {
  const { seed, seconds, slots, gapMs, faults, sparesFirst = false } = options;
  const random = randomFrom(seed);
  const names = Object.entries(faults).flatMap(([name, weight]) =>
    new Array<FaultName>(weight!).fill(name as FaultName)
  );
  /** When each slot, and behind them the master, is free again. */
  const freeAtMs = new Array<number>(slots + 1).fill(0);
  const plan: Fault[] = [];
  if (names.length === 0) return plan;
  for (let atMs = 500 + random(gapMs); atMs < seconds * 1000; atMs += gapMs / 3 + random(gapMs * 2 / 3)) {
    const name = names[random(names.length)]!;
    const { where, forMs: [shortest, longest] } = kindOf(name);
    const forMs = shortest + random(longest - shortest + 1);
    const pick = random(1 << 30);
    const free = freeAtMs.map((freeMs, place) => freeMs <= atMs ? place : -1).filter((place) => place >= 0);
    const isSpared = (place: number) => sparesFirst && place === 0 && name.startsWith("kill");
    const slaves = free.filter((place) => place < slots && !isSpared(place));
    const place = where === "slave" ? slaves[pick % slaves.length] : slots;
    if (place === undefined || !free.includes(place)) continue;
    if (where === "all" && slaves.length < slots) continue;
    freeAtMs[place] = atMs + forMs + restMs;
    if (where === "all") freeAtMs.fill(atMs + forMs + restMs);
    plan.push({ atMs: Math.round(atMs), name, slot: where === "slave" ? place : -1, forMs, pick });
  }
  return plan;
}

export function faultLine({ atMs, name, slot, forMs }: Fault): string {
  const whom = slot < 0 ? "" : ` slave ${slot}`;
  return `${(atMs / 1000).toFixed(2).padStart(7)} s  ${name}${whom}${
    forMs > 0 ? `, for ${(forMs / 1000).toFixed(2)} s` : ""
  }`;
}

export function countByName(faults: readonly Fault[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { name } of faults) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
