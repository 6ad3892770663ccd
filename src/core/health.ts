/** Attempts in a row that a slave, or a worker, must fail before it can be the reason. */
const healthAttempts = 20;
/** So many are remembered of each: where most rows are bad, it takes more than those to tell a slave from chance. */
const healthMemory = 100;
/** A slave is the reason once it would fail so much, and others so little, by chance in so few cases. */
const sickChance = 0.0005;
/** Pause between two probes of a slave in quarantine. */
const quarantineProbeMs = 1_000;

/**
 * How likely it is that none of `tested` and `ok` of `others` succeed, were all of them equally likely to: of all ways to
 * place the successes, those where all are among the others.
 */
export function chanceOf(tested: number, others: number, ok: number): number {
  let chance = 1;
  for (let i = 0; i < ok; i++) chance *= (others - i) / (tested + others - i);
  return chance;
}

/** Charges to take back, by seq. */
export type Charges = ReadonlyMap<number, Readonly<{ failures: number; crashes: number }>>;

/** Of one member since it joined, or since its last success where that is said. */
type Record = {
  name: string;
  /** Attempts that failed in a row, several of the same job included. */
  streak: number;
  /** When the first of them failed. */
  streakFromMs: number;
  /** The job of the first of them, and whether there was another one. */
  streakSeq: number;
  isOfSeveral: boolean;
  /** Of the jobs that failed here, those that others have done since the last success here. */
  refuted: number;
  /** The latest attempts, in a ring: one more than when each was leased, negative if it failed; NaN where there is none. */
  recent: Float64Array;
  next: number;
  /** When the latest of the attempts that succeeded here were leased. */
  lastGoodLeaseMs: number;
  charges: Map<number, { failures: number; crashes: number }>;
  message: string;
  isQuarantined: boolean;
  quarantinedMs: number;
  /** It is clear that it is this member: not only that others did what it failed. */
  isNamed: boolean;
  isToTell: boolean;
  nextProbeMs: number;
};

/** A sick slave that is started anew all the time is another one each time: so many are remembered. */
const goneMax = 100;

/**
 * Tells which of several members that do the same work fails everything while others do not: slaves of a run, workers
 * of a slave. What such a member failed says nothing about the jobs.
 *
 *          20 attempts in a row failed, meanwhile others succeeded, or did 20 of those jobs
 *     HEALTHY -----------------------------------------------> QUARANTINED
 *        ^                      one success                         |
 *        '----------------------------------------------------------'
 *
 * - HEALTHY: also all who are not known yet.
 * - QUARANTINED: gets one probe a second, uncharged; its attempts count nowhere. What it was charged for since its last
 *   success is taken back. Where others did its jobs, it may have met an outage that is over: it is named only once a
 *   probe has failed.
 */
export class Health {
  #members = new Map<string, Record>();
  /** Those that failed so much in a row that they may be sick; nearly always none. */
  readonly #suspects = new Map<string, Record>();
  /** Those that left while they were quarantined, the latest of them. */
  readonly #gone = new Set<string>();
  /** What was leased before tells nothing: much failed everywhere. */
  #sinceMs = -Infinity;

  join(id: string, name: string): void {
    this.#gone.delete(id);
    const member = this.#members.get(id);
    if (member !== undefined) member.name = name;
    else this.#members.set(id, newRecord(name));
  }

  /** It is gone. One that was quarantined is known again if it comes back, unless many more were since. */
  leave(id: string): void {
    if (!this.isQuarantined(id)) return this.forget(id);
    this.#gone.add(id);
    const [oldest] = this.#gone;
    if (this.#gone.size > goneMax) this.forget(oldest!);
  }

  /** It is gone for good. */
  forget(id: string): void {
    this.#members.delete(id);
    this.#gone.delete(id);
    this.#suspects.delete(id);
  }

  has(id: string): boolean {
    return this.#members.has(id);
  }

  isQuarantined(id: string): boolean {
    return this.#members.get(id)?.isQuarantined ?? false;
  }

  /** Attempts succeeded at this member, which ends its quarantine. Times are 0 or more. */
  succeeded(id: string, count: number, leasedMs: number): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    if (member.streak > 0) {
      member.streak = member.refuted = 0;
      this.#suspects.delete(id);
    }
    if (member.charges.size > 0) member.charges.clear();
    if (leasedMs > member.lastGoodLeaseMs) member.lastGoodLeaseMs = leasedMs;
    const mark = 1 + Math.max(0, leasedMs);
    if (count >= healthMemory) member.recent.fill(mark);
    else for (let i = 0; i < count; i++) note(member, mark);
    member.isQuarantined = false;
  }

  /** An attempt failed there. */
  failed(id: string, seq: number, message: string, leasedMs: number, nowMs: number): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    if (member.streak === 0) {
      member.streakFromMs = nowMs;
      member.streakSeq = seq;
      member.isOfSeveral = false;
    } else if (seq !== member.streakSeq) member.isOfSeveral = true;
    member.streak++;
    if (member.streak >= healthAttempts && !member.isQuarantined) this.#suspects.set(id, member);
    member.message = message;
    note(member, -1 - Math.max(0, leasedMs));
    if (member.isQuarantined && leasedMs >= member.quarantinedMs) this.#name(member);
  }

  /** What was charged for an attempt at this member: taken back if it turns out to fail everything. */
  charged(id: string, seq: number, what: "failures" | "crashes"): void {
    const charges = this.#members.get(id)?.charges;
    if (charges === undefined) return;
    const charge = charges.get(seq) ?? { failures: 0, crashes: 0 };
    charge[what]++;
    charges.set(seq, charge);
  }

  /** Much failed everywhere until now: whoever is sick shows it anew. */
  startAnew(nowMs: number): void {
    this.#sinceMs = nowMs;
    for (const member of this.#members.values()) member.refuted = 0;
  }

  /** Another member did a job that had failed at this one last. */
  refuted(id: string): void {
    const member = this.#members.get(id);
    if (member !== undefined) member.refuted++;
  }

  /** When the latest of the attempts that succeeded there were leased; -Infinity if none did. */
  lastGoodLeaseMs(id: string): number {
    return this.#members.get(id)?.lastGoodLeaseMs ?? -Infinity;
  }

  /** Whether nothing succeeds at it, of several jobs or since it joined, while something does at another one. */
  isInDoubt(id: string): boolean {
    const member = this.#members.get(id);
    if (member === undefined || member.streak === 0) return false;
    if (!member.isOfSeveral && member.lastGoodLeaseMs !== -Infinity) return false;
    for (const other of this.#members.values()) {
      if (
        other !== member && !other.isQuarantined && other.streak < healthAttempts &&
        other.lastGoodLeaseMs !== -Infinity
      ) {
        return true;
      }
    }
    return false;
  }

  /** Whether it may well be the reason for what fails there: it failed so much in a row, while something succeeds elsewhere. */
  isSuspect(id: string): boolean {
    return this.#suspects.has(id) && this.isInDoubt(id);
  }

  /** A member that is to be quarantined now; null if there is none. */
  findSick(): string | null {
    if (this.#suspects.size === 0) return null;
    for (const [id, member] of this.#suspects) {
      if (!member.isOfSeveral) continue;
      // one that failed all there was gets none of it again, and cannot show any more that it fails alone
      if (this.#isAlone(member) || member.refuted >= healthAttempts) return id;
    }
    return null;
  }

  /** Returns what it was charged for since its last success, which is to be taken back, and why it is sick. */
  quarantine(id: string, nowMs: number): { charges: Charges; name: string; message: string } {
    const member = this.#members.get(id)!;
    member.isNamed = false;
    if (this.#isAlone(member)) this.#name(member);
    member.isQuarantined = true;
    this.#suspects.delete(id);
    member.quarantinedMs = member.nextProbeMs = nowMs;
    const { charges, name, message } = member;
    member.charges = new Map();
    return { charges, name, message };
  }

  /** One to be told of, since it was found to fail everything; null if there is none. */
  nextNamed(): { name: string; message: string } | null {
    for (const member of this.#members.values()) {
      if (!member.isToTell) continue;
      member.isToTell = false;
      return { name: member.name, message: member.message };
    }
    return null;
  }

  /** Whether it was told of in its last quarantine. */
  wasNamed(id: string): boolean {
    return this.#members.get(id)?.isNamed ?? false;
  }

  #name(member: Record): void {
    if (!member.isNamed) member.isNamed = member.isToTell = true;
  }

  nextProbeMs(id: string): number {
    return this.#members.get(id)?.nextProbeMs ?? Infinity;
  }

  probed(id: string, nowMs: number): void {
    const member = this.#members.get(id);
    if (member !== undefined) member.nextProbeMs = nowMs + quarantineProbeMs;
  }

  /** Those that are quarantined, and what each failed with last. */
  *sick(): IterableIterator<{ name: string; message: string }> {
    for (const { isQuarantined, isNamed, name, message } of this.#members.values()) {
      if (isQuarantined && isNamed) yield { name, message };
    }
  }

  /**
   * Whether it fails alone: of what was leased since its streak began, it failed all, and others, of those that do
   * succeed in something, so little that this is no chance.
   */
  #isAlone(member: Record): boolean {
    const fromMs = Math.max(member.streakFromMs, this.#sinceMs);
    const { bad } = countSince(member.recent, fromMs);
    const others = { ok: 0, bad: 0 };
    for (const other of this.#members.values()) {
      if (other === member || other.isQuarantined || other.streak >= healthAttempts) continue;
      const since = countSince(other.recent, fromMs);
      others.ok += since.ok;
      others.bad += since.bad;
    }
    return others.ok > 0 && chanceOf(bad, others.ok + others.bad, others.ok) <= sickChance;
  }
}

function newRecord(name: string): Record {
  return {
    name,
    streak: 0,
    streakFromMs: 0,
    streakSeq: -1,
    isOfSeveral: false,
    refuted: 0,
    recent: new Float64Array(healthMemory).fill(NaN),
    next: 0,
    lastGoodLeaseMs: -Infinity,
    charges: new Map(),
    message: "",
    isQuarantined: false,
    quarantinedMs: Infinity,
    isNamed: false,
    isToTell: false,
    nextProbeMs: Infinity,
  };
}

function note(member: Record, mark: number): void {
  member.recent[member.next] = mark;
  member.next = (member.next + 1) % healthMemory;
}

/** Of the attempts in a ring, those that were leased then or later. */
function countSince(recent: Float64Array, fromMs: number): { ok: number; bad: number } {
  let [ok, bad] = [0, 0];
  for (const mark of recent) {
    if (mark - 1 >= fromMs && mark > 0) ok++;
    else if (-mark - 1 >= fromMs && mark < 0) bad++;
  }
  return { ok, bad };
}
