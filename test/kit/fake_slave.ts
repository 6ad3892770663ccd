import { dial, dialControl, type DialOptions } from "../../src/link/dial.ts";
import type { SlaveLink } from "../../src/link/link.ts";
import type { Address } from "../../src/lib/units.ts";
import type {
  Introduction,
  LeaseJobs,
  MasterMessage,
  SlaveMessage,
  Welcome,
} from "../../src/protocol/messages.ts";
import { decodeJobs } from "../../src/protocol/cbor.ts";

/** What a slave says of itself where the test does not care. */
export const web1: Introduction = {
  slaveId: "s",
  name: "web1",
  version: "1",
  procs: 1,
  plugin: null,
  runtime: "none",
  features: [],
};

export type Lease = Extract<MasterMessage, { kind: "lease" }>;
type Answer = Extract<SlaveMessage, { kind: "answer" }>;

export type DialAsOptions = Readonly<{
  token: Uint8Array | null;
  slaveId?: string;
  name?: string;
  procs?: number;
  features?: readonly string[];
  plugin?: { name: string; export: string; hash: Uint8Array };
  signal?: AbortSignal;
}>;

export type FakeSlaveOptions = DialAsOptions & Readonly<{ credit?: number; held?: readonly LeaseJobs[] }>;

/** A connection of the product's own client, for a test that is the slave. */
export function dialAs(address: Address, options: DialAsOptions): ReturnType<typeof dial> {
  return dial(dialing(address, options));
}

/** The same for a test that asks a master, or tells it what to do. */
export function dialControlAs(address: Address, options: DialAsOptions): ReturnType<typeof dialControl> {
  return dialControl(dialing(address, options));
}

function dialing({ host, port }: Address, options: DialAsOptions): DialOptions {
  const {
    token,
    slaveId = crypto.randomUUID(),
    name = "fake",
    procs = 1,
    features = [],
    plugin = null,
    signal = new AbortController().signal,
  } = options;
  const intro = { slaveId, name, version: "0", procs, plugin, runtime: "test", features };
  return { host, port, token, intro, nowMs: () => performance.now(), signal };
}

/** A slave in the test's hands: it says what the test says, over a real connection. */
export class FakeSlave {
  readonly link: SlaveLink;
  readonly welcome: Welcome;
  readonly closed: Promise<string>;
  readonly messages: MasterMessage[] = [];
  credit: number;
  #answers = 0;
  #arrived: () => void = () => {};
  #isClosed = false;

  private constructor(link: SlaveLink, welcome: Welcome, credit: number) {
    this.link = link;
    this.welcome = welcome;
    this.credit = credit;
    this.closed = new Promise((resolve) => {
      link.onClose = (reason) => {
        this.#isClosed = true;
        this.#arrived();
        resolve(reason);
      };
    });
    link.onMessage = (message) => {
      this.messages.push(message);
      this.#arrived();
    };
  }

  /** Connects, and says `ready` with this credit. */
  static async join(address: Address, options: FakeSlaveOptions): Promise<FakeSlave> {
    const { credit = 10, held = [] } = options;
    const { link, welcome } = await dialAs(address, options);
    const slave = new FakeSlave(link, welcome, credit);
    link.send({ kind: "ready", credit, held });
    return slave;
  }

  /** The first message of this kind that came and was not taken yet. */
  async take<K extends MasterMessage["kind"]>(kind: K): Promise<Extract<MasterMessage, { kind: K }>> {
    for (;;) {
      const index = this.messages.findIndex((message) => message.kind === kind);
      if (index >= 0) return this.messages.splice(index, 1)[0] as Extract<MasterMessage, { kind: K }>;
      if (this.#isClosed) throw new Error(`The connection closed before "${kind}" came`);
      await new Promise<void>((resolve) => this.#arrived = resolve);
    }
  }

  lease(): Promise<Lease> {
    return this.take("lease");
  }

  /** Answers a whole lease as done, but for what `parts` says. */
  answer(lease: Lease, parts: Partial<Answer> = {}): void {
    this.link.send({
      kind: "answer",
      number: ++this.#answers,
      lease: { masterId: this.welcome.masterId, number: lease.number },
      credit: this.credit,
      done: [lease.seq, lease.seq + lease.count],
      skipped: [],
      failed: [],
      crash: null,
      released: [],
      ...parts,
    });
  }

  /** Answers every lease as done until the connection ends; returns the jobs in the order they came. */
  async work(): Promise<unknown[]> {
    const jobs: unknown[] = [];
    for (;;) {
      const lease = await this.lease().catch(() => null);
      if (lease === null) return jobs;
      jobs.push(...jobsIn(lease));
      this.answer(lease);
    }
  }
}

export function jobsIn(lease: Lease): unknown[] {
  return decodeJobs(lease.jobs, lease.count);
}
