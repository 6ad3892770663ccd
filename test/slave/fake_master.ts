import type { Log } from "../../src/lib/log.ts";
import { encode } from "../../src/protocol/cbor.ts";
import type {
  Introduction,
  LeaseJobs,
  MasterMessage,
  SlaveMessage,
  Welcome,
} from "../../src/protocol/messages.ts";
import type { MasterLink } from "../../src/link/link.ts";
import { listen, type Listener } from "../../src/link/listen.ts";

type Lease = Extract<MasterMessage, { kind: "lease" }>;
export type AnswerMessage = Extract<SlaveMessage, { kind: "answer" }>;

export type FakeOptions = {
  runId?: string;
  masterId?: string;
  epoch?: number;
  timeoutMs?: number;
  heartbeatMs?: number;
  graceMs?: number;
  port?: number;
  token?: Uint8Array;
  args?: Record<string, string>;
  /** @default the slave's own */
  plugin?: Welcome["plugin"];
  /** What it lets a slave keep. @default all it names */
  keep?: (held: readonly LeaseJobs[]) => readonly LeaseJobs[];
  /** Says what the slave may keep only when the test has it say so. @default false */
  keepsLate?: boolean;
  /** Leases released jobs again, as a master does. @default true */
  releases?: boolean;
  log?: Log;
};

/** A master that does what a test says, and keeps what slaves say. */
export class FakeMaster {
  readonly said: SlaveMessage[] = [];
  readonly intros: Introduction[] = [];
  link: MasterLink | null = null;
  port = 0;
  onSaid: (message: SlaveMessage) => void = () => {};
  closed = 0;
  /** Why each session ended. */
  readonly closedFor: string[] = [];
  readonly #values = new Map<number, unknown>();
  #beats: ReturnType<typeof setInterval> | undefined;
  #again = 1_000_000;
  /** What the slave said last, and what it holds of it. */
  #credit = 0;
  #held = new Set<number>();
  #waiting: Lease[] = [];
  #isDraining = false;
  #listener: Listener | null = null;
  readonly #options: FakeOptions;
  #waits: { test: (master: FakeMaster) => boolean; resolve: () => void }[] = [];

  constructor(options: FakeOptions = {}) {
    this.#options = options;
  }

  static async start(options: FakeOptions = {}): Promise<FakeMaster> {
    const master = new FakeMaster(options);
    await master.#listen();
    return master;
  }

  async #listen(): Promise<void> {
    const options = this.#options;
    this.#listener = await listen({
      host: "127.0.0.1",
      port: options.port ?? 0,
      token: options.token ?? new Uint8Array(32),
      welcome: (intro) => this.#welcome(intro),
      nowMs: () => performance.now(),
      log: options.log ?? (() => {}),
      onSession: (link, intro) => this.#onSession(link, intro),
    });
    this.port = this.#listener.address.port;
    this.#beats = setInterval(() => this.link?.tick(performance.now()), 50);
  }

  #welcome({ plugin }: Introduction): Welcome {
    const { runId, masterId, epoch, timeoutMs, heartbeatMs, graceMs, args } = this.#options;
    return {
      runId: runId ?? "run",
      masterId: masterId ?? "master",
      key: "key",
      epoch: epoch ?? 1,
      plugin: this.#options.plugin ?? plugin!,
      args: args ?? {},
      timeoutMs: timeoutMs ?? 0,
      heartbeatMs: heartbeatMs ?? 5_000,
      graceMs: graceMs ?? 30_000,
      features: [],
    };
  }

  #onSession(link: MasterLink, intro: Introduction): void {
    this.link = link;
    this.intros.push(intro);
    link.onMessage = (message) => {
      this.said.push(message);
      if (message.kind === "ready" && this.#options.keepsLate !== true) {
        const leases = this.#options.keep?.(message.held) ?? message.held;
        link.send({ kind: "keep", leases });
      }
      if (message.kind === "ready") this.#held = new Set(message.held.flatMap(({ jobs }) => numbersOf(jobs)));
      if ("credit" in message) this.#credit = message.credit;
      if (message.kind === "answer") this.#took(message);
      if (message.kind === "answer") this.#leaseAgain(message);
      this.#leaseWaiting();
      this.onSaid(message);
      this.#check();
    };
    link.onClose = (reason) => {
      this.closed++;
      this.closedFor.push(reason);
      this.#check();
    };
    this.#check();
  }

  #leaseAgain({ released }: AnswerMessage): void {
    if (this.#options.releases === false || this.#isDraining) return;
    if (this.said.some(({ kind }) => kind === "leaving")) return;
    for (const seq of numbersOf(released)) this.lease(++this.#again, seq, [this.#values.get(seq)]);
  }

  send(message: MasterMessage): void {
    if (message.kind === "drain") this.#isDraining = true;
    this.link!.send(message);
  }

  /** Leases jobs with these values; the lease number is made up if not given. */
  lease(
    number: number,
    seq: number,
    values: readonly unknown[],
    alone: "no" | "in worker" | "in slave" = "no",
  ): void {
    values.forEach((value, index) => this.#values.set(seq + index, value));
    const jobs = Buffer.concat(values.map(encode));
    this.#waiting.push({
      kind: "lease",
      number,
      seq,
      count: values.length,
      attempt: 1,
      alone,
      probe: false,
      jobs: new Uint8Array(jobs),
    });
    this.#leaseWaiting();
  }

  /** As a master does: no slave gets more than it has credit for. */
  #leaseWaiting(): void {
    while (this.#waiting.length > 0 && this.#held.size + this.#waiting[0]!.count <= this.#credit) {
      const lease = this.#waiting.shift()!;
      for (let job = 0; job < lease.count; job++) this.#held.add(lease.seq + job);
      this.send(lease);
    }
  }

  #took({ done, skipped, failed, crash, released }: AnswerMessage): void {
    const seqs = [done, skipped, released, crash?.suspects ?? []].flatMap(numbersOf);
    for (const seq of [...seqs, ...failed.map((failure) => failure.seq)]) this.#held.delete(seq);
  }

  get answers(): AnswerMessage[] {
    return this.said.filter((message): message is AnswerMessage => message.kind === "answer");
  }

  /** All seqs that any answer names in this field. */
  named(field: "done" | "skipped" | "released"): number[] {
    return this.answers.flatMap((answer) => numbersOf(answer[field])).sort((a, b) => a - b);
  }

  get failed() {
    return this.answers.flatMap(({ failed }) => failed);
  }

  get crashes() {
    return this.answers.flatMap(({ crash }) => crash === null ? [] : [crash]);
  }

  /** Errors after the end of their jobs, as far as they are named. */
  get late() {
    return this.said.flatMap((message) => message.kind === "late" ? message.errors : []);
  }

  get isReady(): boolean {
    return this.said.some(({ kind }) => kind === "ready");
  }

  /** Resolves once `test` holds; looked at whenever a slave says something. */
  until(test: (master: FakeMaster) => boolean): Promise<void> {
    if (test(this)) return Promise.resolve();
    return new Promise((resolve) => this.#waits.push({ test, resolve }));
  }

  #check(): void {
    for (const wait of [...this.#waits]) {
      if (!wait.test(this)) continue;
      this.#waits = this.#waits.filter((other) => other !== wait);
      wait.resolve();
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#beats);
    await this.link?.close("the test is over");
    await this.#listener?.close();
  }
}

export function numbersOf(ranges: readonly number[]): number[] {
  const numbers: number[] = [];
  for (let at = 0; at < ranges.length; at += 2) {
    for (let number = ranges[at]!; number < ranges[at + 1]!; number++) numbers.push(number);
  }
  return numbers;
}
