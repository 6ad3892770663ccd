import { headerBytes as stateHeaderBytes } from "../../src/state/state_format.ts";
import { join } from "./mutate.ts";

/** Small to send, dear to read: what the limits are there for. Each is of just under a megabyte, or whole in itself. */
export type Bomb = Readonly<{ what: string; target: string; input: () => Uint8Array }>;

const size = 999_000;

/** A system counts eight bytes for each word of a command line besides its own: of short ones, fewer fit. */
const wordsSize = 200_000;

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.replaceAll(" ", "").match(/../g) ?? [], (byte) => parseInt(byte, 16));

/** `piece` as often as there is room. */
function filled(piece: string, room = size): Uint8Array {
  const one = hex(piece);
  const bytes = new Uint8Array(room - room % one.length);
  for (let at = 0; at < bytes.length; at += one.length) bytes.set(one, at);
  return bytes;
}

/** An array of as many of these as fit. */
function many(piece: string): Uint8Array {
  const items = filled(piece);
  const head = hex("9a 00000000");
  new DataView(head.buffer).setUint32(1, items.length / hex(piece).length);
  return join(head, items);
}

/** A text of `chars` digits, different for each `index`. */
const key = (index: number): string =>
  `65${Buffer.from(index.toString(36).padStart(5, "0")).toString("hex")}`;

/** Maps or one map of keys that are all different: each may cost the engine a shape of its own. */
function keyed(each: (key: string) => string, count: number, head: string): Uint8Array {
  const bytes = hex(head);
  new DataView(bytes.buffer).setUint32(1, count);
  return Buffer.concat([bytes, ...Array.from({ length: count }, (_, index) => hex(each(key(index))))]);
}

/** Maps of 64 keys each, which are words of the protocol: as likely as not no two are alike. */
function shuffled(): Uint8Array {
  const words = ["lease", "jobs", "masterId", "number", "seq", "how", "message", "stack"]
    .map((word) => join(Uint8Array.of(0x60 + word.length), Buffer.from(word), Uint8Array.of(0)));
  let state = 1;
  const parts: Uint8Array[] = [hex("9a 00000000")];
  let bytes = 0, maps = 0;
  for (; bytes < size - 1_000; maps++) {
    const map = [
      hex("b8 40"),
      ...Array.from({ length: 64 }, () => words[(state = state * 48_271 % 0x7fffffff) % 8]!),
    ];
    for (const part of map) bytes += part.length;
    parts.push(...map);
  }
  new DataView(parts[0]!.buffer).setUint32(1, maps);
  return Buffer.concat(parts);
}

const bodies: readonly (readonly [what: string, body: () => Uint8Array])[] = [
  ["a depth bomb", () => filled("81")],
  ["a depth bomb of maps", () => filled("a1 61 61")],
  ["a depth bomb of tags", () => filled("d9 0102 81")],
  ["an array of 2^64 items", () => hex("9b ffffffffffffffff")],
  ["a map of 2^32 entries", () => hex("ba ffffffff")],
  ["a text of 2^40 bytes", () => hex("7b 0000010000000000 61")],
  ["a bignum of a megabyte", () => join(hex("c2 5a 000f0000"), filled("ff", 0x0f0000))],
  ["bignums of a kilobyte", () => many(`c2 59 0400 ${"ff".repeat(1024)}`)],
  ["empty bignums", () => many("c2 40")],
  ["empty arrays", () => many("80")],
  ["empty maps", () => many("a0")],
  ["empty sets", () => many("d9 0102 80")],
  ["empty maps of any keys", () => many("d9 0103 a0")],
  ["times", () => many("c1 00")],
  ["times of NaN", () => many("c1 f9 7e00")],
  ["whole numbers of 64 bits", () => many("1b ffffffffffffffff")],
  ["half floats", () => many("f9 3c00")],
  ["short floats", () => many("fa 3fc00000")],
  ["texts with long heads", () => many("7b 0000000000000001 61")],
  ["words of the protocol as keys, in ever other orders", () => shuffled()],
  ["empty texts", () => many("60")],
  ["empty byte strings", () => many("40")],
  ["texts that are no UTF-8", () => many("64 f0f0f0f0")],
  ["a text of a megabyte that is no UTF-8", () => join(hex("7a 000f0000"), filled("f0", 0x0f0000))],
  ["a text of byte order marks", () => join(hex("7a 000f0000"), filled("efbbbf", 0x0f0000))],
  ["texts of byte order marks", () => many(`78 48 ${"efbbbf".repeat(24)}`)],
  ["maps of one key each, all different", () => keyed((key) => `a1 ${key} 00`, 120_000, "9a 00000000")],
  ["a map of keys that are all different", () => keyed((key) => `${key} 00`, 140_000, "ba 00000000")],
  ["a map of one key again and again", () => keyed(() => "61 61 00", 300_000, "ba 00000000")],
  ["a set of numbers that collide", () => join(hex("d9 0102"), many("1a ffff0000"))],
  ["records of cbor-x", () => many("d9 dfff 81 00")],
  ["packed values", () => many("e0")],
  ["regular expressions", () => many("d8 1b 82 61 28 60")],
  ["lengths that are not given", () => filled("9f")],
];

/** A message that has everything it needs, but for one field that costs. */
const inField: readonly (readonly [what: string, head: string, field: () => Uint8Array])[] = [
  ["ready that holds 0", "a3 646b696e64 657265616479 66637265646974 00 6468656c64", () => many("00")],
  [
    "ready that holds empty maps",
    "a3 646b696e64 657265616479 66637265646974 00 6468656c64",
    () => many("a0"),
  ],
];

/**
 * What a master answers to a control client, up to the result. It may be denser than other messages: only maps of one key
 * each cost more than is allowed to strangers, up to 60 MiB a megabyte, and a master that sends them has the token.
 */
const controlAnswer = "a3 646b696e64 66616e73776572 626964 01 66726573756c74";
const results: readonly (readonly [what: string, result: () => Uint8Array])[] = [
  ["lists of three", () => many("83 00 00 00")],
  ["short texts", () => many("63 61 61 61")],
  ["maps of two keys", () => many("a2 62 6161 00 62 6162 00")],
  ["numbers", () => many("00")],
  ["empty arrays", () => many("80")],
  ["empty texts", () => many("60")],
];

/** An answer of as many jobs as fit, and then a field that is wrong. */
function longAnswer(): Uint8Array {
  const ranges = Array.from({ length: 190_000 }, (_, index) => index * 2 + 70_000);
  const list = Buffer.concat([hex("9a 00000000"), ...ranges.map((bound) => uint32(0x1a, bound))]);
  new DataView(list.buffer).setUint32(1, ranges.length);
  return join(hex("a2 646b696e64 676f766572647565 646a6f6273"), list);
}

function uint32(head: number, value: number): Uint8Array {
  return Uint8Array.of(head, value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255);
}

/** Flags of a state whose hashes are put right. */
const putRight = Uint8Array.of(1);
const slave = Uint8Array.of(0), plan = { whole: Uint8Array.of(0, 0), byte: Uint8Array.of(0, 1) };

export const bombs: readonly Bomb[] = [
  ...bodies.map(([what, body]) => ({ what, target: "messages", input: () => join(slave, body()) })),
  ...bodies.map(([what, body]) => ({
    what: `a job: ${what}`,
    target: "jobs",
    input: () => join(Uint8Array.of(1), body()),
  })),
  ...inField.map(([what, head, field]) => ({
    what,
    target: "messages",
    input: () => join(slave, hex(head), field()),
  })),
  ...results.map(([what, result]) => ({
    what: `a control client is answered ${what}`,
    target: "messages",
    input: () => join(Uint8Array.of(7), hex(controlAnswer), result()),
  })),
  { what: "a long list of jobs", target: "messages", input: () => join(Uint8Array.of(3), longAnswer()) },
  { what: "a frame of 4 GiB", target: "frames", input: () => join(plan.whole, hex("ffffffff 00")) },
  {
    what: "a frame of 16 MiB that stops after one",
    target: "frames",
    input: () => join(plan.whole, hex("01000000"), filled("00")),
  },
  {
    what: "the same, byte by byte",
    target: "frames",
    input: () => join(plan.byte, hex("01000000"), filled("00")),
  },
  { what: "empty frames", target: "frames", input: () => join(plan.whole, filled("00000000")) },
  { what: "empty frames, byte by byte", target: "frames", input: () => join(plan.byte, filled("00000000")) },
  {
    what: "an AUTH without end",
    target: "greetings",
    input: () => join(Uint8Array.of(0, 0, 1), hex("7461736b6d6173746572 02 00 0001 000003e0"), filled("00")),
  },
  {
    what: "noise at the door",
    target: "greetings",
    input: () => join(Uint8Array.of(0, 0, 0), filled("47 45 54")),
  },
  {
    what: "a WELCOME byte by byte",
    target: "welcomes",
    input: () => join(Uint8Array.of(0, 0, 1), welcomeOf(size)),
  },
  {
    what: "a WELCOME at once",
    target: "welcomes",
    input: () => join(Uint8Array.of(0, 0, 0), welcomeOf(size)),
  },
  { what: "one word", target: "arguments", input: () => filled("61") },
  { what: "one flag", target: "arguments", input: () => join(Uint8Array.of(0x2d, 0x2d), filled("61")) },
  { what: "many words", target: "arguments", input: () => filled("61 00", wordsSize) },
  { what: "many flags", target: "arguments", input: () => filled("2d 2d 71 75 69 65 74 00", wordsSize) },
  { what: "many unknown flags", target: "arguments", input: () => filled("2d 2d 71 71 00", wordsSize) },
  {
    what: "many arguments of a plugin",
    target: "arguments",
    input: () => join(text("\0run\0p.ts\0"), filled("61 3d 00", wordsSize)),
  },
  ...["::", ":", "[", "1", "1.", "1h", "1.1h", "f", "%", "\ud83d\ude00", "\x1b", "\n", "\\", "-"].flatMap((
    piece,
  ) =>
    [0, 1, 2, 3, 4, 5].map((reader) => ({
      what: `value ${reader} of ${JSON.stringify(piece)}`,
      target: "values",
      input: () =>
        join(Uint8Array.of(reader), filled(Buffer.from(piece).toString("hex")), Uint8Array.of(0x21)),
    }))
  ),
  ...[["empty arrays", "80"], ["empty texts", "60"], ["arrays of one number", "81 00"]].map((
    [what, item],
  ) => ({
    what: `a state of ${what}`,
    target: "state",
    input: () => join(putRight, new Uint8Array(stateHeaderBytes), many(item!)),
  })),
  { what: "a line without end", target: "dead_letters", input: () => filled("61") },
  { what: "empty lines", target: "dead_letters", input: () => filled("0a") },
  { what: "lines of nothing", target: "dead_letters", input: () => filled("7b7d0a") },
  { what: "deep JSON", target: "dead_letters", input: () => filled("5b") },
];

function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}

/** HELLO, and a WELCOME of this size whose proof does not hold. */
function welcomeOf(bytes: number): Uint8Array {
  const header = hex("7461736b6d6173746572 03 00 0001 00000000");
  new DataView(header.buffer).setUint32(14, bytes - 100);
  const hello = join(hex("7461736b6d6173746572 01 00 0001 00000020"), new Uint8Array(32));
  return join(hello, header, new Uint8Array(bytes - 100));
}
