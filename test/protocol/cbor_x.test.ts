import fc from "fast-check";
import t from "tap";
import { decode, decodeJobs, encode, JobEncoder, prescan } from "../../src/protocol/cbor.ts";
import { holds } from "../kit/holds.ts";
import { jobValue, sameValue } from "./job_values.ts";

t.test("every job value arrives as the same type, at any depth", async (t) => {
  holds(
    t,
    fc.property(jobValue, (value) => {
      const bytes = encode(value);
      prescan(bytes);
      return sameValue(decode(bytes), value);
    }),
    { numRuns: 2_000 },
  );
});

t.test("values with a trap in them arrive", async (t) => {
  const mark = "\ufeff";
  const values: readonly unknown[] = [
    0n,
    5n,
    -5n,
    2n ** 53n,
    2n ** 64n - 1n,
    2n ** 64n,
    -(2n ** 64n),
    -(2n ** 64n) - 1n,
    2n ** 8191n,
    -0,
    NaN,
    Infinity,
    -Infinity,
    2 ** 32,
    -(2 ** 32),
    2 ** 53,
    1e300,
    0.1,
    -(2 ** 31) - 1,
    new Date(0),
    new Date(-1),
    new Date(NaN),
    new Date(1e15 + 1),
    new Date(-1e15 - 1),
    undefined,
    [undefined, null],
    { a: undefined },
    { constructor: 5, hasOwnProperty: 6, toString: 7 },
    mark + "x".repeat(100),
    [mark, mark + mark + "y".repeat(80), "z".repeat(70) + mark],
    "x".repeat(63),
    "x".repeat(64),
    "x".repeat(65),
    "é".repeat(40),
    "\u{1f600}".repeat(400),
    "",
    new Map<unknown, unknown>([[{ a: 1 }, new Map([[1, { b: new Set([new Map()]) }]])], ["__proto__", 1], [
      NaN,
      2,
    ]]),
    new Set([1, "1", 1n, [new Uint8Array([0xef, 0xbb, 0xbf])]]),
    new Uint8Array(70_000).fill(7),
    {},
    [],
    [[[]]],
  ];
  for (const value of values) {
    t.ok(sameValue(decode(encode(value)), value), `arrives: ${String(encode(value).subarray(0, 20))}`);
  }
});

t.test("what counts as equal arrives as its plain form", async (t) => {
  const row = Object.assign(Object.create(null), { id: 1 });
  t.ok(sameValue(decode(encode(row)), { id: 1 }), "an object without prototype, as a row of node:sqlite");
  const bytes = decode(encode({ raw: Buffer.from("abc") })) as { raw: Uint8Array };
  t.equal(bytes.raw.constructor, Uint8Array, "a Buffer arrives as a Uint8Array");
  t.same([...bytes.raw], [97, 98, 99]);
});

t.test("encode() gives memory that no later call changes", async (t) => {
  const first = encode({ text: "first" });
  const copy = first.slice();
  for (let index = 0; index < 1_000; index++) encode({ text: `later ${index}` });
  t.same(first, copy);
});

t.test("decode() copies byte strings out of its input", async (t) => {
  const bytes = encode([Uint8Array.of(1, 2, 3)]);
  const [inside] = decode(bytes) as [Uint8Array];
  bytes.fill(0);
  t.same([...inside], [1, 2, 3]);
  const [ofBuffer] = decode(Buffer.from(encode([Uint8Array.of(4)]))) as [Uint8Array];
  t.equal(ofBuffer.constructor, Uint8Array, "also when the input is a Buffer");
});

t.test("decodeJobs() takes jobs laid one behind the other", async (t) => {
  const jobs = [{ id: 1 }, undefined, null, "", 0, false, 7n, new Date(5), "\ufeff" + "m".repeat(99)];
  const bytes = Buffer.concat(jobs.map((job) => encode(job)));
  t.ok(sameValue(decodeJobs(bytes, jobs.length), jobs));
  t.same(decodeJobs(new Uint8Array(0), 0), []);
  t.throws(() => decodeJobs(bytes, jobs.length - 1), "one too many");
  t.throws(() => decodeJobs(bytes, jobs.length + 1), "one too few");
  const keys = Object.fromEntries(Array.from({ length: 70_000 }, (_, key) => [key, 0]));
  const encoder = new JobEncoder();
  encoder.append(keys);
  t.same(
    Object.keys(decodeJobs(encoder.take().bytes, 1)[0] as object).length,
    70_000,
    "more keys than two bytes count",
  );
});
