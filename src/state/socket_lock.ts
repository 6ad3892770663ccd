import { clearTimeout, setTimeout } from "../base/clock.ts";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { lockAskMs, lockConnectionsMax, lockTextBytesMax } from "../base/state_limits.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import { UnprovenConnections } from "../base/unproven.ts";
import { errorCode } from "./disk.ts";

export type SocketLock = Readonly<{ release(): Promise<void> }>;

/** What was asked of whoever holds a name, and what came back: a line, or nothing. */
export type Answer = Readonly<{ question: string; line: string | null }>;

const questionRule = /^[0-9a-f]{64}$/;
const questionBytes = 32;
const newline = 10;

/**
 * The name of the abstract socket that stands for a key in a folder, whatever path leads there. Abstract names are
 * Linux's: no file, so that nothing is left behind, and the kernel frees them however the process ends. But any user of the
 * machine can compute and take one, or connect to it; hence the proof.
 */
export function socketName(folder: { dev: bigint; ino: bigint }, key: string): string {
  return `\0taskmaster:${createHash("sha256").update(`${folder.dev}:${folder.ino}:${key}`).digest("hex")}`;
}

/** What only a process that can read `<key>.lock` can answer, in 64 hex digits. Null if that is no question. */
export function proofOf(nonce: string, name: string, question: string): string | null {
  if (!questionRule.test(question)) return null;
  return createHmac("sha256", nonce).update(`taskmaster/lock/1${name}\0${question}`).digest("hex");
}

/** Whether it was given by a process that knows the nonce; no nonce is known to nobody. */
export function isProof({ question, line }: Answer, nonce: string, name: string): boolean {
  if (line === null || nonce === "") return false;
  // Digests, for their comparison takes a time that tells nothing of the proof.
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return isSameBytes(digest(line), digest(proofOf(nonce, name, question) ?? ""));
}

/** The first line that a stranger says, as far as it is looked at: what is longer than `bytesMax` is no line. */
export class FirstLine {
  readonly #bytes: Uint8Array;
  #filled = 0;

  constructor(bytesMax: number) {
    this.#bytes = new Uint8Array(bytesMax);
  }

  /** The line without its end; null if what came is none; undefined as long as it has not ended. */
  push(chunk: Uint8Array): string | null | undefined {
    const kept = chunk.subarray(0, this.#bytes.length - this.#filled);
    this.#bytes.set(kept, this.#filled);
    const end = kept.indexOf(newline);
    if (end >= 0) return Buffer.from(this.#bytes.subarray(0, this.#filled + end)).toString("latin1");
    this.#filled += kept.length;
    return this.#filled < this.#bytes.length ? undefined : null;
  }
}

/**
 * Holds the name; whoever asks is answered in one line, and is told nothing else. Null if another process holds it.
 *
 * @param answer The proof for a question. It never rejects.
 */
export async function holdSocket(
  name: string,
  answer: (question: string) => Promise<string | null>,
): Promise<SocketLock | null> {
  const strangers = new UnprovenConnections({ connectionsMax: () => lockConnectionsMax, msMax: lockAskMs });
  const server = createServer((socket) => {
    // The lock keeps no process alive that has nothing else to do.
    socket.unref();
    strangers.admit(socket);
    const question = new FirstLine(2 * questionBytes + 1);
    const onData = async (chunk: Uint8Array) => {
      const line = question.push(chunk);
      if (line === undefined) return;
      socket.off("data", onData);
      const proof = line === null ? null : await answer(line);
      if (proof === null) return void socket.destroy();
      socket.end(`${proof}\n`);
      socket.destroySoon();
    };
    socket.on("data", onData);
  });
  if (!await listen(server, name)) return null;
  server.unref();
  const release = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      strangers.close();
    });
  return { release };
}

function listen(server: Server, name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // Later ones say that a connection was not accepted, for want of file descriptors: whoever made it is not answered.
    server.on("error", (error) => errorCode(error) === "EADDRINUSE" ? resolve(false) : reject(error));
    server.listen({ path: name }, () => resolve(true));
  });
}

/** Asks who holds the name for a proof, for at most so long; it may be stopped, gone by now, or anybody. */
export async function askHolder(name: string, msMax: number): Promise<Answer> {
  const question = randomBytes(questionBytes).toString("hex");
  const line = await new Promise<string | null>((resolve) => {
    const answer = new FirstLine(lockTextBytesMax);
    const socket: Socket = connect({ path: name });
    const timer = setTimeout(() => {
      resolve(null);
      socket.destroy();
    }, msMax);
    socket.on("connect", () => socket.write(`${question}\n`));
    socket.on("data", (chunk: Uint8Array) => {
      const line = answer.push(chunk);
      if (line === undefined) return;
      resolve(line);
      socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(null);
    });
  });
  return { question, line };
}
