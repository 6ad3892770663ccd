import { decode } from "../../src/protocol/cbor.ts";
import type { MasterMessage, SlaveMessage } from "../../src/protocol/messages.ts";
import {
  encodeMessage,
  parseMasterMessage,
  parseSlaveMessage,
  parseWelcome,
} from "../../src/protocol/parse.ts";
import type { Connection, UnitListener } from "../kit/proxy.ts";
import type { Unit } from "../kit/units.ts";

type Answer = Extract<SlaveMessage, { kind: "answer" }>;
type Lease = Extract<MasterMessage, { kind: "lease" }>;

/** What passed over one connection that a forger has to know. */
type Talk = {
  readonly slot: number;
  readonly connection: Connection;
  masterId: string;
  /** `keep` came: answers may be sent. */
  isReady: boolean;
  lastAnswer: Answer | null;
  readonly leases: Lease[];
};

const answersKept = 400;
const leasesKept = 40;
/** WELCOME's body stands behind its header and its MAC. */
const welcomeBodyAt = 50;

/** Remembers what passes through the proxies, to say it again at the wrong time or in the wrong place. */
export class FrameBook {
  readonly #talks = new Map<Connection, Talk>();
  readonly #answers: Answer[] = [];

  listener(slot: number): UnitListener {
    return (connection, direction, unit) => {
      let talk = this.#talks.get(connection);
      if (talk === undefined) {
        talk = { slot, connection, masterId: "", isReady: false, lastAnswer: null, leases: [] };
        this.#talks.set(connection, talk);
      }
      if (direction === "up") this.#noteUp(talk, unit);
      else this.#noteDown(talk, unit);
    };
  }

  #noteUp(talk: Talk, { kind, bytes }: Unit): void {
    if (kind !== "frame" || !isOf(bytes, "answer")) return;
    const answer = parseSlaveMessage(bytes.subarray(4)) as Answer;
    talk.lastAnswer = answer;
    this.#answers.push(answer);
    if (this.#answers.length > answersKept) this.#answers.splice(0, answersKept / 4);
  }

  #noteDown(talk: Talk, { kind, bytes }: Unit): void {
    if (kind === "greeting") {
      if (bytes.length > welcomeBodyAt) talk.masterId = parseWelcome(bytes.subarray(welcomeBodyAt)).masterId;
    } else if (isOf(bytes, "keep")) talk.isReady = true;
    else if (isOf(bytes, "lease")) {
      talk.leases.push(parseMasterMessage(bytes.subarray(4)) as Lease);
      if (talk.leases.length > leasesKept) talk.leases.shift();
    }
  }

  /** The connection of a slot in which answers may be said, if there is one. */
  ready(slot: number, isOpen: (connection: Connection) => boolean): Connection | null {
    const talks = [...this.#talks.values()].filter((talk) => talk.slot === slot && talk.isReady);
    return talks.findLast(({ connection }) => isOpen(connection))?.connection ?? null;
  }

  /** Answers of any session so far, oldest first, as this connection would send them. */
  staleAnswers(connection: Connection, count: number, from: number): Uint8Array[] {
    const first = this.#answers.length <= count ? 0 : from % (this.#answers.length - count);
    return this.#answers.slice(first, first + count).map((answer) => this.#as(connection, answer));
  }

  /** Answers that say of all leases of `victim` that their jobs are done, as another connection would send them. */
  forgedAnswers(connection: Connection, victim: Connection): Uint8Array[] {
    const { masterId, leases } = this.#talks.get(victim)!;
    return leases.map(({ number, seq, count }) =>
      this.#as(connection, {
        kind: "answer",
        number: 1,
        lease: { masterId, number },
        credit: 0,
        done: [seq, seq + count],
        skipped: [],
        failed: [],
        crash: null,
        released: [],
      })
    );
  }

  /**
   * Number and credit are of the connection's own session: a wrong number would be a lie about what is saved, which is
   * the slave's own business to get right.
   */
  #as(connection: Connection, answer: Answer): Uint8Array {
    const last = this.#talks.get(connection)?.lastAnswer;
    return encodeMessage({ ...answer, number: last?.number ?? 1, credit: last?.credit ?? 1 });
  }
}

/** Whether the frame's first entry, `kind`, is this: decoding them all would cost too much. */
function isOf(frame: Buffer, kind: string): boolean {
  const at = frame.indexOf(kind, 0, "latin1");
  return at >= 0 && at < 16 && (decode(frame.subarray(4)) as { kind: string }).kind === kind;
}
