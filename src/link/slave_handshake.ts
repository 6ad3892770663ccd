import { formatFingerprint } from "../lib/bytes.ts";
import { ConnectError } from "../lib/errors.ts";
import { handshakeBytesMax, welcomeBytesMax } from "../lib/limits.ts";
import {
  encodeAuth,
  greetingBytes,
  type HandshakeMessage,
  headerBytes,
  type Hello,
  OtherVersionError,
  type Proof,
  protocolVersion,
  readGreeting,
  type Refusal,
  type Role,
  type Secret,
  type Welcoming,
} from "../protocol/handshake.ts";
import type { Welcome } from "../protocol/messages.ts";
import { parseWelcome } from "../protocol/parse.ts";
import { isGreeting, OtherProtocolError, otherProtocolOf, serverOf } from "./protocol_sniffer.ts";

/**
 * The master rejected this slave, or did not prove the token, and would do so again. Usually it has proved nothing by
 * then, so another program at its address could say the same: `isProved` tells.
 */
export class RefusedError extends ConnectError {
  readonly final = true;
  /** The master's proof was valid: the rejection is authentic. */
  readonly isProved: boolean;

  constructor(message: string, { isProved = false, ...options }: ErrorOptions & { isProved?: boolean } = {}) {
    super(message, options);
    this.isProved = isProved;
  }
}

type HandshakeAttempt = Readonly<{
  /** The master's address, for people. */
  where: string;
  secret: Secret;
  /** Where the token was given, for error messages, if it was: then a token file beside the binary does not count. */
  tokenFrom?: string | undefined;
  role: Role;
  nonce: Uint8Array;
  /** CBOR. */
  info: Uint8Array;
  /** SHA-256 of the master's certificate; undefined without TLS. */
  certificateHash?: Uint8Array | undefined;
}>;

/** What to send; and once WELCOME came, its body and the bytes after it. */
type Step = Readonly<{ send?: Uint8Array; welcome?: Welcome; rest: Uint8Array }>;

const none = new Uint8Array(0);
const unfinished: Step = { rest: none };

/**
 * The slave's half of the handshake, as a function from received bytes to bytes to send.
 *
 *              HELLO: send AUTH            WELCOME, MAC holds
 *     DIALED ------------------> ANSWERED --------------------> WELCOMED
 *        '--------------------------'---- ERROR, anything else: throws
 */
export class SlaveHandshake {
  readonly #attempt: HandshakeAttempt;
  /** Bytes not read yet; only the first `#filled` are valid. */
  #bytes: Uint8Array = none;
  #filled = 0;
  /** Length of the incomplete message once its header is known, so that it is parsed again only when complete. */
  #wanted = 0;
  /** Set from HELLO on. */
  #proof: Proof | null = null;
  /** The master's proof was valid: it expects frames now. */
  isProved = false;

  constructor(attempt: HandshakeAttempt) {
    this.#attempt = attempt;
  }

  /**
   * Takes the next bytes of the master.
   *
   * @throws {RefusedError} if another try cannot help.
   * @throws {Error} if another try may help.
   */
  push(chunk: Uint8Array): Step {
    this.#keep(chunk);
    const read = this.#filled < this.#wanted ? undefined : this.#read();
    if (!read) return unfinished;
    this.#wanted = 0;
    this.#bytes = this.#bytes.slice(read.used, this.#filled);
    this.#filled = this.#bytes.length;
    return this.#take(read.greeting);
  }

  /**
   * Appends a chunk. Doubles the buffer when it is full: a WELCOME may come byte by byte, and must not be copied for
   * each.
   */
  #keep(chunk: Uint8Array): void {
    const filled = this.#filled + chunk.length;
    if (filled > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(filled, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.#filled));
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#filled);
    this.#filled = filled;
  }

  #read(): ReturnType<typeof readGreeting> {
    const bytes = this.#bytes.subarray(0, this.#filled);
    try {
      const read = readGreeting(bytes, this.#proof ? welcomeBytesMax : handshakeBytesMax);
      if (!read && this.#filled >= headerBytes) this.#wanted = greetingBytes(bytes);
      return read;
    } catch (error) {
      if (error instanceof OtherVersionError) throw this.#refused(otherVersion(error.version), error);
      if (isGreeting(bytes) || this.#proof) {
        throw this.#failed("its greeting is not what the protocol allows", error);
      }
      if (otherProtocolOf(bytes) === "TLS" && !this.#attempt.certificateHash) {
        throw this.#refused(
          "it speaks TLS; start this slave with the line that the master printed, or with --tls-pin or --tls",
          error,
        );
      }
      throw new OtherProtocolError(
        `Cannot join ${this.#attempt.where}: what answers there ${
          serverOf(bytes)
        }, and is no taskmaster master`,
        { cause: error },
      );
    }
  }

  #take(greeting: HandshakeMessage): Step {
    if (greeting.kind === "error") throw this.#refusedBy(greeting);
    if (greeting.kind === "hello" && !this.#proof) return this.#answer(greeting);
    if (greeting.kind === "welcome" && this.#proof) return this.#enter(greeting, this.#proof);
    throw this.#failed("its greeting is out of order");
  }

  #answer(hello: Hello): Step {
    const { secret, role, nonce, info, certificateHash = none } = this.#attempt;
    if (hello.insecure && !secret.isInsecure) {
      throw this.#refused(
        "it runs with --insecure; start the slave with --insecure too, or the master without",
      );
    }
    if (!hello.insecure && secret.isInsecure) {
      throw this.#refused("it asks for a token, and this side runs with --insecure; start it without");
    }
    this.#proof = { masterNonce: hello.nonce, slaveNonce: nonce, role, certificateHash };
    return { send: encodeAuth(this.#proof, info, secret), rest: none };
  }

  #enter({ mac, body, insecure }: Welcoming, proof: Proof): Step {
    const { secret } = this.#attempt;
    if (!secret.holds(mac, "master", proof, body) || insecure !== secret.isInsecure) {
      throw this.#refused(
        "it did not prove that it holds this token, so it gets no work done here; " + this.#copyToken(),
      );
    }
    this.isProved = true;
    return { welcome: this.#parse(body), rest: this.#bytes };
  }

  #parse(body: Uint8Array): Welcome {
    try {
      return parseWelcome(body);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw this.#refused(
        `its welcome is not what the protocol allows: ${why}; use one release on both machines`,
        error,
        this.#provesMaster,
      );
    }
  }

  #refusedBy({ code }: Refusal): Error {
    switch (code) {
      case "token":
        return this.#refused(this.#otherProof() + this.#copyToken());
      case "version":
        return this.#refused(
          `it does not speak version ${protocolVersion} of the protocol; use one release on both machines`,
        );
      case "malformed":
        return this.#failed("it could not read this side's greeting");
      case "busy":
        return this.#failed("it has as many connections as it takes");
      case "late":
        return this.#failed("the proof of the token came too late");
      case "ending":
        return this.#failed("its run is ending");
      case "certificate":
        return this.#refused(
          "it asks for a certificate that one of its CAs signed, and this slave showed none or another one, or one that " +
            "is out of date; give one with --tls-cert and --tls-key",
        );
      case "info":
        return this.#refused(
          "it does not accept what this slave says of itself, and its log says why; use one release on both machines",
        );
      default:
        return code satisfies never;
    }
  }

  /** Whether a valid proof identifies the master: with `--insecure` only the TLS certificate does. */
  get #provesMaster(): boolean {
    const { secret, certificateHash } = this.#attempt;
    return !secret.isInsecure || certificateHash !== undefined;
  }

  /** Likely reasons why the master rejects this side's proof. */
  #otherProof(): string {
    const { certificateHash, tokenFrom } = this.#attempt;
    const differ = `the tokens differ${tokenFrom === undefined ? "" : ` (here it is that of ${tokenFrom})`}`;
    if (!certificateHash) return `${differ}; `;
    return `${differ}, or something on the way shows a certificate that is not the master's: this slave saw ` +
      `${
        formatFingerprint(certificateHash)
      }, and the master prints its own at its start. If that is the same, `;
  }

  #copyToken(): string {
    const to = this.#attempt.tokenFrom === undefined
      ? "beside the taskmaster binary on this one"
      : "to this one, and name it with --token-file";
    return `on the master's machine run "taskmaster token --write taskmaster.token", then copy taskmaster.token ${to}`;
  }

  #refused(why: string, cause?: unknown, isProved = false): RefusedError {
    return new RefusedError(`Cannot join the master at ${this.#attempt.where}: ${why}`, { cause, isProved });
  }

  #failed(why: string, cause?: unknown): Error {
    return new Error(`Cannot join the master at ${this.#attempt.where}: ${why}`, { cause });
  }
}

/** Names both versions, and what to do. */
function otherVersion(version: number): string {
  const older = version < protocolVersion ? "that" : "this";
  const which = version < protocolVersion ? "older there" : "older here";
  return `it speaks version ${version} of the protocol, this side version ${protocolVersion}; ` +
    `the release is ${which}, so copy the newer binary to ${older} machine`;
}
