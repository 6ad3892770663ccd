/** Attempts that a member (a slave, or a worker) must fail in a row before it can be called sick. */
const healthAttempts = 20;
/**
 * Latest attempts remembered for each member. More than `healthAttempts`: where most jobs are bad, more are needed to
 * rule out chance.
 */
const healthMemory = 100;
/**
 * A member is sick if the difference between its failures and the others' would come about by chance with at most this
 * probability.
 */
const sickChance = 0.0005;
/** Pause between two probes of a quarantined slave. */
const quarantineProbeMs = 1_000;

/**
 * Probability that all `ok` successes fall on `others` and none on `tested`, if every attempt were equally likely to
 * succeed (Fisher's exact test, one-sided).
 */
export function chanceOf(tested: number, others: number, ok: number): number {
  let chance = 1;
  for (let i = 0; i < ok; i++) chance *= (others - i) / (tested + others - i);
  return chance;
}

/** Charges to take back, by seq. */
export type Charges = ReadonlyMap<number, Readonly<{ failures: number; crashes: number }>>;

/** What is known of one member, since it joined unless said otherwise. */
type Member = {
  name: string;
  /** Attempts that failed since the last success, repeats of the same job included. */
  streak: number;
  /** When the first failure of the streak was. */
  streakFromMs: number;
  /** The job of the first failure of the streak, and whether another job failed in it too. */
  streakSeq: number;
  isOfSeveral: boolean;
  /** Jobs that failed here since the last success here and that other members then completed. */
  refuted: number;
  /**
   * Ring of the latest attempts: 1 + lease time for a success, the same negated for a failure, NaN for an unused slot.
   */
  recent: Float64Array;
  next: number;
  /** Latest lease time of the attempts that succeeded here. */
  lastGoodLeaseMs: number;
  charges: Map<number, { failures: number; crashes: number }>;
  message: string;
  isQuarantined: boolean;
  quarantinedMs: number;
  /** Notices name this member as sick: it failed more than chance allows, or failed a probe in quarantine. */
  isReported: boolean;
  isUnreported: boolean;
  nextProbeMs: number;
};

/**
 * Members that left in quarantine and are still remembered. A sick slave in a restart loop gets a new id each time, so
 * the number is limited.
 */
const goneMax = 100;

/**
 * Finds members that fail everything while others doing the same work do not: slaves of a run, workers of a slave.
 * Failures at such a member say nothing about the jobs.
 *
 *          20 attempts in a row failed, meanwhile others succeeded, or did 20 of those jobs
 *     HEALTHY -----------------------------------------------> QUARANTINED
 *        ^                      one success                         |
 *        '----------------------------------------------------------'
 *
 * - HEALTHY: the state of a new member, too.
 * - QUARANTINED: gets one probe a second, uncharged, and its attempts count nowhere. Charges since its last success are
 *   taken back. If it was quarantined because others completed its jobs, it may have met an outage that is over:
 *   notices name it only after a probe has failed.
 */
export class Health {
  #members = new Map<string, Member>();
  /** Members with a streak long enough to be sick; nearly always empty. */
  readonly #suspects = new Map<string, Member>();
  /** Members that left while quarantined, oldest first. */
  readonly #gone = new Set<string>();
  /** Attempts leased before this are ignored: much failed everywhere until then. */
  #sinceMs = -Infinity;

  join(id: string, name: string): void {
    this.#gone.delete(id);
    const member = this.#members.get(id);
    if (member !== undefined) member.name = name;
    else this.#members.set(id, newRecord(name));
  }

  /**
   * The member disconnected. A quarantined one stays quarantined if it comes back, among the last `goneMax` that left.
   */
  leave(id: string): void {
    if (!this.isQuarantined(id)) return this.forget(id);
    this.#gone.add(id);
    const [oldest] = this.#gone;
    if (this.#gone.size > goneMax) this.forget(oldest!);
  }

  /** Drops all that is known of the member. */
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

  /** Counts successes at a member and ends its quarantine. Times are 0 or more. */
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

  /** Counts a failed attempt at a member. */
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
    if (member.isQuarantined && leasedMs >= member.quarantinedMs) this.#report(member);
  }

  /** Remembers a charge for an attempt at this member: it is taken back if the member turns out to be sick. */
  charged(id: string, seq: number, what: "failures" | "crashes"): void {
    const charges = this.#members.get(id)?.charges;
    if (charges === undefined) return;
    const charge = charges.get(seq) ?? { failures: 0, crashes: 0 };
    charge[what]++;
    charges.set(seq, charge);
  }

  /** Much failed everywhere until now: sick members must be found anew. */
  startAnew(nowMs: number): void {
    this.#sinceMs = nowMs;
    for (const member of this.#members.values()) member.refuted = 0;
  }

  /** Another member completed a job whose last failure was at this one. */
  refuted(id: string): void {
    const member = this.#members.get(id);
    if (member !== undefined) member.refuted++;
  }

  /** Latest lease time of the attempts that succeeded there; -Infinity if none did. */
  lastGoodLeaseMs(id: string): number {
    return this.#members.get(id)?.lastGoodLeaseMs ?? -Infinity;
  }

  /** Whether every attempt there fails (several jobs, or all since it joined) while another member has successes. */
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

  /** Whether the member may be why attempts fail there: a long streak, while something succeeds elsewhere. */
  isSuspect(id: string): boolean {
    return this.#suspects.has(id) && this.isInDoubt(id);
  }

  /** The id of a member to quarantine now; null if there is none. */
  findSick(): string | null {
    if (this.#suspects.size === 0) return null;
    for (const [id, member] of this.#suspects) {
      if (!member.isOfSeveral) continue;
      // `refuted` also counts: once others completed its jobs, it gets no more, and cannot fail enough to stand out by
      // chance
      if (this.#isAlone(member) || member.refuted >= healthAttempts) return id;
    }
    return null;
  }

  /**
   * Quarantines the member. Returns the charges since its last success, which the caller takes back, and its name and
   * last failure.
   */
  quarantine(id: string, nowMs: number): { charges: Charges; name: string; message: string } {
    const member = this.#members.get(id)!;
    member.isReported = false;
    if (this.#isAlone(member)) this.#report(member);
    member.isQuarantined = true;
    this.#suspects.delete(id);
    member.quarantinedMs = member.nextProbeMs = nowMs;
    const { charges, name, message } = member;
    member.charges = new Map();
    return { charges, name, message };
  }

  /** The next member to report as sick, once each; null if there is none. */
  nextUnreported(): { name: string; message: string } | null {
    for (const member of this.#members.values()) {
      if (!member.isUnreported) continue;
      member.isUnreported = false;
      return { name: member.name, message: member.message };
    }
    return null;
  }

  /** Whether its last quarantine was reported. */
  wasReported(id: string): boolean {
    return this.#members.get(id)?.isReported ?? false;
  }

  #report(member: Member): void {
    if (!member.isReported) member.isReported = member.isUnreported = true;
  }

  nextProbeMs(id: string): number {
    return this.#members.get(id)?.nextProbeMs ?? Infinity;
  }

  probed(id: string, nowMs: number): void {
    const member = this.#members.get(id);
    if (member !== undefined) member.nextProbeMs = nowMs + quarantineProbeMs;
  }

  /** Quarantined members that were reported, with the last failure of each. */
  *sick(): IterableIterator<{ name: string; message: string }> {
    for (const { isQuarantined, isReported, name, message } of this.#members.values()) {
      if (isQuarantined && isReported) yield { name, message };
    }
  }

  /**
   * Whether it alone fails: of attempts leased since its streak began it failed all, while the members that have
   * successes failed so few that this is no chance.
   */
  #isAlone(member: Member): boolean {
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

function newRecord(name: string): Member {
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
    isReported: false,
    isUnreported: false,
    nextProbeMs: Infinity,
  };
}

function note(member: Member, mark: number): void {
  member.recent[member.next] = mark;
  member.next = (member.next + 1) % healthMemory;
}

/** Counts the attempts in a ring that were leased at `fromMs` or later. */
function countSince(recent: Float64Array, fromMs: number): { ok: number; bad: number } {
  let [ok, bad] = [0, 0];
  for (const mark of recent) {
    if (mark - 1 >= fromMs && mark > 0) ok++;
    else if (-mark - 1 >= fromMs && mark < 0) bad++;
  }
  return { ok, bad };
}
