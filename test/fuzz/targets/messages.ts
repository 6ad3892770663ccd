import fc from "fast-check";
import { Buffer } from "node:buffer";
import { isSameBytes } from "../../../src/lib/bytes.ts";
import { cborDepthMax, cborItemsMax } from "../../../src/lib/limits.ts";
import { decode, decodeMessage, encode, FrameError, prescan, scanItem } from "../../../src/protocol/cbor.ts";
import type { Message } from "../../../src/protocol/messages.ts";
import {
  encodeMessage,
  parseControlReply,
  parseIntroduction,
  parseWelcome,
} from "../../../src/protocol/parse.ts";
import { senders } from "../../protocol/message_samples.ts";
import { jobValue, sameValue } from "../../protocol/job_values.ts";
import { readItem, valueOf } from "../cbor_model.ts";
import { amplifyCbor, join, mutateCbor } from "../mutate.ts";
import { must, outcomeOf, quietly, type Target } from "../target.ts";
import { messageSamples } from "./samples.ts";

// One byte that says who reads it, then a body.

const parsers = senders.map(({ parse }) => parse);
/** As the corpus numbers them: WELCOME and AUTH are 4 and 5. */
const readers: readonly ((body: Uint8Array) => unknown)[] = [
  ...parsers.slice(0, 4),
  parseWelcome,
  parseIntroduction,
  ...parsers.slice(4),
];

function reading(
  input: Uint8Array,
): { parse: (body: Uint8Array) => unknown; isMessage: boolean; body: Uint8Array } {
  const which = (input[0] ?? 0) % readers.length;
  return { parse: readers[which]!, isMessage: which < 4 || which > 5, body: input.subarray(1) };
}

/** The pre-scan and the decoder against the model. */
function checkItem(body: Uint8Array): string | null {
  const model = readItem(body);
  const scanned = outcomeOf(() => prescan(body), FrameError);
  must("error" in scanned === (model === null), `the pre-scan says ${"error" in scanned ? "no" : "yes"}`);
  if ("error" in scanned) return scanned.error.message;
  const { item, items, levels } = model!;
  checkLimits(body, items, levels);
  const value = valueOf(item);
  must(sameValue(decode(body), value), "decode() gives another value");
  must(sameValue(decodeMessage(body), value), "decodeMessage() gives another value");
  const again = encode(value);
  prescan(again);
  must(sameValue(decode(again), value), "encoded and decoded once more it is another value");
  return null;
}

/** It counts items and levels as the model does, wherever in a buffer it stands. */
function checkLimits(body: Uint8Array, items: number, levels: number): void {
  const isFine = (itemsMax: number, depthMax: number) =>
    !("error" in outcomeOf(() => prescan(body, { itemsMax, depthMax }), FrameError));
  must(isFine(items, levels), `it has no more than ${items} items and ${levels} levels`);
  must(!isFine(items - 1, levels), `it has ${items} items`);
  must(levels === 0 || !isFine(items, levels - 1), `it has ${levels} levels`);
  const inside = join(Uint8Array.of(0x9f, 0xff, 0x18), body, Uint8Array.of(0xff, 0));
  const end = scanItem(inside, 3, inside.length, cborDepthMax, cborItemsMax);
  must(end === 3 + body.length, "within other bytes it ends elsewhere");
}

export const messages: Target = {
  name: "messages",
  subject(input) {
    const { parse, body } = reading(input);
    quietly(() => parse(body));
  },
  check(input) {
    const { parse, isMessage, body } = reading(input);
    const before = body.slice();
    const fault = checkItem(body);
    const parsed = outcomeOf(() => parse(body), FrameError);
    must(isSameBytes(before, body), "reading a message changes no byte of it");
    if ("error" in parsed) return parsed.error.message;
    must(fault === null, "what the pre-scan refuses is no message");
    const message = parsed.value as Message;
    const again = isMessage ? encodeMessage(message).subarray(4) : encode(message);
    must(sameValue(parse(again), message), "sent on it is another message");
    return `accepted ${isMessage ? message.kind : ""}\n${Buffer.from(again).toString("hex")}`;
  },
  seeds: (seed) => [
    ...messageSamples().map(({ reader, body }) => join(Uint8Array.of(reader), body)),
    ...fc.sample(jobValue, { seed, numRuns: 60 }).map((value) => join(Uint8Array.of(3), encode(value))),
  ],
  mutate: (input, random, other) => {
    const reader = random.perMille(50) ? random.int(0, readers.length - 1) : input[0] ?? 0;
    return join(Uint8Array.of(reader), mutateCbor(input.subarray(1), random, other.subarray(1)));
  },
  // A control client is answered by a master that has the token: see bombs.ts.
  amplify: (input, random, size) =>
    reading(input).parse === parseControlReply
      ? input
      : join(input.subarray(0, 1), amplifyCbor(input.subarray(1), random, size - 1)),
};
