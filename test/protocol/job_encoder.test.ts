import fc from "fast-check";
import { runInNewContext } from "node:vm";
import t from "tap";
import { decode, itemEnds, JobEncoder, JobValueError } from "../../src/protocol/cbor.ts";
import { holds } from "../kit/holds.ts";
import { jobValue, sameValue } from "./job_values.ts";

t.test("jobs lie one behind the other, with a table of their ends", async (t) => {
  holds(
    t,
    fc.property(fc.array(jobValue, { maxLength: 20 }), (jobs) => {
      const encoder = new JobEncoder();
      const lengths = jobs.map((job) => encoder.append(job));
      const sum = lengths.reduce((total, length) => total + length, 0);
      const counted = encoder.count === jobs.length && encoder.byteLength === sum;
      const { bytes, ends } = encoder.take();
      const agreed = String(itemEnds(bytes, jobs.length)) === String(ends);
      return counted && agreed && encoder.count === 0 &&
        jobs.every((job, index) =>
          sameValue(decode(bytes.slice(ends[index]! - lengths[index]!, ends[index]!)), job)
        );
    }),
    { numRuns: 300 },
  );
});

t.test("a generator may reuse its object", async (t) => {
  const encoder = new JobEncoder();
  const job = { id: 0 };
  for (job.id = 0; job.id < 3; job.id++) encoder.append(job);
  const { bytes, ends } = encoder.take();
  t.same([...ends].map((end, index) => decode(bytes.slice(index ? ends[index - 1] : 0, end))), [{ id: 0 }, {
    id: 1,
  }, { id: 2 }]);
});

class Row {
  id = 1;
}
const cycle: Record<string, unknown> = { inside: {} };
(cycle.inside as Record<string, unknown>).back = cycle;
const nested = (levels: number): unknown => {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
};
/** A megabyte in memory, two hundred once it is written out. */
const sameTextOften = Array<string>(200).fill("x".repeat(1_000_000));
/** Next to nothing in memory. */
const sameArraysOften = (levels: number): unknown => {
  let value: unknown[] = ["x", 2n];
  for (let level = 1; level < levels; level++) value = Array(10).fill(value);
  return value;
};
const revoked = (): unknown => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const givenAway = (): unknown => {
  const bytes = new Uint8Array(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};
const ofOddPrototype: unknown = Object.create({ inherited: 1 }, { own: { value: 1, enumerable: true } });

/** So many milliseconds behind that date, seconds as a float are off by one. */
const farMs = [...Array(1_000).keys()].find((ms) => Math.round((4.4e15 + ms) / 1000 * 1000) !== 4.4e15 + ms)!;

type Refused = readonly [what: string, job: unknown, path: string, reason: RegExp];

/** What no data is: all jobs of such a program may be so. */
const ofProgram: readonly Refused[] = [
  ["a function", () => 1, "$", /function/],
  ["a function inside", { user: { tags: [1, 2, 3, () => 1] } }, "$.user.tags[3]", /function/],
  ["a symbol", [Symbol("x")], "$[0]", /symbol/],
  ["a class instance", { row: new Row() }, "$.row", /instance of Row/],
  ["a Promise", { "a b": Promise.resolve(1) }, '$["a b"]', /instance of Promise/],
  ["a RegExp", /x/, "$", /instance of RegExp/],
  ["an Error", [new TypeError("x")], "$[0]", /instance of TypeError/],
  ["a URL", new Map([["home", new URL("http://x/")]]), '$.get("home")', /instance of URL/],
  ["another typed array", new Set([new Uint16Array(2)]), "$<member>", /instance of Uint16Array/],
  ["an ArrayBuffer", [new ArrayBuffer(2)], "$[0]", /instance of ArrayBuffer/],
  ["a boxed number", [Object(1)], "$[0]", /instance of Number/],
  ["a generator", (function* () {})(), "$", /instance/],
  ["a Date of a subclass", new (class Day extends Date {})(), "$", /instance of Day/],
  ["a Map of a subclass", new (class Table extends Map {})(), "$", /instance of Table/],
  ["a Set of a subclass", new (class Group extends Set {})(), "$", /instance of Group/],
  ["an odd prototype", { odd: ofOddPrototype }, "$.odd", /an object with a prototype of its own/],
  ["a cycle", cycle, "$.inside.back", /cycle/],
  ["a key that is a symbol", { [Symbol("x")]: 1 }, "$", /symbol/],
  [
    "a getter that throws",
    {
      get name(): string {
        throw new Error("no name");
      },
    },
    "$.name",
    /cannot be read: no name/,
  ],
  [
    "a getter that throws no error, far inside",
    {
      rows: [{
        get id(): string {
          throw null;
        },
      }],
    },
    "$.rows[0].id",
    /cannot be read: null was thrown/,
  ],
  ["a proxy that was revoked", { rows: [1, revoked()] }, "$.rows[1]", /cannot be read/],
  ["what only claims to be a Map", { table: Object.create(Map.prototype) }, "$.table", /cannot be read/],
  ["bytes whose memory was given away", givenAway(), "$", /cannot be read/],
  ["an object of another realm", [runInNewContext("({ id: 1 })")], "$[0]", /a prototype of its own/],
  [
    "a function behind half a surrogate pair, and behind too many levels",
    ["\ud800", nested(40), () => 1],
    "$[2]",
    /function/,
  ],
];

/** What costs the one job only; `dataFault` is the same for all that have it. */
const ofData: readonly Refused[] = [
  ["33 levels", nested(33), "$" + "[0]".repeat(32), /32 levels/],
  ["20,000 levels", nested(20_000), "$" + "[0]".repeat(32), /32 levels/],
  ["more than 1 MiB", "x".repeat(1 << 20), "$", /1048581 bytes/],
  [
    "more than 1 MiB in one text",
    { text: "x".repeat(2 << 20) },
    "$.text",
    /a string of 2097152 characters.*1048576/,
  ],
  ["more than 1 MiB of bytes", { raw: new Uint8Array(2 << 20) }, "$.raw", /2097152 bytes.*1048576/],
  ["one text again and again", sameTextOften, "$", /more than 1048576 bytes encoded/],
  ["the same in a Map", new Map([["all", sameTextOften]]), "$", /more than 1048576 bytes encoded/],
  ["arrays of the same arrays, seven levels", sameArraysOften(7), "$", /more than 1048576 bytes encoded/],
  ["ten million holes", new Set([new Array(1e7)]), "$", /more than 1048576 bytes encoded/],
  ["a million items and one", Array(1_000_000).fill(0), "$", /^more than 1000000 items$/],
  [
    "the same with those of an object",
    [...Array(999_997).fill(0), { "": 0 }],
    "$",
    /more than 1000000 items/,
  ],
  ["a bigint over 1 KiB", [2n ** 8192n], "$[0]", /bigint of more than 1024/],
  ["a Date nobody lives to see", new Date(4.4e15 + farMs), "$", /Date too far/],
  ["an own __proto__", JSON.parse('{"a":{"__proto__":1}}'), "$.a", /__proto__/],
  ["half a surrogate pair", { name: "x\ud800" }, "$.name", /half a surrogate/],
  ["half a pair in a key", { "\udc00": 1 }, "$<key>", /half a surrogate/],
];

const refused = [...ofProgram, ...ofData];

t.test("what would not arrive as it was sent is refused, with its path", async (t) => {
  for (const [what, job, path, reason] of refused) {
    const encoder = new JobEncoder();
    encoder.append("before");
    try {
      encoder.append(job);
      t.fail(`${what} was taken`);
    } catch (error) {
      t.ok(error instanceof JobValueError && error instanceof TypeError, `${what}: a JobValueError`);
      t.match(error, { path, reason, message: `Cannot send this job: at ${path} there is ` });
    }
    encoder.append("after");
    const { bytes, ends } = encoder.take();
    t.same(
      [decode(bytes.slice(0, ends[0])), decode(bytes.slice(ends[0]))],
      ["before", "after"],
      `${what} left no trace`,
    );
  }
});

t.test("a key that is a symbol is found in the first objects of a shape, and soon where more of them have one", async (t) => {
  const encoder = new JobEncoder();
  const untilRefused = (job: unknown): number => {
    for (let count = 0; count < 1_000; count++) {
      try {
        encoder.append(job);
      } catch (error) {
        t.match(error, { reason: /named by a symbol/, dataFault: null });
        return count;
      }
    }
    return Infinity;
  };
  for (let id = 0; id < 500; id++) encoder.append({ id, tags: [] });
  t.equal(untilRefused({ id: 1, more: { [Symbol("x")]: 1 } }), 0, "of no shape that was written before");
  t.ok(untilRefused({ id: 1, tags: [], [Symbol("x")]: 1 }) <= 32, "of one that was written often");
});

t.test("a fault of the data is told from one of the program, and has a name without its own figures", async (t) => {
  const faultOf = (job: unknown): JobValueError => {
    try {
      throw new JobEncoder().append(job);
    } catch (error) {
      return error as JobValueError;
    }
  };
  for (const [what, job] of ofProgram) t.equal(faultOf(job).dataFault, null, what);
  const names = new Set(ofData.map(([, job]) => faultOf(job).dataFault));
  t.same([...names].sort(), [
    "a Date too far from 1970 to keep its milliseconds",
    "a bigint of more than 1024 bytes",
    "a property named __proto__",
    "a string with half a surrogate pair",
    "a value of more than 1048576 bytes encoded",
    "more than 1000000 items",
    "nesting of more than 32 levels",
  ]);
});

/** As `postgres` returns the rows of a query: with more of the query as properties, and other methods. */
class Rows extends Array<unknown> {
  command = "SELECT";
  columns = [() => 1];

  override entries(): ArrayIterator<[number, unknown]> {
    throw new Error("it is no query any more");
  }
}

t.test("an array of a subclass is an array, at every job and depth, whatever else it has", async (t) => {
  const rows = Rows.of<unknown>({ id: 1 }, { id: 2n }, "x");
  const encoder = new JobEncoder();
  const jobs = [rows, { rows: [rows] }, new Map([["rows", rows]]), Rows.of(Rows.of(rows)), new Rows()];
  for (let index = 0; index < 300; index++) encoder.append(jobs[index % jobs.length]);
  const { bytes, ends } = encoder.take();
  const plain = [{ id: 1 }, { id: 2n }, "x"];
  const expected = [plain, { rows: [plain] }, new Map([["rows", plain]]), [[plain]], []];
  for (const [index, end] of ends.entries()) {
    const arrived = decode(bytes.slice(index === 0 ? 0 : ends[index - 1], end));
    if (!sameValue(arrived, expected[index % jobs.length])) t.fail(`job ${index} arrived otherwise`);
  }
  t.throws(() => encoder.append(Rows.of(() => 1)), { message: /at \$\[0\] there is a function$/ });
});

t.test("the job appended last can be taken back", async (t) => {
  const encoder = new JobEncoder();
  encoder.append("first");
  encoder.drop(encoder.append({ id: 2 }));
  encoder.append("third");
  t.same([encoder.count, encoder.byteLength], [2, 12]);
  const { bytes, ends } = encoder.take();
  t.same([decode(bytes.slice(0, ends[0])), decode(bytes.slice(ends[0]))], ["first", "third"]);
});

t.test("what is refused is refused at every job, but for keys that are symbols", async (t) => {
  const encoder = new JobEncoder();
  for (let index = 0; index < 500; index++) encoder.append(index);
  const always = refused.filter(([what]) => !/is a symbol$/.test(what));
  for (const [what, job] of always) t.throws(() => encoder.append(job), JobValueError, what);
});

t.test("the largest and deepest jobs pass", async (t) => {
  const encoder = new JobEncoder();
  t.equal(encoder.append("x".repeat((1 << 20) - 5)), 1 << 20);
  encoder.append(nested(32));
  encoder.append(2n ** 8191n);
  encoder.append(Array(999_999).fill(0));
  encoder.append([...Array(999_996).fill(0), { "": 0 }]);
  t.equal(itemEnds(encoder.take().bytes, 5).length, 5);
});

t.test("a block is in memory of its own, and the next one begins anew", async (t) => {
  const encoder = new JobEncoder();
  encoder.append("first");
  const first = encoder.take();
  encoder.append("other");
  t.equal(encoder.byteLength, 6);
  const second = encoder.take();
  t.same([first, second].map(({ bytes, ends }) => [decode(bytes), ...ends]), [["first", 6], ["other", 6]]);
  t.same(encoder.take(), { bytes: new Uint8Array(0), ends: new Uint32Array(0), cursors: null });
});
