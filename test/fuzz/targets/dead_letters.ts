import { isSameBytes } from "../../../src/lib/bytes.ts";
import { StateError } from "../../../src/lib/errors.ts";
import { encode } from "../../../src/protocol/cbor.ts";
import { deadLetterLine, handledLine, lastLetters } from "../../../src/state/dead_letters.ts";
import { type DeadLetters, readDeadLetters } from "../../kit/dead_letters.ts";
import type { Disk } from "../../../src/state/disk.ts";
import { Random } from "../../sim/random.ts";
import { attempt, untouched } from "../../state/fixtures.ts";
import { amplifyBytes, mutateBytes } from "../mutate.ts";
import { few, known, must, type Target } from "../target.ts";

// A file of dead letters.

/** The file alone, in reads that come out short: at the same places for the same `plan`. */
function diskOf(bytes: Uint8Array, plan: number): Disk {
  const random = new Random(plan);
  const file = {
    stat: async () => ({ isFile: () => true, size: bytes.length }),
    read: async (into: Uint8Array, offset: number, length: number, position: number) => {
      const most = plan === 0 ? length : Math.min(length, random.int(1, 40));
      const part = bytes.subarray(position, position + most);
      into.set(part, offset);
      return { bytesRead: part.length };
    },
    close: async () => {},
  };
  return { open: async () => file } as unknown as Disk;
}

const read = (bytes: Uint8Array, plan: number): Promise<DeadLetters> =>
  readDeadLetters("/d/x", diskOf(bytes, plan));

const time = "2025-01-02T03:04:05.678Z";
const history = { failures: 1, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [attempt] };
const line = (seq: number, job: unknown): string => deadLetterLine({ seq, job: encode(job), history }, time);
const row = {
  cursor: encode(5),
  path: "$.name",
  reason: "a string with half a surrogate pair",
  dataFault: "",
};
const badRow = (seq: number): string => deadLetterLine({ seq, job: null, history: untouched, row }, time);

const words = [
  '"seq":',
  '"cbor":null',
  "\n",
  "\r\n",
  '"handled":1',
  "null",
  "[]",
  "{}",
  "1e999",
  "-1",
  '"cbor":""',
  "\u2028",
  "é",
  "\\ud800",
]
  .map((text) => new TextEncoder().encode(text));

export const deadLetters: Target = {
  name: "dead_letters",
  async subject(input) {
    await read(input, 0).catch(() => {});
  },
  async check(input) {
    try {
      const whole = await read(input, 0);
      const cut = await read(input, 1 + input.length);
      must(JSON.stringify(cut) === JSON.stringify(whole), "read in pieces it says something else");
      for (const letter of whole.letters) await checkLetter(letter);
      const last = await lastLetters("/d/x", diskOf(input, 0), () => true);
      must(last.size === whole.letters.length, "both readers find the same letters");
      return `letters: ${few(whole.letters.length)}, damaged: ${few(whole.damagedLines)}\n${
        whole.letters.map(({ seq }) => seq)
      }`;
    } catch (error) {
      return known(error, [StateError]).message;
    }
  },
  seeds: () =>
    [
      "",
      line(1, { id: 1 }) + line(2, "two") + handledLine(1, time) + line(2, [2n, new Date(0)]),
      line(3, "\u2028é\ufeff\ud83d\ude00".repeat(20)),
      line(1, 1).slice(0, 70),
      "\n\n" + handledLine(7, time) + "null\n{}\n[1]\n",
      "\ufeff" + line(4, null),
      badRow(5) + line(5, 1) + badRow(6),
    ].map((text) => new TextEncoder().encode(text)),
  mutate: (input, random, other) => mutateBytes(input, random, other, words),
  amplify: amplifyBytes,
};

/** What was read can be written: a letter keeps its job and its counts. */
async function checkLetter(
  { seq, failures, crashes, cbor, row }: DeadLetters["letters"][number],
): Promise<void> {
  const history = { failures, crashes, crashesInCompany: 0, lostSessions: 0, attempts: [] };
  const letter = cbor === null
    ? { seq, job: null, history, row: { ...row!, cursor: encode(row!.cursor), dataFault: "" } }
    : { seq, job: cbor, history };
  const again = await read(new TextEncoder().encode(deadLetterLine(letter, time)), 0);
  must(again.letters.length === 1 && again.damagedLines === 0, "written once more it is no letter");
  const { cbor: bytes, row: fault } = again.letters[0]!;
  if (cbor === null) {
    must(bytes === null && fault?.reason === row!.reason, "written once more it has another fault");
  } else must(bytes !== null && isSameBytes(bytes, cbor), "written once more it is another job");
}
