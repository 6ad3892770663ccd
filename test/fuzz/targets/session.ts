import { Run } from "../../../src/core/run.ts";
import type { Effect, RunEvent } from "../../../src/core/types.ts";
import { Session, type Wire } from "../../../src/master/sessions.ts";
import { decode, encode, FrameError, prescan } from "../../../src/protocol/cbor.ts";
import type { LeaseName, SlaveMessage } from "../../../src/protocol/messages.ts";
import { parseSlaveMessage } from "../../../src/protocol/parse.ts";
import { blockOf, settings, wallClock } from "../../core/fixture.ts";
import { amplifyCbor, mutateCbor } from "../mutate.ts";
import { must, outcomeOf, type Target } from "../target.ts";

// What slaves that proved the token may say, to the whole run. An array of steps, in CBOR: [slave, message] is a message
// of one of four slaves; [slave] ends its connection; a number lets so many milliseconds pass; anything else makes the
// source yield three jobs.

type LeaseEffect = Extract<Effect, { kind: "lease" }>;

/** A master without sockets, and what it handed to whom. */
class House {
  readonly run = new Run({ ...settings, bytesMax: 4_096, jobsMax: 60 }, null, 0);
  readonly #sessions = new Map<number, Session>();
  /** Who of the four is behind which session, now. */
  readonly #ofSlave = new Map<number, number>();
  /** Leases handed to a session, or kept by it. */
  readonly #leases = new Map<number, Set<string>>();
  readonly fresh: LeaseEffect[] = [];
  #nowMs = 0;
  #yielded = 0;
  #isOver = false;

  constructor() {
    this.#turn();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get yielded(): number {
    return this.#yielded;
  }

  yield(): void {
    if (this.#isOver || this.run.demand().jobs < 3) return;
    this.#apply({ kind: "yielded", block: blockOf(this.#yielded, 3), moreAtHand: this.#yielded % 2 === 0 });
    this.#yielded += 3;
    this.#turn();
  }

  pass(ms: number): void {
    this.#nowMs += ms;
    if (!this.#isOver) this.run.tick(this.#nowMs);
    this.#turn();
  }

  /** Delivers a message as a link does; it may settle only jobs of a lease that its session has. */
  say(slave: number, message: SlaveMessage): void {
    const id = this.#enter(slave);
    const before = this.run.status(this.#nowMs).settled;
    this.#sessions.get(id)?.hear();
    this.#sessions.get(id)?.receive(message, wallClock);
    const after = this.run.status(this.#nowMs).settled;
    must(after >= before, "what is settled stays settled");
    const isOwn = message.kind === "answer" && this.#leases.get(id)?.has(nameOf(message.lease));
    must(after === before || isOwn, `session ${id} settled jobs of a lease it does not have`);
    this.#turn();
  }

  lose(slave: number): void {
    const id = this.#ofSlave.get(slave);
    if (id !== undefined) this.#end(id, true);
    this.#turn();
  }

  finish(): void {
    for (const slave of [...this.#ofSlave.keys()]) this.lose(slave);
    if (!this.#isOver) this.#apply({ kind: "source ended" });
    this.#turn();
  }

  #enter(slave: number): number {
    const known = this.#ofSlave.get(slave);
    if (known !== undefined) return known;
    const id = this.#leases.size + 1;
    const intro = {
      slaveId: `s${slave}`,
      name: `web${slave}`,
      version: "1",
      procs: 1,
      plugin: null,
      runtime: "none",
      features: [],
    };
    const wire: Wire = {
      isCongested: false,
      peer: "web",
      send: () => {},
      close: async () => this.#end(id, true),
    };
    this.#sessions.set(id, new Session(id, intro, wire, (event) => this.#apply(event), this.#nowMs));
    this.#ofSlave.set(slave, id);
    this.#leases.set(id, new Set());
    return id;
  }

  #end(id: number, isTold: boolean): void {
    const session = this.#sessions.get(id);
    this.#sessions.delete(id);
    for (const [slave, own] of this.#ofSlave) if (own === id) this.#ofSlave.delete(slave);
    if (isTold) session?.lost(wallClock);
    else void session?.end("");
  }

  #apply(event: RunEvent): void {
    if (!this.#isOver) this.run.apply(event, this.#nowMs);
  }

  #turn(): void {
    for (let effects = this.run.takeEffects(); effects.length > 0; effects = this.run.takeEffects()) {
      for (const effect of effects) this.#carryOut(effect);
    }
    const { handedOut, done, skipped, dead, stranded } = this.run.status(this.#nowMs);
    must(handedOut === done + skipped + dead + stranded, "the numbers add up");
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case "lease":
        this.#leases.get(effect.session)?.add(nameOf(effect.lease));
        this.fresh.push(effect);
        return this.#sessions.get(effect.session)?.lease(effect);
      case "keep":
        for (const { lease } of effect.leases) this.#leases.get(effect.session)?.add(nameOf(lease));
        return;
      case "close":
        return this.#end(effect.session, false);
      case "bury":
        return this.#apply({
          kind: "buried",
          seqs: effect.letters.map(({ seq }) => seq).sort((a, b) => a - b).flatMap((seq) => [seq, seq + 1]),
        });
      case "end":
        this.#isOver = true;
    }
  }
}

function nameOf({ masterId, number }: LeaseName): string {
  return `${masterId}/${number}`;
}

function stepsOf(input: Uint8Array): readonly unknown[] | null {
  if ("error" in outcomeOf(() => prescan(input), FrameError)) return null;
  const steps = decode(input);
  return Array.isArray(steps) ? steps.slice(0, 200) : null;
}

function take(house: House, step: unknown): string {
  if (typeof step === "number") house.pass(Math.abs(Math.trunc(step)) % 20_000 || 0);
  if (!Array.isArray(step)) {
    if (typeof step !== "number") house.yield();
    return "";
  }
  const slave = Number(typeof step[0] === "bigint" || typeof step[0] === "number" ? step[0] : 0) & 3;
  if (step.length < 2) {
    house.lose(slave);
    return "";
  }
  const body = encode(step[1]);
  const parsed = outcomeOf(() => parseSlaveMessage(body), FrameError);
  if ("error" in parsed) house.lose(slave);
  else house.say(slave, parsed.value);
  return "error" in parsed ? "bad" : parsed.value.kind;
}

const honest = 9;
const answer = {
  kind: "answer",
  credit: 1_000,
  done: [],
  skipped: [],
  failed: [],
  crash: null,
  released: [],
} as const;

/** Whatever was said, with an honest slave the run comes to its end, and each job to its own. */
function complete(house: House): void {
  house.finish();
  house.fresh.length = 0;
  let number = 0;
  for (let round = 0; round < 3_000 && !house.isOver; round++) {
    if (round === 0) house.say(honest, { kind: "ready", credit: 1_000, held: [] });
    for (const { lease, parts } of house.fresh.splice(0)) {
      const done = [parts[0]!.seq, parts.at(-1)!.end];
      house.say(honest, { ...answer, number: ++number, lease, done });
    }
    // Heard, though it has nothing to say.
    house.say(honest, { kind: "credit", credit: 1_000 });
    house.pass(1_000);
  }
  must(house.isOver, "with an honest slave the run ends");
  const { settled } = house.run.status(0);
  must(settled === house.yielded, `${settled} of ${house.yielded} jobs are settled`);
}

export const session: Target = {
  name: "session",
  subject(input) {
    const house = new House();
    for (const step of stepsOf(input) ?? []) take(house, step);
  },
  check(input) {
    const steps = stepsOf(input);
    if (steps === null) return "no steps";
    const house = new House();
    const said = steps.map((step) => take(house, step));
    const { dead, repeated } = house.run.status(0);
    complete(house);
    return `${[...new Set(said)].sort().join(" ")}, ${dead > 0 ? "dead letters" : "none dead"}\n${repeated}`;
  },
  seeds: () => conversations.map((steps) => encode(steps)),
  mutate: mutateCbor,
  amplify: amplifyCbor,
};

const lease = (number: number): LeaseName => ({ masterId: settings.masterId, number });
const failed = (seq: number, how: string) => ({ seq, how, message: "no", stack: "", durationMs: 1 });
const ready = { kind: "ready", credit: 4, held: [] };

const conversations: readonly unknown[] = [
  [null, [0, ready], [0, { ...answer, number: 1, lease: lease(1), done: [0, 1] }], 100],
  [null, [0, ready], [0, {
    ...answer,
    number: 1,
    lease: lease(1),
    failed: [failed(0, "threw"), failed(1, "fatal")],
  }], 2_000],
  [null, [0, ready], [0, {
    ...answer,
    number: 1,
    lease: lease(1),
    crash: { suspects: [0, 2], reason: "exited" },
  }], 2_000],
  [null, [0, ready], [0, { ...answer, number: 1, lease: lease(1), released: [0, 3] }], [1, ready], [0]],
  [null, null, [0, ready], [1, { ...ready, held: [{ lease: lease(1), jobs: [0, 2] }] }], [1, {
    ...answer,
    number: 1,
    lease: lease(1),
    done: [0, 9],
  }]],
  [
    null,
    [0, ready],
    [0],
    [0, { ...ready, held: [{ lease: lease(1), jobs: [0, 3] }] }],
    [0, { kind: "leaving" }],
    16_000,
    [2, ready],
    [2, { kind: "beat" }],
  ],
  [null, [0, { ...ready, credit: 10_000_000 }], [0, { kind: "credit", credit: 0 }], 19_000, [0, ready]],
];
