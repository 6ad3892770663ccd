import { createHmac } from "node:crypto";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { callSupervisor, greetWorker, notProved } from "../../../src/link/local_link.ts";
import { amplifyBytes, join, mutateBytes } from "../mutate.ts";
import { must, type Target } from "../target.ts";
import { cutUp, planned } from "./cuts.ts";

// A byte of flags, two of how it is cut, then what a stranger says. Flags: 1 he speaks to a worker, else to its supervisor; 2 the
// MAC is put right, for no mutation would ever hit it.

const secret = new Uint8Array(32).fill(0x3c);
const awaited = 7, callBytes = 36, answerBytes = 64, macBytes = 32;

/** As it is written beside the product's code, without that. */
const macOf = (side: string, call: Uint8Array, nonce: Uint8Array): Uint8Array =>
  new Uint8Array(
    createHmac("sha256", secret).update(`taskmaster local/1 ${side}\0`).update(call).update(nonce).digest(),
  );

class FakeSocket extends EventEmitter {
  written: Uint8Array = new Uint8Array(0);
  isDestroyed = false;

  setNoDelay(): void {}
  write(bytes: Uint8Array): boolean {
    must(!this.isDestroyed, "nothing is written behind the end");
    this.written = join(this.written, bytes);
    return true;
  }
  end(): void {}
  destroy(): void {
    this.isDestroyed = true;
  }
}

function settingOf(input: Uint8Array) {
  const flags = input[0] ?? 0;
  return { toWorker: (flags & 1) === 1, isRight: (flags & 2) === 2, ...planned(input, 1) };
}

/** Says it to one side; `right` makes the proof that what was answered asks for. */
function say(
  bytes: Uint8Array,
  plan: number,
  { toWorker, isRight }: Readonly<{ toWorker: boolean; isRight: boolean }>,
) {
  const socket = new FakeSocket();
  const told = { socket, isLinked: false, reason: null as string | null, taken: 0 };
  const over = () => told.isLinked || socket.isDestroyed;
  const hear = (part: Uint8Array) => {
    for (const piece of cutUp(part, plan)) {
      if (over()) return;
      told.taken += piece.length;
      socket.emit("data", piece.slice());
    }
  };
  const real = socket as unknown as Socket;
  const onLink = () => void (told.isLinked = true);
  const options = { nowMs: () => 0 };
  if (toWorker) {
    const onEnd = (reason: string) => void (told.reason = reason);
    callSupervisor(real, { worker: awaited, secret, isInPlace: () => true, options, onLink, onEnd });
    const right = macOf("supervisor", socket.written, bytes.slice(0, 32));
    hear(isRight ? join(bytes.slice(0, 32), right, bytes.slice(answerBytes)) : bytes);
  } else {
    greetWorker(real, {
      secretOf: (worker) => worker === awaited ? secret : undefined,
      onWorker: onLink,
      ...options,
    });
    hear(isRight ? bytes.slice(0, callBytes) : bytes);
    const right = macOf("worker", bytes.slice(0, callBytes), socket.written.slice(0, 32));
    if (isRight && socket.written.length > 0) hear(join(right, bytes.slice(callBytes + macBytes)));
  }
  return told;
}

function checkWorker(bytes: Uint8Array, isRight: boolean, told: ReturnType<typeof say>): string {
  const { socket: { written }, isLinked, reason, taken } = told;
  must(
    written.length === callBytes + (isLinked ? macBytes : 0),
    "a worker says its number and a nonce first",
  );
  must(isLinked === (isRight && bytes.length >= 32), "only who knows the secret is its supervisor");
  if (isLinked) return "a supervisor";
  must(reason === (taken >= answerBytes ? notProved : null), "who proved nothing is told by his reason");
  return reason === null ? "waits" : "a stranger";
}

function checkSupervisor(bytes: Uint8Array, isRight: boolean, told: ReturnType<typeof say>): string {
  const { socket: { written, isDestroyed }, isLinked, taken } = told;
  const isCalled = bytes.length >= callBytes && new DataView(bytes.slice().buffer).getUint32(0) === awaited;
  must(written.length === 0 || written.length === answerBytes, "a supervisor answers once");
  must(written.length === 0 || isCalled, "who names nobody that is awaited is told nothing");
  must(isLinked === (isRight && isCalled), "only who knows the secret is a worker");
  if (isLinked) return "a worker";
  must(isDestroyed || taken < callBytes + macBytes, "a stranger is cut off");
  return `${isDestroyed ? "cut off" : "waits"}${written.length === 0 ? "" : ", answered"}`;
}

export const workers: Target = {
  name: "workers",
  subject(input) {
    const { plan, bytes, ...to } = settingOf(input);
    say(bytes, plan, to).socket.emit("close");
  },
  check(input) {
    const { plan, bytes, ...to } = settingOf(input);
    const told = say(bytes, plan, to);
    must(!Buffer.from(told.socket.written).includes(Buffer.from(secret)), "neither tells the secret");
    const outcome = (to.toWorker ? checkWorker : checkSupervisor)(bytes, to.isRight, told);
    told.socket.emit("close");
    return `${to.toWorker ? "worker" : "supervisor"}: ${outcome}`;
  },
  seeds: () => {
    const call = join(Uint8Array.of(0, 0, 0, awaited), new Uint8Array(32).fill(1));
    const texts = [call, join(call, new Uint8Array(40)), new Uint8Array(70), new Uint8Array(0)];
    return texts.flatMap((text) => [0, 1, 2, 3].map((flags) => join(Uint8Array.of(flags, 0, flags), text)));
  },
  mutate: (input, random, other) => mutateBytes(input, random, other, [Uint8Array.of(0, 0, 0, awaited)]),
  amplify: amplifyBytes,
};
