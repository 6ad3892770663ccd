import type { Socket } from "node:net";
import { handshakeBytesMax } from "../base/limits.ts";
import { encode } from "../protocol/codec.ts";
import { FrameError } from "../protocol/frame_error.ts";
import {
  type Auth,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  OtherVersionError,
  type Proof,
  protocolVersion,
  readGreeting,
  type RefusalCode,
  type Role,
  type Secret,
} from "../protocol/handshake.ts";
import type { Introduction, Welcome } from "../protocol/messages.ts";
import { parseIntroduction } from "../protocol/parse.ts";
import { peerOf } from "./link.ts";
import { strangerOf } from "./stranger.ts";

/** How a handshake ended. `about` groups log lines; without `why` there is nothing to log. */
export type Outcome =
  | Readonly<{ kind: "proved"; intro: Introduction; role: Role }>
  | Readonly<{ kind: "refused"; about: string; why?: string }>
  | Readonly<{ kind: "gone" }>;

type Greeted = Readonly<{ secret: Secret; nonce: Uint8Array; sinceMs: number }>;

const none = new Uint8Array(0);

/**
 * The master's half of one handshake: sends HELLO, reads at most 1 KiB, and knows nothing of the sender before its
 * MAC held. Settles once, through `#settle`.
 */
export class Arrival {
  readonly socket: Socket;
  readonly peer: string;
  readonly sinceMs: number;
  readonly #greeted: Greeted;
  readonly #onOutcome: (outcome: Outcome) => void;
  readonly #bytes = new Uint8Array(handshakeBytesMax);
  #filled = 0;
  #isSettled = false;
  /** Set once AUTH was read. */
  #proof: Proof | null = null;
  readonly #onData = (chunk: Uint8Array): void => this.#receive(chunk);
  readonly #onGone = (): void => this.#settle({ kind: "gone" });

  constructor(socket: Socket, greeted: Greeted, onOutcome: (outcome: Outcome) => void) {
    this.socket = socket;
    this.peer = peerOf(socket);
    this.sinceMs = greeted.sinceMs;
    this.#greeted = greeted;
    this.#onOutcome = onOutcome;
  }

  /** Sends HELLO and waits for AUTH. */
  greet(): void {
    this.socket.setNoDelay(true);
    this.socket.on("data", this.#onData).on("end", this.#onGone).on("close", this.#onGone);
    this.socket.write(encodeHello(this.#greeted.nonce, this.#greeted.secret));
  }

  /** Ends it with a reason the other side can read. */
  refuse(code: RefusalCode, why?: string, about: string = code): void {
    if (this.#isSettled) return;
    this.socket.end(encodeRefusal(code));
    this.socket.destroySoon();
    this.#settle(why === undefined ? { kind: "refused", about } : { kind: "refused", about, why });
  }

  /** Sends WELCOME; only after `proved`. */
  welcome(told: Welcome): void {
    this.socket.write(encodeWelcome(this.#proof!, encode(told), this.#greeted.secret));
  }

  #receive(chunk: Uint8Array): void {
    const kept = chunk.subarray(0, this.#bytes.length - this.#filled);
    this.#bytes.set(kept, this.#filled);
    this.#filled += kept.length;
    const bytes = this.#bytes.subarray(0, this.#filled);
    try {
      const read = readGreeting(bytes, handshakeBytesMax);
      if (read?.greeting.kind === "auth" && read.used === bytes.length && kept.length === chunk.length) {
        this.#judge(read.greeting);
      } else if (read || kept.length < chunk.length) this.refuse("malformed");
    } catch (error) {
      this.#reject(error, bytes);
    }
  }

  /** The same work, reply and delay for whatever is wrong with the proof. */
  #judge({ nonce, role, mac, info, insecure }: Auth): void {
    const { secret, nonce: masterNonce } = this.#greeted;
    const proof = { masterNonce, slaveNonce: nonce, role, certificateHash: none };
    const holds = secret.holds(mac, "slave", proof, info);
    if (!holds || insecure !== secret.isInsecure) {
      return this.refuse("token", "Refused a slave: it does not hold this master's token");
    }
    this.#proof = proof;
    const intro = parseIntroduction(info);
    this.#settle({ kind: "proved", intro, role });
  }

  #reject(error: unknown, bytes: Uint8Array): void {
    if (!(error instanceof FrameError)) throw error;
    if (error instanceof OtherVersionError) {
      const both =
        `it speaks version ${error.version} of the protocol, this master version ${protocolVersion}`;
      return this.refuse("version", `Refused a slave: ${both}; use one release on both machines`);
    }
    const stranger = strangerOf(bytes);
    if (!stranger) return this.refuse("malformed");
    this.refuse("malformed", mistakes[stranger], stranger);
  }

  #settle(outcome: Outcome): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.socket.off("data", this.#onData).off("end", this.#onGone).off("close", this.#onGone);
    this.#onOutcome(outcome);
  }
}

const mistakes = {
  HTTP: "An HTTP request came to the port for slaves: point browsers and health checks elsewhere",
  TLS: "A TLS connection came to the plain port for slaves: this master was started without TLS",
};
