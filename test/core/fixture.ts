import { createHash } from "node:crypto";
import type { Block } from "../../src/lib/bytes.ts";
import type { Ranges } from "../../src/lib/ranges.ts";
import { Run } from "../../src/core/run.ts";
import type { Effect, RunEvent, RunSettings, RunState, RunStatus } from "../../src/core/types.ts";
import { noticeInWords, reasonInWords } from "../../src/observe/phrases.ts";
import type { Answer, LeaseJobs, LeaseName } from "../../src/protocol/messages.ts";

export const settings: RunSettings = {
  masterId: "m1",
  jobsMax: 1_000,
  bytesMax: 1 << 20,
  failuresMax: 3,
  backoffMs: 1_000,
  heartbeatMs: 5_000,
  graceMs: 30_000,
  reclaimMs: 15_000,
  timeoutMs: 0,
  maxOutageMs: Infinity,
  maxOutageAtEndMs: 300_000,
  random: () => 0.5,
  digest: (bytes) => createHash("sha256").update(bytes).digest(),
};

/** Jobs of four bytes each, or of `bytes`: their numbers, from `first` on. */
export function blockOf(first: number, count: number, bytes = 4): Block {
  const all = new Uint8Array(count * bytes);
  const view = new DataView(all.buffer);
  for (let i = 0; i < count; i++) view.setUint32(i * bytes, first + i);
  return { bytes: all, ends: Uint32Array.from({ length: count }, (_, i) => (i + 1) * bytes), cursors: null };
}

/** The wall-clock time in every event. */
export const wallClock = "2026-01-01T00:00:00Z";

export function numberOf(job: Uint8Array): number {
  return new DataView(job.buffer, job.byteOffset).getUint32(0);
}

type LeaseEffect = Extract<Effect, { kind: "lease" }>;

/** A `Run` with a clock of its own, and short methods for a shell's events. */
export class TestRun {
  readonly run: Run;
  nowMs = 0;
  #yielded: number;
  #answers = 0;
  #sessions: number[] = [];

  constructor(
    state: RunState | null = null,
    change: Partial<RunSettings> = {},
    yielded = state?.handedOut ?? 0,
  ) {
    this.run = new Run({ ...settings, ...change }, state, 0);
    this.#yielded = yielded;
  }

  say(event: RunEvent): this {
    this.run.apply(event, this.nowMs);
    return this;
  }

  yield(count: number, bytes = 4, moreAtHand = false): this {
    this.say({ kind: "yielded", block: blockOf(this.#yielded, count, bytes), moreAtHand });
    this.#yielded += count;
    return this;
  }

  join(
    session: number,
    credit: number,
    held: readonly LeaseJobs[] = [],
    slaveId = `s${session}`,
    untouched: readonly LeaseJobs[] = [],
  ): this {
    this.#sessions.push(session);
    return this.say({ kind: "joined", session, slaveId, slaveName: slaveId, credit, held, untouched });
  }

  answer(session: number, lease: LeaseName, answer: Partial<Answer>): this {
    const number = ++this.#answers;
    const all = { lease, done: [], skipped: [], failed: [], crash: null, released: [], ...answer };
    return this.say({ kind: "answered", session, number, answer: all, at: wallClock });
  }

  done(lease: LeaseEffect, jobs: Ranges = seqsOf(lease)): this {
    return this.answer(lease.session, lease.lease, { done: jobs });
  }

  throw(
    lease: LeaseEffect,
    message = "no",
    seq = lease.parts[0]!.seq,
    how: "threw" | "fatal" = "threw",
  ): this {
    return this.answer(lease.session, lease.lease, {
      failed: [{ seq, how, message, stack: "", durationMs: 1 }],
    });
  }

  crash(lease: LeaseEffect, suspects: Ranges): this {
    return this.answer(lease.session, lease.lease, { crash: { suspects, reason: "exited" } });
  }

  leave(session: number, how: "closed" | "drained" = "closed"): this {
    return this.say({ kind: "left", session, how, at: wallClock });
  }

  /** Advances the clock, as a shell that is never late; all slaves send heartbeats meanwhile. */
  pass(ms: number): this {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.passSilently(Math.min(1_000, endMs - this.nowMs));
      for (const session of this.#sessions) this.say({ kind: "heard", session });
    }
    return this;
  }

  /** The same without heartbeats. */
  passSilently(ms: number): this {
    const endMs = this.nowMs + ms;
    let wakeMs = this.run.tick(this.nowMs);
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, Math.max(this.nowMs + 1, wakeMs));
      wakeMs = this.run.tick(this.nowMs);
    }
    return this;
  }

  take<K extends Effect["kind"]>(kind: K): Extract<Effect, { kind: K }>[] {
    return this.run.takeEffects().filter((effect): effect is Extract<Effect, { kind: K }> =>
      effect.kind === kind
    );
  }

  /** Takes the leases among the effects so far. */
  leases(): LeaseEffect[] {
    return this.take("lease");
  }

  /** The notices so far, in words. */
  warnings(): string[] {
    return this.take("notice").map(({ notice }) => noticeInWords(notice));
  }

  /** The reason for the speed, in words. */
  get reason(): string {
    return reasonInWords(this.status.reason);
  }

  get status(): RunStatus {
    return this.run.status(this.nowMs);
  }

  get state(): RunState {
    return this.run.capture().state;
  }
}

export function seqsOf({ parts }: LeaseEffect): Ranges {
  return [parts[0]!.seq, parts.at(-1)!.end];
}

/** Formats leases: `1:0-3 no` means that session 1 got the jobs 0 to 2, beside others. */
export function brief(leases: readonly LeaseEffect[]): string[] {
  return leases.map((lease) => `${lease.session}:${seqsOf(lease).join("-")} ${lease.alone}`);
}
