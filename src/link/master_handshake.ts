import type { Socket } from "node:net";
import { handshakeBytesMax, handshakeMs } from "../lib/limits.ts";
import { printable } from "../lib/text.ts";
import { encode, FrameError } from "../protocol/cbor.ts";
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
import { otherProtocolOf, ProtocolSniffer, type SniffOutcome } from "./protocol_sniffer.ts";
import type { TlsGate } from "./tls.ts";

/**
 * Deadline once a client speaks TLS, which takes 4 KB and two round trips instead of one. At 1 KB/s and 2 s each way
 * 12.5 s were measured.
 */
const handshakeTlsMs = 15_000;

/** How a handshake ended. `about` groups log lines; without `why` there is nothing to log. */
export type HandshakeOutcome =
  | Readonly<{ kind: "proved"; intro: Introduction; role: Role }>
  | Readonly<{ kind: "refused"; about: string; why?: string }>
  | Readonly<{ kind: "gone" }>;

type Greeted = Readonly<{
  secret: Secret;
  nonce: Uint8Array;
  /** When it connected, and when its handshake began. */
  sinceMs: number;
  greetedAtMs: number;
  /** Undefined without TLS. */
  gate: TlsGate | undefined;
}>;

const none = new Uint8Array(0);

/**
 * The master's half of one handshake: establishes TLS if there is a gate, sends HELLO, and reads at most 1 KiB. It
 * trusts nothing about the sender before its MAC is verified. Settles once, through `#settle`.
 */
export class MasterHandshake {
  /** The TLS socket from HELLO on, if TLS is used. */
  socket: Socket;
  readonly peer: string;
  readonly #greeted: Greeted;
  readonly #onOutcome: (outcome: HandshakeOutcome) => void;
  readonly #bytes = new Uint8Array(handshakeBytesMax);
  #filled = 0;
  #isSettled = false;
  /** Set until TLS is spoken; null without TLS. */
  #sniffer: ProtocolSniffer | null = null;
  /** Set once AUTH was read. */
  #proof: Proof | null = null;
  readonly #onData = (chunk: Uint8Array): void => this.#receive(chunk);
  readonly #onGone = (): void => this.#settle({ kind: "gone" });

  constructor(socket: Socket, greeted: Greeted, onOutcome: (outcome: HandshakeOutcome) => void) {
    this.socket = socket;
    this.peer = peerOf(socket);
    this.#greeted = greeted;
    this.#onOutcome = onOutcome;
  }

  /** When the handshake becomes overdue, given its progress so far. */
  get lateAtMs(): number {
    const { sinceMs, gate } = this.#greeted;
    const speaksTls = this.#sniffer ? this.#sniffer.isSecuring : gate !== undefined;
    return sinceMs + (speaksTls ? handshakeTlsMs : handshakeMs);
  }

  /** Establishes TLS if there is a gate, sends HELLO, and waits for AUTH. */
  greet(): void {
    const { gate } = this.#greeted;
    this.socket.setNoDelay(true);
    this.socket.on("end", this.#onGone).on("close", this.#onGone);
    if (gate === undefined) this.#hello();
    else this.#sniffer = new ProtocolSniffer(this.socket, gate, (entered) => this.#entered(entered));
  }

  tick(nowMs: number): void {
    this.#sniffer?.tick(nowMs - this.#greeted.greetedAtMs);
  }

  /** Ends the handshake with a reason that the peer can read. */
  refuse(code: RefusalCode, why?: string, about: string = code): void {
    if (this.#isSettled) return;
    if (this.#sniffer) this.#sniffer.turnAway();
    else {
      this.socket.end(encodeRefusal(code));
      this.socket.destroySoon();
    }
    this.#settle(why === undefined ? { kind: "refused", about } : { kind: "refused", about, why });
  }

  /** Sends WELCOME; only after `proved`. */
  welcome(told: Welcome): void {
    this.socket.write(encodeWelcome(this.#proof!, encode(told), this.#greeted.secret));
  }

  #entered(entered: SniffOutcome): void {
    if (this.#isSettled) return void this.socket.destroy();
    if (entered.kind === "stranger") return this.refuse("malformed", entered.why, entered.about);
    this.#sniffer = null;
    this.socket.off("end", this.#onGone).off("close", this.#onGone);
    this.socket = entered.socket;
    this.socket.on("end", this.#onGone).on("close", this.#onGone);
    if (entered.fault === undefined) return this.#hello();
    this.refuse("certificate", `Refused a slave: ${entered.fault}`);
  }

  #hello(): void {
    this.socket.on("data", this.#onData);
    this.socket.write(encodeHello(this.#greeted.nonce, this.#greeted.secret));
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

  /** Verifies the proof. Takes the same work, reply and time whatever is wrong with it. */
  #judge({ nonce, role, mac, info, insecure }: Auth): void {
    const { secret, nonce: masterNonce, gate } = this.#greeted;
    const certificateHash = gate?.certificateHash ?? none;
    const proof = { masterNonce, slaveNonce: nonce, role, certificateHash };
    const holds = secret.holds(mac, "slave", proof, info);
    if (!holds || insecure !== secret.isInsecure) {
      return this.refuse("token", `Refused a slave: ${this.#tokenFault(insecure)}`);
    }
    this.#proof = proof;
    this.#introduce(info, role);
  }

  /** What is wrong with the proof, for this master's log. The peer's reply is the same in all cases. */
  #tokenFault(insecure: boolean): string {
    const { secret, gate } = this.#greeted;
    if (secret.isInsecure) return insecure ? badInsecureProof : tokenAtInsecure;
    if (insecure) return insecureAtToken;
    return gate ? tokenOrRelay : "it does not hold this master's token";
  }

  /**
   * Decodes the introduction of a peer whose proof is valid. If it is invalid the peer is told so: another try with it
   * cannot help.
   */
  #introduce(info: Uint8Array, role: Role): void {
    try {
      this.#settle({ kind: "proved", intro: parseIntroduction(info), role });
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.refuse(
        "info",
        `Refused a slave: what it says of itself is not what the protocol allows. ${
          printable(error.message)
        }`,
      );
    }
  }

  #reject(error: unknown, bytes: Uint8Array): void {
    if (!(error instanceof FrameError)) throw error;
    if (error instanceof OtherVersionError) {
      const both =
        `it speaks version ${error.version} of the protocol, this master version ${protocolVersion}`;
      return this.refuse("version", `Refused a slave: ${both}; use one release on both machines`);
    }
    const stranger = otherProtocolOf(bytes);
    if (!stranger) return this.refuse("malformed");
    this.refuse("malformed", mistakes[stranger], stranger);
  }

  #settle(outcome: HandshakeOutcome): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.socket.off("data", this.#onData).off("end", this.#onGone).off("close", this.#onGone);
    this.#onOutcome(outcome);
  }
}

const tokenAtInsecure =
  "it proves a token, and this master runs with --insecure; start it with --insecure too, or this master without";
const insecureAtToken =
  "it runs with --insecure, and this master asks for a token; start it without, or this master with --insecure too";
const badInsecureProof = "its proof is not the 32 zero bytes that stand for none under --insecure";
const tokenOrRelay =
  "it does not hold this master's token, or something on the way showed it another certificate than this master's";

const mistakes = {
  HTTP: "An HTTP request came to the port for slaves: point browsers and health checks elsewhere",
  TLS: "A TLS connection came to the plain port for slaves: this master was started without --tls-cert",
};
