import { createHmac } from "node:crypto";
import { lockTextBytesMax } from "../../../src/lib/limits.ts";
import { type Disk, stateFiles } from "../../../src/state/disk.ts";
import { FirstLine, isProof, proofOf } from "../../../src/state/lock.ts";
import { lockedError, type LockOwner, readOwner } from "../../../src/state/lock_owner.ts";
import { amplifyBytes, join, mutateBytes } from "../mutate.ts";
import { must, type Target } from "../target.ts";
import { cutUp, planned } from "./cuts.ts";
import { faultOfShown } from "./text.ts";

// A byte that says what it is: 0 what the holder of a lock answers, 1 what it is asked, 2 a note. Two of how it is cut, then the
// bytes.

const nonce = "5a".repeat(32), name = "\0taskmaster:lock", question = "0f".repeat(32);
const questionBytes = 65;

/** As docs/state-file.md defines it, without the product's code. */
const proofFor = (words: string): string =>
  createHmac("sha256", nonce).update(`taskmaster/lock/1${name}\0${words}`).digest("hex");

function settingOf(input: Uint8Array) {
  return { kind: ["answer", "question", "note"][(input[0] ?? 0) % 3]!, ...planned(input, 1) };
}

/** The first line, and how many bytes were taken from the stranger. */
function heard(bytes: Uint8Array, plan: number, bytesMax: number) {
  const line = new FirstLine(bytesMax);
  let taken = 0;
  for (const piece of cutUp(bytes, plan)) {
    const text = line.push(piece);
    taken += piece.length;
    if (text !== undefined) return { text, taken };
  }
  return { text: undefined, taken };
}

/** The same, of the whole. */
function lineOf(bytes: Uint8Array, bytesMax: number): string | null | undefined {
  const end = bytes.indexOf(10);
  if (end >= 0 && end < bytesMax) return Buffer.from(bytes.subarray(0, end)).toString("latin1");
  return bytes.length < bytesMax ? undefined : null;
}

/** A file alone, and how much of it was read. */
function diskOf(bytes: Uint8Array) {
  const told = { read: 0 };
  const file = {
    stat: async () => ({ isFile: () => true, size: bytes.length }),
    read: async (into: Uint8Array, offset: number, length: number, position: number) => {
      const part = bytes.subarray(position, position + length);
      into.set(part, offset);
      told.read += part.length;
      return { bytesRead: part.length };
    },
    close: async () => {},
  };
  const disk = { open: async () => file, lstat: async () => ({ isSymbolicLink: () => false }) };
  return { told, disk: disk as unknown as Disk };
}

async function checkNote(bytes: Uint8Array): Promise<string> {
  const { told, disk } = diskOf(bytes);
  const note = await readOwner(disk, "/d/posts.lock");
  must(told.read <= lockTextBytesMax + 1, "of a note 4 KiB are read");
  if (note === null) return "no note";
  const fault = faultOfShown(lockedError(stateFiles("/d", "posts"), note).message);
  must(fault === null, `what a note says is shown: ${fault}`);
  const again = await readOwner(diskOf(new TextEncoder().encode(JSON.stringify(note))).disk, "/d/posts.lock");
  must(
    again === null || JSON.stringify(again) === JSON.stringify(note),
    "written again it says something else",
  );
  return `note: nonce ${note.nonce === "" ? "none" : "some"}, address ${
    note.address === null ? "none" : "some"
  }`;
}

export const lock: Target = {
  name: "lock",
  async subject(input) {
    const { kind, plan, bytes } = settingOf(input);
    if (kind === "note") await readOwner(diskOf(bytes).disk, "/d/posts.lock");
    else heard(bytes, plan, lockTextBytesMax);
  },
  check(input) {
    const { kind, plan, bytes } = settingOf(input);
    if (kind === "note") return checkNote(bytes);
    const bytesMax = kind === "answer" ? lockTextBytesMax : questionBytes;
    const { text } = heard(bytes, plan, bytesMax);
    must(text === lineOf(bytes, bytesMax), "the line is the same, however it is cut");
    if (text === undefined || text === null) return `${kind}: ${text === null ? "no line" : "waits"}`;
    if (kind === "answer") {
      const holds = isProof({ question, line: text }, nonce, name);
      must(holds === (text === proofFor(question)), "nobody is a master who does not know the nonce");
      return `answer: ${holds ? "proved" : "not proved"}`;
    }
    const proof = proofOf(nonce, name, text);
    must(
      proof === (/^[0-9a-f]{64}$/.test(text) ? proofFor(text) : null),
      "a question is answered, and nothing else",
    );
    return `question: ${proof === null ? "none" : "answered"}`;
  },
  seeds: () => {
    const note: LockOwner = {
      host: "web1",
      bootId: "1e3d",
      space: "pid:[1] net:[2]",
      pid: 812,
      pidStart: "125368",
      address: "10.0.0.5:5050",
      fingerprint: null,
      nonce,
    };
    const texts = [
      `${proofFor(question)}\n`,
      proofFor(question),
      `${question}\n`,
      `${"x".repeat(5_000)}\n`,
      `${JSON.stringify(note)}\n`,
      JSON.stringify({ ...note, host: "\u001b[2J\u202e\u009b", address: null, nonce: undefined }),
      "",
    ];
    return texts.flatMap((text) =>
      [0, 1, 2].map((kind) => join(Uint8Array.of(kind, 0, kind), new TextEncoder().encode(text)))
    );
  },
  mutate: (input, random, other) => mutateBytes(input, random, other, words),
  amplify: amplifyBytes,
};

const words = [
  "\n",
  '"pid":',
  "-1",
  '"nonce":""',
  '"address":null',
  "\u202e",
  "__proto__",
  "\\u001b",
  proofFor(question),
]
  .map((text) => new TextEncoder().encode(text));
