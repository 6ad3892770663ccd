import fc from "fast-check";
import t from "tap";
import { encode, FrameError } from "../../src/protocol/cbor.ts";
import { FrameReader } from "../../src/protocol/frames.ts";
import type { SlaveMessage } from "../../src/protocol/messages.ts";
import {
  encodeMessage,
  parseControlReply,
  parseControlRequest,
  parseIntroduction,
  parseMasterMessage,
  parseSlaveMessage,
  parseWelcome,
  parseWorkerMessage,
} from "../../src/protocol/parse.ts";
import { holds } from "../kit/holds.ts";
import { asked, emptyAnswer, failure, fullAnswer, leased, senders, threeJobs } from "./message_samples.ts";
import { introduction, welcome } from "./samples.ts";

t.test("these tests have a message of each kind", async (t) => {
  for (const { who, messages, rows } of senders) {
    t.same([...new Set(messages.map(({ kind }) => kind))].sort(), Object.keys(rows).sort(), who);
  }
});

t.test("each message arrives as it was sent", async (t) => {
  for (const { who, messages, parse } of senders) {
    for (const message of messages) {
      const [body] = new FrameReader().push(encodeMessage(message));
      t.same(parse(body!), message, `${who}: ${message.kind}`);
    }
  }
  t.same(parseWelcome(encode(welcome)), welcome);
  t.same(parseIntroduction(encode(introduction)), introduction);
  t.same(parseIntroduction(encode({ ...introduction, plugin: null })), { ...introduction, plugin: null });
});

t.test("what both sides say of themselves has room for more, within limits", async (t) => {
  for (const [told, parse] of [[welcome, parseWelcome], [introduction, parseIntroduction]] as const) {
    const features = Array.from({ length: 64 }, (_, index) => `${index}`.padStart(64, "f"));
    t.same(parse(encode({ ...told, features })), { ...told, features });
    t.same(parse(encode({ ...told, later: [1], more: { x: null } })), told, "unknown fields are ignored");
    t.throws(() => parse(encode({ ...told, features: [...features, ""] })), /has 65 members, more than 64/);
    t.throws(() => parse(encode({ ...told, features: ["x".repeat(65)] })), /has 65 characters/);
    t.throws(() => parse(encode({ ...told, features: [1] })), /is no text/);
    t.throws(
      () => parse(encode({ ...told, plugin: { ...told.plugin, more: 1 } })),
      /fields besides/,
      "there, not within",
    );
    const { features: _, ...without } = told;
    t.throws(() => parse(encode(without)), /features is missing/);
  }
  t.equal(parseIntroduction(encode({ ...introduction, anyPlugin: true })).anyPlugin, true);
  for (const anyPlugin of [false, 1, null, undefined]) {
    const parsed = parseIntroduction(encode({ ...introduction, anyPlugin }));
    t.notOk("anyPlugin" in parsed, `${anyPlugin} is as if it were not there`);
  }
});

t.test("a missing or an unknown field is refused, whichever it is", async (t) => {
  for (const { who, messages, parse } of senders) {
    for (const message of messages) {
      for (const field of Object.keys(message).filter((name) => name !== "untouched")) {
        const { [field as "kind"]: _, ...without } = message;
        t.throws(
          () => parse(encode(without)),
          FrameError,
          `${who}: ${message.kind} without ${field}`,
        );
        if (field === "result") continue; // anything
        t.throws(
          () => parse(encode({ ...message, [field]: new Map() })),
          FrameError,
          `with a Map as ${field}`,
        );
      }
      t.throws(() => parse(encode({ ...message, extra: 1 })), /fields besides/);
    }
    t.throws(() => parse(encode({ kind: "nonsense" })), /kind is none of/);
    t.throws(() => parse(encode({ kind: "constructor" })), /kind is none of/);
    for (const value of [null, 1, "beat", [], ["beat"], new Map([["kind", "beat"]])]) {
      t.throws(() => parse(encode(value)), FrameError);
    }
  }
});

const lateError = { seq: null, message: "" };
const wrong: readonly (readonly [what: string, message: object, words: RegExp])[] = [
  [
    "more late errors than may be named",
    { kind: "late", errors: new Array(101).fill(lateError), count: 101 },
    /late.errors has 101 members, more than 100/,
  ],
  ["more jobs again than a slave may hold", { kind: "again", count: 10_000_001 }, /again.count/],
  ["a long notice", { kind: "notice", text: "x".repeat(1_001) }, /1001 characters, more than 1000/],
  ["a long goodbye", { kind: "bye", reason: "x".repeat(1_001) }, /1001 characters, more than 1000/],
  ["an odd number of bounds", { ...fullAnswer, done: [1] }, /answer.done is no list of pairs/],
  ["an empty range", { ...fullAnswer, done: [1, 1] }, /answer.done is not ascending/],
  ["a reversed range", { ...fullAnswer, skipped: [5, 1] }, /answer.skipped is not ascending/],
  ["touching ranges", { ...fullAnswer, released: [1, 2, 2, 3] }, /answer.released is not ascending/],
  ["a fraction", { ...fullAnswer, done: [0, 1.5] }, /no whole number/],
  ["a negative seq", { ...fullAnswer, done: [-1, 2] }, /not ascending/],
  ["a bound beyond 2^53", { ...fullAnswer, done: [0, 2 ** 53] }, /no whole number/],
  ["a text as a bound", { ...fullAnswer, done: ["0", 1] }, /no whole number/],
  ["answer number 0", { ...fullAnswer, number: 0 }, /answer.number is 0, not within 1 to/],
  ["a negative credit", { kind: "credit", credit: -1 }, /credit.credit is -1, not within 0 to/],
  ["a boundless credit", { kind: "credit", credit: 1e9 }, /credit.credit is 1000000000, not within/],
  ["NaN", { kind: "credit", credit: NaN }, /no whole number/],
  [
    "an unknown cause",
    { ...fullAnswer, failed: [{ ...failure, how: "bored" }] },
    /answer.failed.how is none of/,
  ],
  [
    "a message of 1,001 characters",
    { ...fullAnswer, failed: [{ ...failure, message: "x".repeat(1_001) }] },
    /1001 characters, more than 1000/,
  ],
  ["a negative duration", { ...fullAnswer, failed: [{ ...failure, durationMs: -1 }] }, /no duration/],
  ["a lease of another shape", { ...fullAnswer, lease: { masterId: "m" } }, /answer.lease.number is missing/],
  [
    "a master id of 129 characters",
    { ...fullAnswer, lease: { masterId: "m".repeat(129), number: 1 } },
    /129 characters/,
  ],
];

t.test("a field beyond its limits is refused in words", async (t) => {
  for (const [what, message, words] of wrong) {
    t.throws(() => parseSlaveMessage(encode(message)), { message: words }, what);
  }
  t.throws(
    () => parseMasterMessage(encode({ ...leased, jobs: "x" })),
    /lease.jobs is no byte string/,
  );
  t.throws(
    () => parseMasterMessage(encode({ ...leased, alone: "maybe" })),
    /lease.alone is none of/,
  );
  t.throws(() => parseWelcome(encode({ ...welcome, args: { a: 1 } })), /welcome.args.a is no text/);
  t.throws(
    () => parseWelcome(encode({ ...welcome, plugin: { ...welcome.plugin, hash: threeJobs.subarray(0, 3) } })),
    /has 3 bytes, not 32/,
  );
});

t.test("what is asked is short, and what is answered may be a megabyte", async (t) => {
  t.throws(() => parseControlRequest(encode({ ...asked, id: 0 })), /ask.id is 0, not within 1 to/);
  t.throws(() => parseControlRequest(encode({ ...asked, command: "x".repeat(257) })), /more than 256/);
  t.throws(() => parseControlRequest(encode({ ...asked, value: "x".repeat(1_001) })), /more than 1000/);
  t.throws(() => parseControlRequest(encode({ ...asked, value: 1 })), /ask.value is no text/);
  const slaves = Array.from({ length: 1_000 }, (_, index) => ({
    id: `4Dc3p9vRTYOgEqzb0W7mVQ-${index}`,
    name: `host-${index}:${4_000 + index}`,
    workers: 8,
    inFlight: index,
    perSecond: 1_234.5,
    done: 10_000_000 + index,
    failed: 0,
    lastHeardMs: 120,
    state: "ready",
    error: null,
  }));
  const causes = Array.from({ length: 4_500 }, (_, index) => ({ text: "x".repeat(200), count: index }));
  const answer = { kind: "answer", id: 1, result: { done: 1, slaves, causes } } as const;
  const frame = encodeMessage(answer);
  t.ok(frame.length > 1 << 20, `${frame.length} bytes`);
  t.same(parseControlReply(frame.subarray(4)), answer);
  const rows = { ...answer, result: slaves };
  t.same(parseControlReply(encodeMessage(rows).subarray(4)), rows, "each row by itself is sparse enough too");
  const terse = {
    ...answer,
    result: slaves.map((_, n) => ({ id: `s${n}`, n: 8, up: 1, ok: 5, bad: 0, rate: 3 })),
  };
  t.same(parseControlReply(encodeMessage(terse).subarray(4)), terse, "and so are rows of a few bytes");
  const empty = { ...answer, result: new Array(10_000).fill("") };
  t.throws(() => parseControlReply(encodeMessage(empty).subarray(4)), /too many arrays, maps and strings/);
});

t.test("a field that may be missing is checked where it is not", async (t) => {
  const ready = { kind: "ready", credit: 3, held: [] };
  t.same(Object.keys(parseSlaveMessage(encode(ready))).sort(), ["credit", "held", "kind"]);
  t.throws(() => parseSlaveMessage(encode({ ...ready, untouched: null })), /ready.untouched is no list/);
  t.throws(() => parseSlaveMessage(encode({ ...ready, touched: [] })), /has fields besides/);
  t.throws(() => parseSlaveMessage(encode({ ...ready, untouched: [], touched: [] })), /has fields besides/);
  t.throws(
    () => parseSlaveMessage(encode({ kind: "ready", credit: 3, untouched: [] })),
    /ready.held is missing/,
  );
});

t.test("numbers in 64 bits, as other encoders write them, are numbers", async (t) => {
  const parsed = parseSlaveMessage(
    encode({
      kind: "ready",
      credit: 3n,
      held: [{ lease: { masterId: "m", number: 2n ** 40n }, jobs: [1n, 2n] }],
    }),
  );
  t.same(parsed, {
    kind: "ready",
    credit: 3,
    held: [{ lease: { masterId: "m", number: 2 ** 40 }, jobs: [1, 2] }],
  });
});

t.test("no message is decoded before it was scanned", async (t) => {
  const bomb = new Uint8Array(1 << 20).fill(0x81);
  const array = Uint8Array.of(0x9b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
  for (const { who, parse } of senders) {
    t.throws(() => parse(bomb), { name: "FrameError", message: /more than 32 levels/ }, who);
    t.throws(() => parse(array), { name: "FrameError", message: /more items announced/ }, who);
  }
});

t.test("whatever the bytes are, nothing but FrameError is thrown", async (t) => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.tuple(fc.constantFrom(...senders.flatMap(({ messages }) => messages)), fc.nat(), fc.nat(255)).map(
      ([message, at, byte]) => {
        const body = encode(message);
        body[at % body.length] = byte;
        return body;
      },
    ),
  );
  const check = (body: Uint8Array): boolean =>
    senders.every(({ parse }) => {
      try {
        parse(body);
        return true;
      } catch (error) {
        return error instanceof FrameError;
      }
    });
  holds(t, fc.property(bytes, check), { numRuns: 5_000 });
});

t.test("a message that would cost more to decode than to send is refused, however it is made", async (t) => {
  const many = (value: unknown, count: number) =>
    encode({ kind: "ready", credit: 1, held: new Array(count).fill(value) });
  t.throws(() => parseSlaveMessage(many(0, 100_000)), /more than 37\d\d\d items/);
  for (const value of [[], {}, "", new Uint8Array(0), [1, 2, 3]]) {
    t.throws(() => parseSlaveMessage(many(value, 30_000)), /too many arrays, maps and strings|items/);
  }
  t.throws(() => parseSlaveMessage(many(2n ** 8000n, 10)), /tags in them/);
  t.throws(() => parseSlaveMessage(many(new Date(0.5), 1_000)), /tags in them/);
});

t.test("the longest messages that can be meant are accepted", async (t) => {
  const lease = { masterId: "m", number: 1 };
  const held = Array.from({ length: 40_000 }, (_, index) => ({ lease, jobs: [index, index + 1] }));
  const shortFailure = { seq: 1, how: "threw", message: "", stack: "", durationMs: 0 } as const;
  const ranges = Array.from({ length: 300_000 }, (_, index) => index);
  const messages: SlaveMessage[] = [
    { kind: "ready", credit: 1, held },
    { ...emptyAnswer, failed: new Array(40_000).fill(shortFailure) } as SlaveMessage,
    { ...emptyAnswer, done: ranges } as SlaveMessage,
  ];
  for (const message of messages) t.same(parseSlaveMessage(encodeMessage(message).subarray(4)), message);
});

t.test("the bytes of a lease are a view of its message", async (t) => {
  const jobs = Uint8Array.of(1, 2, 3);
  const lease = {
    kind: "lease",
    number: 1,
    seq: 0,
    count: 3,
    attempt: 1,
    alone: "no",
    probe: false,
    jobs,
  } as const;
  const body = new Uint8Array(encodeMessage(lease)).subarray(4);
  const arrived = parseMasterMessage(body) as typeof lease;
  t.equal(arrived.jobs.buffer, body.buffer, "not copied");
  t.equal(arrived.jobs.constructor, Uint8Array);
});

t.test("what a message cannot hold is refused, and the next message is whole", async (t) => {
  const loaded = (options: object) =>
    encodeMessage({ kind: "loaded", hash: new Uint8Array(32), options: options as Record<string, unknown> });
  for (const options of [{ long: "x".repeat(17 << 20) }, { tries: 5, isFatal: () => true }]) {
    t.throws(() => loaded(options));
    t.same(parseWorkerMessage(loaded({ tries: 5 }).subarray(4)), {
      kind: "loaded",
      hash: new Uint8Array(32),
      options: { tries: 5 },
    });
  }
  const deep = Array.from({ length: 25 }).reduce<unknown>((inner) => [inner], 1);
  const rare = { sets: new Set([1n << 70n]), deep };
  t.same(
    (parseWorkerMessage(loaded(rare).subarray(4)) as { options: object }).options,
    rare,
    "what only cbor-x can write",
  );
});
