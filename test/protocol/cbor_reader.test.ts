import fc from "fast-check";
import { Buffer } from "node:buffer";
import t from "tap";
import { decode, decodeJobs, decodeMessage, encode, JobEncoder } from "../../src/protocol/cbor.ts";
import { KeyShapes } from "../../src/protocol/cbor_shapes.ts";
import { holds } from "../kit/holds.ts";
import { jobValue, sameValue } from "./job_values.ts";

function through(jobs: readonly unknown[]): unknown[] {
  const encoder = new JobEncoder();
  for (const job of jobs) encoder.append(job);
  return decodeJobs(encoder.take().bytes, jobs.length);
}

t.test("jobs arrive as they were yielded, the first of a shape and the fortieth", async (t) => {
  holds(
    t,
    fc.property(fc.array(jobValue, { maxLength: 4 }), (jobs) => {
      const many = Array.from({ length: 40 }, () => jobs).flat();
      return sameValue(through(many), many);
    }),
    { numRuns: 200 },
  );
});

t.test("what others wrote is read as cbor-x reads it", async (t) => {
  holds(
    t,
    fc.property(fc.array(jobValue, { maxLength: 10 }), (jobs) => {
      const encoded = jobs.map((job) => encode(job));
      return sameValue(decodeJobs(Buffer.concat(encoded), jobs.length), encoded.map(decode));
    }),
    { numRuns: 200 },
  );
  const hex = [
    "1b000000000000000a", // 10 in eight bytes, a bigint to cbor-x
    "3b7fffffffffffffff",
    "3affffffff",
    "f93c00", // 1 as half a float
    ...["f90001", "f903ff", "f90400", "f97bff", "f97c00", "f97e00", "f98000", "f9c400", "f9fc00"],
    "fa3fc00000",
    "fa7fc00000",
    "b90001626964fb3ff0000000000000",
    "a16269641a00000001",
    "5b0000000000000001ff", // lengths in eight bytes
    "7b000000000000000161",
    "9b0000000000000001f6",
    "bb00000000000000016161f6",
    "a178026964f7", // a key with a longer head than it needs
    "a2623130016135f4", // keys that are whole numbers
    "c11b0000018bcfe56800", // a date in 64 bits
    "c1fb41d954fc40000000",
    "d9010280",
    "d90103a0",
    "c24101",
    "7803c3a961", // é and a
    "63efbfbd", // U+FFFD itself
    "5818000102030405060708090a0b0c0d0e0f1011121314151617",
  ];
  for (const word of hex) {
    const bytes = new Uint8Array(Buffer.from(word, "hex"));
    const forty = decodeJobs(Buffer.concat(Array(40).fill(bytes)), 40);
    t.ok(forty.every((job) => sameValue(job, decode(bytes))), `${word}: ${String(forty[39])}`);
  }
});

t.test("a job with a text that is no UTF-8, or a key twice, is refused, and its neighbours are decoded", async (t) => {
  const hex = (word: string) => new Uint8Array(Buffer.from(word.replaceAll(" ", ""), "hex"));
  const flat = Array.from({ length: 70 }, (_, index) => `${index}`.padStart(2, "k"));
  const table = (keys: string[]) =>
    Buffer.concat([Uint8Array.of(0xb8, keys.length), ...keys.flatMap((key) => [encode(key), encode(1)])]);
  const text = "a text that is not in UTF-8", key = "a key that the map has already";
  const bad: [what: string, bytes: Uint8Array, reason: string][] = [
    ["a byte that begins nothing", hex("61 ff"), `at 1 there is ${text}`],
    ["as long as its bytes", hex("63 61 80 61"), `at 1 there is ${text}`],
    ["half a character", hex("a1 61 61 61 c3"), `at 4 there is ${text}`],
    ["a surrogate", hex("82 01 63 eda080"), `at 3 there is ${text}`],
    ["behind U+FFFD itself", hex("64 efbfbd ff"), `at 1 there is ${text}`],
    ["a longer way than needed", hex("62 c080"), `at 1 there is ${text}`],
    [
      "in a long text",
      Buffer.concat([hex("79 0200"), new Uint8Array(511).fill(0x61), hex("fe")]),
      `at 3 there is ${text}`,
    ],
    ["as a key", hex("a1 61 ff 01"), `at 2 there is ${text}`],
    ["within a set", hex("d90102 81 61 ff"), `at 5 there is ${text}`],
    ["as a key of a map of any keys", hex("d90103 a1 61 ff 01"), `at 5 there is ${text}`],
    ["twice at once", hex("a2 61 61 01 61 61 02"), `at 5 there is ${key}`],
    ["twice, not at once", hex("a3 61 61 01 61 62 02 61 61 03"), `at 8 there is ${key}`],
    ["twice, with a head that is longer than needed", hex("a2 61 61 01 78 01 61 02"), `at 6 there is ${key}`],
    ["twice, as no text", hex("a2 60 01 60 02"), `at 4 there is ${key}`],
    ["twice within", hex("a2 61 61 81 a2 61 61 01 61 61 02 61 62 03"), `at 9 there is ${key}`],
    ["twice within a set", hex("d90102 81 a2 61 61 01 61 61 02"), `at 9 there is ${key}`],
    ["twice in a table", table([...flat, flat[3]!]), `at 283 there is ${key}`],
  ];
  const good = [
    { id: 1, name: "é", a: { a: [{ a: 1, b: 2 }] } },
    { a: 1, b: 2 },
    { b: 1, a: 2 },
    "\ufffd",
    new Set(["a"]),
  ];
  for (const [what, bytes, reason] of bad) {
    for (let round = 0; round < 40; round++) {
      const refused: string[] = [];
      const jobs = decodeJobs(
        Buffer.concat([...good.map(encode), bytes, ...good.map(encode), bytes]),
        2 * good.length + 2,
        (index, { message }) => refused.push(`${index} ${message}`),
      );
      const wanted = [good.length, 2 * good.length + 1].map((at) =>
        `${at} Cannot accept these bytes: ${reason}`
      );
      if (!sameValue(refused, wanted)) return t.same(refused, wanted, what);
      const sound = jobs.filter((_, index) => index !== good.length && index !== 2 * good.length + 1);
      if (!sameValue(sound, [...good, ...good])) return t.fail(`${what}: the neighbours are other values`);
    }
    t.throws(() => decodeJobs(bytes, 1), { name: "FrameError" }, what);
  }
  const wide = Object.fromEntries(Array.from({ length: 40_000 }, (_, index) => [`k${index}`, 1]));
  t.ok(
    sameValue(through([new Set([wide])]), [new Set([wide])]),
    "but a map of a job may have any number of keys",
  );
});

t.test("numbers around every length that a head may have", async (t) => {
  const edges = [0, 23, 24, 2 ** 8, 2 ** 16, 2 ** 31, 2 ** 32, 2 ** 52, 2 ** 53];
  const near = edges.flatMap((edge) => [-1.5, -1, -0.5, 0, 0.5, 1, 1.5].map((step) => edge + step));
  const numbers = [
    ...near,
    ...near.map((number) => -number),
    5e-324,
    -1.7976931348623157e308,
    -0,
    NaN,
    -Infinity,
  ];
  const arrived = through(numbers);
  numbers.forEach((number, index) => t.ok(sameValue(arrived[index], number), String(number)));
});

t.test("texts around every length that is handled on its own", async (t) => {
  for (const unit of ["x", "é", "€", "\u{1f600}", "\ufeff", "\0"]) {
    const texts = Array.from({ length: 140 }, (_, length) => unit.repeat(length));
    t.same(through(texts), texts, `as values: ${JSON.stringify(unit)}`);
    const keys = texts.map((text) => ({ [text]: text, [`${text}2`]: { [text]: 1 } }));
    t.same(through([...keys, ...keys]), [...keys, ...keys], `as keys: ${JSON.stringify(unit)}`);
  }
});

t.test("what others added to all objects is no part of a job", async (t) => {
  Object.defineProperty(Object.prototype, "everywhere", {
    value: 1,
    enumerable: true,
    configurable: true,
    writable: true,
  });
  t.teardown(() => delete (Object.prototype as { everywhere?: number }).everywhere);
  const [job] = through([{ id: 1 }]) as [object];
  t.ok(Object.hasOwn(job, "id"));
  t.notOk(Object.hasOwn(job, "everywhere"));
});

t.test("byte strings are copies", async (t) => {
  const bytes = encode(Uint8Array.of(1, 2, 3));
  const [job] = decodeJobs(bytes, 1) as [Uint8Array];
  bytes.fill(0);
  t.same([...job], [1, 2, 3]);
  const [ofBuffer] = decodeJobs(Buffer.from(encode(Uint8Array.of(4))), 1) as [Uint8Array];
  t.equal(ofBuffer.constructor, Uint8Array);
});

t.test("keys that never come again are forgotten, and jobs arrive all the same", async (t) => {
  const shapes = new KeyShapes();
  let forgotten = 0;
  for (let index = 0, root = shapes.empty; index < 20_000; index++) {
    shapes.with(shapes.empty, `${index} ${"k".repeat(200)}`);
    if (shapes.empty !== root) forgotten++;
    root = shapes.empty;
  }
  t.ok(forgotten >= 8 && forgotten <= 20, `a MiB of them at a time: ${forgotten} times`);
  const jobs = Array.from(
    { length: 10_000 },
    (_, index) => ({ [`k${index}`]: { [`inner ${index}`]: index }, id: index }),
  );
  t.ok(sameValue(through(jobs), jobs));
});

t.test("of the keys of messages only so many are kept, and what else comes is read all the same", async (t) => {
  const shapes = new KeyShapes(1_000, "stop");
  const [one, two] = ["a", "b"].map((key) => shapes.with(shapes.empty, key));
  t.ok(one && two && shapes.with(one, "c"));
  t.equal(shapes.with(one!, "d"), null);
  t.equal(shapes.with(shapes.empty, "b"), two, "those that are there stay");
  const keys = ["lease", "jobs", "masterId", "number", "seq", "how", "message", "stack"];
  const messages = Array.from({ length: 2_000 }, (_, index) => {
    const object: Record<string, unknown> = {};
    for (let place = 0, left = index; place < 8; left = Math.floor(left / 8), place++) {
      object[keys[(left + place) % 8]!] = place === 3
        ? { [`k${index}`]: index, inner: { seq: index } }
        : left;
    }
    return object;
  });
  t.ok(messages.every((message) => sameValue(decodeMessage(encode(message)), message)));
});

t.test("keys of tables and of objects", async (t) => {
  for (const count of [0, 1, 15, 16, 23, 24, 63, 64, 65, 66, 300, 65_535, 65_536]) {
    const job = Object.fromEntries(Array.from({ length: count }, (_, key) => [`k${key}`, key]));
    const times = count > 1_000 ? 1 : 40;
    t.ok(sameValue(through(Array(times).fill(job)), Array(times).fill(job)), `${count} keys`);
  }
});

t.test("a job may change its shape, and what its keys hold, at any time", async (t) => {
  const jobs = Array.from({ length: 500 }, (_, index) => {
    // as long as the usual keys, and other only in a letter
    if (index % 4 === 1) return { ie: index, nema: { ie: `${index}` } };
    if (index % 7 === 0) return { id: index, "a b": null, 'quo"te\\': [index], "</script>\u2028": index };
    if (index % 5 === 0) return { id: { id: { id: index } }, name: `${index}` };
    return index % 3 === 0 ? { name: index, id: new Date(index) } : { id: index };
  });
  t.ok(sameValue(through(jobs), jobs));
});
