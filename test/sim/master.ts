import { countOf, rangesOf } from "../../src/lib/ranges.ts";
import { Run } from "../../src/core/run.ts";
import { namesTwice } from "../../src/master/sessions.ts";
import type { Effect, Notice, Outcome, RunEvent, RunState, SessionId } from "../../src/core/types.ts";
import type { Answer, LeaseName } from "../../src/protocol/messages.ts";
import type { Checks } from "./checks.ts";
import type { Disk } from "./disk.ts";
import type { SlaveLink } from "./slave.ts";
import { type Behaviour, failuresMax, heartbeatMs, type Plan } from "./plan.ts";
import { brokenSource, SimSource } from "./source.ts";
import { digest, type ToMaster } from "./wire.ts";
import { Process, type World } from "./world.ts";

type Session = { id: SessionId; slaveId: string; link: SlaveLink; hasJoined: boolean; isLeaving: boolean };

/** A master process: the real `Run`, with a model of the shell that carries out its effects. */
export class SimMaster {
  readonly id: string;
  readonly process: Process;
  readonly run: Run;
  /** Every applied answer, to be sent again as a fault. */
  readonly heard: { session: SessionId; number: number; answer: Answer }[] = [];
  readonly #plan: Plan;
  readonly #world: World;
  readonly #checks: Checks;
  readonly #disk: Disk;
  readonly #source: SimSource;
  readonly #onEnd: (outcome: Outcome, state: RunState) => void;
  #sessions = new Map<SessionId, Session>();
  #sessionsMade = 0;
  #wakeMs = -Infinity;
  #isSaving = false;
  #burying = 0;
  readonly #beganMs: number;
  /** Jobs leased by this master, and those that slaves handed back untried. */
  #leased = 0;
  #released = 0;
  #outcome: Outcome | null = null;

  constructor(
    life: number,
    parts: { world: World; plan: Plan; checks: Checks; disk: Disk; behaviourOf(id: number): Behaviour },
    onEnd: (outcome: Outcome, state: RunState) => void,
  ) {
    this.id = `master ${life}`;
    this.#world = parts.world;
    this.#plan = parts.plan;
    this.#checks = parts.checks;
    this.#disk = parts.disk;
    this.#onEnd = onEnd;
    this.process = new Process(this.#world);
    this.#beganMs = this.#world.nowMs;
    const { jobsMax, bytesMax, backoffMs, graceMs, orphans, ratePerSecond, inFlightMax } = this.#plan;
    const settings = {
      masterId: this.id,
      jobsMax,
      bytesMax,
      failuresMax,
      backoffMs,
      heartbeatMs,
      graceMs,
      reclaimMs: orphans ? 3 * heartbeatMs : 0,
      timeoutMs: 0,
      maxOutageMs: 120_000,
      maxOutageAtEndMs: 40_000,
      ratePerSecond,
      inFlightMax,
      random: () => this.#world.random.fraction(),
      digest,
    };
    this.run = new Run(settings, this.#disk.state, this.#world.nowMs);
    this.#source = new SimSource(this.#plan, this.process, {
      demand: () => this.run.demand(),
      onBlock: (block, moreAtHand) => this.#yielded({ kind: "yielded", block, moreAtHand }),
      onRow: (row) => this.#yielded({ kind: "unsendable", row }),
      isUnsendable: (id) => parts.behaviourOf(id) === "unsendable",
      onEnd: () => this.apply({ kind: "source ended" }),
      onError: (message) => this.apply({ kind: "source failed", message, fatal: false }),
    });
    this.#turn();
    this.#beat();
  }

  get sessions(): SessionId[] {
    return [...this.#sessions.values()].filter(({ hasJoined }) => hasJoined).map(({ id }) => id);
  }

  /** Whether a session was given jobs of this lease and has not answered them yet. */
  sessionHolds(session: SessionId, lease: LeaseName): boolean {
    return this.#checks.isLeasedTo(session, lease);
  }

  /** Accepts the slave at this link. */
  accept(slaveId: string, link: SlaveLink): { receive(message: ToMaster): void; closed(): void } {
    const session = { id: ++this.#sessionsMade, slaveId, link, hasJoined: false, isLeaving: false };
    this.#sessions.set(session.id, session);
    link.toSlave({ kind: "welcome", runId: "run", masterId: this.id });
    return {
      receive: (message) => this.#receive(session, message),
      closed: () => this.#lost(session),
    };
  }

  die(isSilent: boolean): void {
    if (!this.process.isAlive) return;
    for (const { link } of this.#sessions.values()) isSilent ? link.die() : link.close("master");
    this.process.isAlive = false;
    const { handedOut, settled } = this.run.status(this.#world.nowMs);
    this.#checks.masterEnded(handedOut, settled);
  }

  pause(forMs: number): void {
    this.process.pause(this.#world.nowMs + forMs, () => this.#tick());
  }

  stop(): void {
    this.apply({ kind: "stop" });
  }

  apply(event: RunEvent): void {
    const { nowMs } = this.#world;
    if (nowMs >= this.#wakeMs) this.run.tick(nowMs);
    this.#world.trace.note(event.kind, "session" in event ? event.session : 0);
    this.run.apply(event, nowMs);
    this.#turn();
  }

  #turn(): void {
    const { nowMs } = this.#world;
    this.#wakeMs = this.run.tick(nowMs);
    for (const effect of this.run.takeEffects()) this.#carryOut(effect);
    this.#source.pull();
    this.#checkpoint();
    this.#armTimer();
  }

  #yielded(event: Extract<RunEvent, { kind: "yielded" | "unsendable" }>): void {
    this.apply(event);
    const { buffered, inFlight } = this.run.status(this.#world.nowMs);
    this.#checks.bounded(buffered + inFlight, this.#plan.jobsMax);
  }

  #armTimer(): void {
    const wakeMs = this.#wakeMs;
    if (wakeMs === Infinity) return;
    this.#world.at(wakeMs, () => this.process.do(() => this.#wakeMs === wakeMs && this.#tick()));
  }

  #tick(): void {
    this.#checks.turned(this.#world.nowMs);
    if (this.#world.nowMs >= this.#wakeMs) this.#turn();
  }

  #beat(): void {
    for (const { link } of this.#sessions.values()) link.toSlave({ kind: "beat" });
    this.process.after(heartbeatMs, () => this.#beat());
  }

  #checkpoint(): void {
    if (this.#isSaving || !this.run.isDirty() || this.#outcome !== null) return;
    this.#isSaving = true;
    const { version, state } = this.run.capture();
    this.#disk.save(this.process, state, () => {
      this.apply({ kind: "saved", version });
      this.process.after(this.#plan.checkpointMs, () => {
        this.#isSaving = false;
        this.#checkpoint();
        this.#finish();
      });
    });
  }

  /** Makes the last save once no other save is in flight. */
  #finish(): void {
    if (this.#outcome === null || this.#isSaving || this.#burying > 0) return;
    this.#isSaving = true;
    const { state } = this.run.capture();
    this.#disk.save(this.process, state, () => this.#onEnd(this.#outcome!, state));
  }

  #receive(session: Session, message: ToMaster): void {
    const { id } = session;
    if (this.#sessions.get(id) !== session) return;
    if (message.kind === "ready") return this.#join(session, message);
    if (!session.hasJoined) return;
    this.apply({ kind: "heard", session: id });
    switch (message.kind) {
      case "credit":
        return this.apply({ kind: "credit", session: id, credit: message.credit });
      case "answer":
        // a real master would end the session
        if (namesTwice(message)) {
          throw new Error(`answer ${message.number} of session ${id} names a job twice`);
        }
        return this.#answer(session, message.number, message);
      case "leaving":
        session.isLeaving = true;
        return this.apply({ kind: "leaving", session: id });
      case "excused":
      case "again":
      case "late":
      case "notice":
      case "bye":
      case "beat":
        return;
      default:
        return message satisfies never;
    }
  }

  #join(session: Session, { credit, held }: Extract<ToMaster, { kind: "ready" }>): void {
    session.hasJoined = true;
    const { id, slaveId } = session;
    this.apply({ kind: "joined", session: id, slaveId, slaveName: slaveId, credit, held });
  }

  #answer({ id }: Session, number: number, { lease, done, skipped, failed, crash, released }: Answer): void {
    if (this.#outcome !== null) return; // too late to count
    const answer = { lease, done, skipped, failed, crash, released };
    this.heard.push({ session: id, number, answer });
    this.#world.trace.note("answer", id, lease.number, ...done);
    const failures = rangesOf(failed.map(({ seq }) => seq));
    this.#checks.told([done, skipped], failed.map(({ seq }) => seq));
    this.#released += countOf(released);
    for (const ranges of [done, skipped, released, failures, crash?.suspects ?? []]) {
      for (let i = 0; i < ranges.length; i += 2) {
        for (let seq = ranges[i]!; seq < ranges[i + 1]!; seq++) this.#checks.unleased(id, lease, seq);
      }
    }
    this.apply({ kind: "answered", session: id, number, answer, at: "" });
  }

  /** The bucket of a rate starts empty: what was leased and not handed back never exceeds what the time allowed. */
  #checkLimits(): void {
    const { ratePerSecond, inFlightMax } = this.#plan;
    const nowMs = this.#world.nowMs;
    const begunMax = ratePerSecond === Infinity ? Infinity : (nowMs - this.#beganMs) * ratePerSecond / 1_000;
    const allowed = begunMax + this.#released;
    this.#checks.limited(this.#leased, allowed, this.run.status(nowMs).inFlight, inFlightMax);
  }

  #lost(session: Session): void {
    if (!this.#sessions.delete(session.id)) return;
    this.#checks.allowRepeats(this.#checks.sessionEnded(session.id, !session.isLeaving));
    if (session.hasJoined) {
      const how = session.isLeaving ? "drained" : "closed";
      this.apply({ kind: "left", session: session.id, how, at: "" });
    }
  }

  #carryOut(effect: Effect): void {
    if (!this.process.isAlive) return;
    this.#world.trace.note(effect.kind, "session" in effect ? effect.session : 0);
    switch (effect.kind) {
      case "lease":
        return this.#lease(effect);
      case "keep":
        return this.#keep(effect);
      case "covered":
        return this.#sessions.get(effect.session)?.link.toSlave({ kind: "saved", through: effect.through });
      case "drain":
        return this.#sessions.get(effect.session)?.link.toSlave({ kind: "drain" });
      case "close":
        return this.#close(effect);
      case "bury":
        return this.#bury(effect);
      case "open source":
        return this.#source.open(effect.last);
      case "close source":
        return this.#source.close();
      case "notice":
        return this.#notice(effect.notice);
      case "end":
        this.#checks.ended(effect.outcome, this.run.status(this.#world.nowMs).stranded);
        this.#outcome = effect.outcome;
        return this.#finish();
      default:
        return effect satisfies never;
    }
  }

  #lease({ session, lease, parts, attempt, alone }: Extract<Effect, { kind: "lease" }>): void {
    const seq = parts[0]!.seq;
    const end = parts.at(-1)!.end;
    for (let each = seq; each < end; each++) this.#checks.leased(session, lease, each, alone);
    this.#leased += end - seq;
    this.#checkLimits();
    const jobs = Uint8Array.from(parts.flatMap((part) => [...part.bytes]));
    const message = {
      kind: "lease",
      number: lease.number,
      seq,
      count: end - seq,
      attempt,
      alone,
      probe: false,
      jobs,
    } as const;
    this.#sessions.get(session)?.link.toSlave(message);
  }

  #keep({ session, leases }: Extract<Effect, { kind: "keep" }>): void {
    for (const { lease, jobs } of leases) {
      for (let i = 0; i < jobs.length; i += 2) {
        for (let seq = jobs[i]!; seq < jobs[i + 1]!; seq++) this.#checks.leased(session, lease, seq, "no");
      }
    }
    this.#sessions.get(session)?.link.toSlave({ kind: "keep", leases });
  }

  #close({ session: id, how }: Extract<Effect, { kind: "close" }>): void {
    const { link } = this.#sessions.get(id)!;
    if (how === "silent") this.#checks.silent(id, this.#world.nowMs - link.reachedMasterMs);
    link.close("master");
    this.#sessions.delete(id);
    this.#checks.allowRepeats(this.#checks.sessionEnded(id, false));
  }

  /** Checks that the notices fit the plan's faults. No source here starts over. */
  #notice(notice: Notice): void {
    if (notice.code === "source started over") throw new Error("the source is said to have started over");
    if (notice.code === "source failed" && !notice.fault.message.startsWith(brokenSource)) {
      throw new Error(notice.fault.message);
    }
  }

  #bury({ letters }: Extract<Effect, { kind: "bury" }>): void {
    this.#burying++;
    for (const letter of letters) this.#checks.spent(letter);
    this.#disk.bury(this.process, letters, () => {
      this.#burying--;
      this.apply({ kind: "buried", seqs: rangesOf(letters.map(({ seq }) => seq)) });
      this.#finish();
    });
  }
}
