import fc from "fast-check";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { History, OperatorSettings, RunState, Stranded } from "../../src/core/types.ts";
import { JobSpan, sha256 } from "../../src/lib/bytes.ts";
import { decode, encode } from "../../src/protocol/cbor.ts";
import type { Identity } from "../../src/state/identity.ts";
import { parseStateFile } from "../../src/state/read_state.ts";
import { readState } from "../../src/state/store.ts";
import { count as countField, DamageError, readFields, stateVersion } from "../../src/state/state_fields.ts";
import {
  bodyParts,
  decodeBody,
  decodeHeader,
  encodeHeader,
  gather,
  headerBytes,
  parseBody,
  runTag,
} from "../../src/state/state_format.ts";
import { holds } from "../kit/holds.ts";
import { fullState, purpose, someStranded, spanOf, stateOf, untouched } from "./fixtures.ts";

const identity: Identity = { ...purpose, runId: "run-1" };

function fileOf(state: RunState, of = identity): Uint8Array {
  return wrap(new Uint8Array(Buffer.concat([...bodyParts({ identity: of, state })])), of.runId);
}

function wrap(body: Uint8Array, runId = "run-1", version = stateVersion): Uint8Array {
  const header = {
    version,
    epoch: 9,
    bodyBytes: body.length,
    runTag: runTag(runId),
    writer: new Uint8Array(8),
    bodyHash: sha256(body),
  };
  return new Uint8Array(Buffer.concat([encodeHeader(header), body]));
}

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const count = fc.oneof(fc.nat(5), fc.maxSafeNat());
const attempts = fc.array(
  fc.record({
    how: fc.constantFrom("threw", "timed out", "crashed", "fatal" as const),
    message: text,
    stack: text,
    slave: text,
    durationMs: fc.double({ min: 0, max: 1e9, noNaN: true }).map(Math.abs),
    at: text,
  }),
  { maxLength: 3 },
);
const history: fc.Arbitrary<History> = fc.oneof(
  fc.constant(untouched),
  fc.record({ failures: count, crashes: count, crashesInCompany: count, lostSessions: count, attempts }),
);
const lease = fc.option(fc.record({ name: fc.record({ masterId: text, number: count }), slaveId: text }));
const job = fc.anything({
  withBigInt: true,
  withDate: false,
  withMap: false,
  withNullPrototype: false,
  key: fc.string().filter((key) => key !== "__proto__"),
});

/** Spans of a few jobs each, cut out of larger blocks, apart from each other. */
const stranded: fc.Arbitrary<Stranded[]> = fc.array(
  fc.record({
    jobs: fc.array(job, { minLength: 1, maxLength: 5 }),
    gap: fc.nat(9),
    skip: fc.nat(3),
    history,
    lease,
  }),
  { maxLength: 8 },
).map((parts) => {
  let seq = 0;
  return parts.map(({ jobs, gap, skip, history, lease }) => {
    const whole = spanOf(seq + gap, jobs);
    const span = whole.cut(whole.seq + Math.min(skip, jobs.length - 1), whole.end);
    seq = whole.end;
    return { span, history, lease };
  });
});

/** Names that no version knows, too. */
const settings: fc.Arbitrary<OperatorSettings> = fc.dictionary(
  fc.stringMatching(/^[A-Za-z][A-Za-z0-9._:-]{0,63}$/),
  fc.oneof(
    fc.boolean(),
    fc.constant(null),
    fc.string({ maxLength: 1_000 }).filter((text) => !/\p{Surrogate}/u.test(text)),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number === 0 ? 0 : number),
    fc.maxSafeInteger(),
  ),
  { maxKeys: 5, noNullPrototype: true },
).map((entries) => new Map(Object.entries(entries)));

const states: fc.Arbitrary<RunState> = fc.record({
  done: fc.nat(),
  skipped: fc.nat(),
  dead: fc.nat(),
  repeated: count,
  cursor: job,
  stranded,
  isComplete: fc.boolean(),
  repeatedAtLeast: fc.boolean(),
  final: fc.boolean(),
  settings,
}).map(({ done, skipped, dead, repeated, cursor, stranded, isComplete, ...rest }) => {
  const jobs = stranded.reduce((sum, { span }) => sum + span.count, 0);
  const handedOut = done + skipped + dead + jobs;
  const last = handedOut === 0 ? null : { cursor: encode(cursor), jobHash: sha256(encode(cursor)) };
  const firstJobHash = last && sha256(Uint8Array.of(1));
  return {
    ...rest,
    handedOut,
    handedOutAgain: Math.floor(handedOut / 2),
    againToCome: Math.floor(handedOut / 3),
    done,
    skipped,
    dead,
    repeated,
    last,
    firstJobHash,
    complete: isComplete && jobs === 0,
    stranded,
  };
});

/** Blocks differ after a load (each span has its own); what they say does not. */
function plain(state: RunState) {
  const spans = state.stranded.map(({ span, history, lease }) => ({
    seq: span.seq,
    jobs: Array.from(
      { length: span.count },
      (_, index) => Buffer.from(span.job(span.seq + index)).toString("hex"),
    ),
    history,
    lease,
  }));
  return { ...state, settings: Object.fromEntries(state.settings), stranded: spans };
}

t.test("any state is loaded as it was saved", async (t) => {
  holds(
    t,
    fc.property(states, fc.dictionary(text, text, { noNullPrototype: true }), (state, args) => {
      const of = { ...identity, args };
      const read = parseStateFile(fileOf(state, of), "x");
      t.same(plain(read.state), plain(state));
      t.same(read.identity, of);
      t.equal(read.header.epoch, 9);
    }),
    { numRuns: 150 },
  );
});

t.test("an argument may have any name", async (t) => {
  const args = JSON.parse('{"__proto__":"x","constructor":"y","":""}');
  const read = parseStateFile(fileOf(stateOf(1), { ...identity, args }), "x");
  t.same(Object.entries(read.identity.args).sort(), Object.entries(args).sort());
});

t.test("any flipped bit is noticed", async (t) => {
  const bytes = fileOf(stateOf(4, [someStranded]));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    try {
      parseStateFile(bytes, "x");
      t.fail(`bit ${bit} went unnoticed`);
    } catch (error) {
      if (!(error instanceof DamageError)) throw error;
    }
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  t.ok(parseStateFile(bytes, "x"));
});

t.test("any cut, and anything behind, is noticed", async (t) => {
  const bytes = fileOf(stateOf(4, [someStranded]));
  for (let length = 0; length < bytes.length; length++) {
    t.throws(() => parseStateFile(bytes.subarray(0, length), "x"), DamageError);
  }
  t.throws(() => parseStateFile(new Uint8Array([...bytes, 0]), "x"), DamageError);
});

t.test("the body is one CBOR item, however many spans", async (t) => {
  for (const spans of [0, 1, 127, 128, 129, 400]) {
    const stranded = Array.from(
      { length: spans },
      (_, seq) => ({ span: spanOf(seq, [seq]), history: untouched, lease: null }),
    );
    const body = decode(
      new Uint8Array(Buffer.concat([...bodyParts({ identity, state: stateOf(3, stranded) })])),
    ) as unknown[];
    t.equal(body.length, 3);
    t.equal((body[1] as unknown[][]).flat().length, spans);
    t.equal(parseStateFile(fileOf(stateOf(3, stranded)), "x").state.stranded.length, spans);
  }
});

t.test("the densest state that is written can be read", async (t) => {
  const histories = [untouched, { ...untouched, lostSessions: 1 }];
  for (const history of histories) {
    const stranded = Array.from(
      { length: 20_000 },
      (_, seq) => ({ span: spanOf(seq, [0]), history, lease: null }),
    );
    t.equal(parseStateFile(fileOf(stateOf(0, stranded)), "x").state.stranded.length, 20_000);
  }
});

t.test("every field is checked, though the checksum holds", async (t) => {
  type Body = [Record<string, unknown>, unknown[][][], Uint8Array];
  const spoil: Record<string, (body: Body) => unknown> = {
    "sums": (body) => body[0].done = 5,
    "negative": (body) => body[0].repeated = -1,
    "float": (body) => body[0].dead = 0.5,
    "beyond 2^53": (body) => body[0].handedOut = 2n ** 60n,
    "run id": (body) => body[0].runId = 7,
    "other run": (body) => body[0].runId = "run-2",
    "args": (body) => body[0].args = [["a"]],
    "complete": (body) => body[0].complete = 1,
    "final": (body) => body[0].final = 1,
    "at least": (body) => body[0].repeatedAtLeast = null,
    "again": (body) => body[0].handedOutAgain = 7,
    "still to come": (body) => body[0].againToCome = -1,
    "settings": (body) => body[0].settings = [],
    "a setting's name": (body) => body[0].settings = { "": 1 },
    "a setting's value": (body) => body[0].settings = { rate: [1] },
    "a setting of bytes": (body) => body[0].settings = { rate: new Uint8Array(1) },
    "a setting beyond 2^53": (body) => body[0].settings = { rate: 2n ** 60n },
    "a setting that is no number": (body) => body[0].settings = { rate: NaN },
    "a setting too long": (body) => body[0].settings = { rate: "x".repeat(1_001) },
    "settings too many": (body) =>
      body[0].settings = Object.fromEntries(Array.from({ length: 257 }, (_, number) => [`s${number}`, 1])),
    "complete and stranded": (body) => body[0].complete = true,
    "last": (body) => body[0].last = null,
    "hash": (body) => body[0].firstJobHash = new Uint8Array(31),
    "cursor": (body) => body[0].last = [Uint8Array.of(0xff), new Uint8Array(32)],
    "lengths cut": (body) => body[0].lengths = (body[0].lengths as Uint8Array).subarray(1),
    "lengths wrong": (body) => (body[0].lengths as Uint8Array)[3]! += 1,
    "jobs cut": (body) => body[2] = body[2].subarray(1),
    "job damaged": (body) => body[2][0] = 0xff,
    "seq": (body) => body[1][0]![0]![0] = "5",
    "count zero": (body) => body[1][0]![0]![1] = 0,
    "count too large": (body) => body[1][0]![0]![1] = 9,
    "span missing": (body) => body[1] = [],
    "lease": (body) => (body[1][0]![0]![2] as unknown[])[1] = -1,
    "history": (body) => (body[1][0]![0]![3] as unknown[]).pop(),
    "attempt": (body) => ((body[1][0]![0]![3] as unknown[][])[4]![0] as unknown[])[0] = "slept",
    "no map": (body) => body[0] = new Map() as never,
    "no list": (body) => body[1] = {} as never,
  };
  for (const [name, change] of Object.entries(spoil)) {
    const body = decode(fileOf(stateOf(4, [someStranded])).subarray(headerBytes)) as Body;
    change(body);
    t.throws(() => parseStateFile(wrap(encode(body)), "x"), DamageError, name);
  }
});

t.test("a job stands in one span only", async (t) => {
  const twice = [{ ...someStranded, span: spanOf(6, [1]) }, someStranded];
  t.throws(() => parseStateFile(fileOf(stateOf(4, twice)), "x"), /stranded twice/);
});

t.test("bombs are refused before they are decoded", async (t) => {
  const bombs = ["9b00000000ffffffff", "c25a7fffffff", "81".repeat(100) + "00", "bf", "d81b82"];
  for (const bomb of bombs) t.throws(() => decodeBody(new Uint8Array(Buffer.from(bomb, "hex"))), DamageError);
});

t.test("D3: a body of an older version means what its rows say, and the rest of it is checked", async (t) => {
  type Grown = { old: number; second: number; third: number };
  const rows = {
    old: countField,
    second: { ...countField, added: { version: 2, before: 20 } },
    third: { ...countField, added: { version: 3, before: 30 } },
  };
  const written = { old: 1, second: 2, third: 3, unknown: 4 };
  t.same(readFields<Grown>(rows, written, 3), { old: 1, second: 2, third: 3 });
  t.same(readFields<Grown>(rows, written, 2), { old: 1, second: 2, third: 30 });
  t.same(readFields<Grown>(rows, { old: 1 }, 1), { old: 1, second: 20, third: 30 });
  t.throws(() => readFields<Grown>(rows, { old: 1 }, 2), {
    name: "DamageError",
    message: "second is no count",
  });
  t.throws(() => readFields<Grown>(rows, {}, 1), { message: "old is no count" });
  const body = new Uint8Array(Buffer.concat([...bodyParts({ identity, state: stateOf(4) })]));
  t.throws(() => parseStateFile(wrap(body, "run-1", 0), "x"), DamageError, "there never was a version 0");
  t.throws(() => parseBody(decodeBody(body), 0), { message: "there is no version 0 of it" });
  t.match(parseBody(decodeBody(body), 1).state, { done: 4, repeatedAtLeast: true });
  t.throws(() => parseBody(decodeBody(Uint8Array.of(0x80)), 1), DamageError);
});

/** Files that version 1 of the format wrote, by the program of that time. */
const version1 = (name: string) => join(import.meta.dirname ?? ".", "version1", `${name}.state`);

t.test("D3: files of version 1 are loaded, each job and count of them", async (t) => {
  const finished = await readState(version1("finished"));
  t.match(finished, { version: 1, epoch: 1, identity: { args: { from: "2024", to: "2025" } } });
  t.match(finished.state, { handedOut: 12, done: 10, skipped: 1, dead: 1, complete: true, stranded: [] });
  const killed = await readState(version1("killed"));
  t.match(killed.state, { handedOut: 12, done: 3, skipped: 1, dead: 1, complete: false });
  const jobs = killed.state.stranded.flatMap(({ span }) =>
    Array.from({ length: span.count }, (_, index) => decode(span.job(span.seq + index)) as { id: number })
  );
  t.same(jobs.map(({ id }) => id), [7, 8, 9, 10, 11, 12, 4]);
  t.match(killed.state.stranded[1]!.history, { failures: 1, attempts: [{ message: "not yet" }] });
  t.ok(killed.state.stranded[0]!.lease);
  const fresh = await readState(version1("fresh"));
  t.match(fresh.state, { handedOut: 0, last: null, firstJobHash: null });
  for (const { state, identity: { pluginHash } } of [finished, killed, fresh]) {
    t.match(state, { handedOutAgain: 0, againToCome: 0, settings: new Map(), final: true });
    t.equal(state.repeatedAtLeast, true, "version 1 did not note whether a master died");
    t.equal(pluginHash.length, 0, "its hash was of the plugin's file alone");
    const again = parseStateFile(fileOf(state, { ...identity }), "x");
    t.same(plain(again.state), plain(state), "and are written as the newest version");
    t.equal(again.header.version, stateVersion);
  }
});

/** Files that version 2 wrote; a later version only reads them, and has files of its own to compare with. */
const version2 = (name: string) => join(import.meta.dirname ?? ".", "version2", `${name}.state`);

t.test("the same state is the same bytes as ever", async (t) => {
  const states = { full: fullState(), fresh: { ...stateOf(0), last: null, firstJobHash: null } };
  for (const [name, state] of Object.entries(states)) {
    const file = new Uint8Array(readFileSync(version2(name)));
    t.same(fileOf(state), file, name);
    const read = parseStateFile(file, "x");
    t.same(plain(read.state), plain(state), name);
    t.same(read.identity, identity, name);
  }
});

t.test("settings are kept whatever their names, in a fixed order", async (t) => {
  const settings = new Map<string, string | number | boolean | null>([
    ...[["rate", 12.5], ["paused", true], ["constructor", "x"], ["of:a.later-version", null]] as const,
  ]);
  const file = fileOf({ ...stateOf(1), settings });
  t.same(parseStateFile(file, "x").state.settings, settings);
  const reversed = fileOf({ ...stateOf(1), settings: new Map([...settings].reverse()) });
  t.same(reversed, file, "the same state is the same bytes");
});

t.test("the header is what the document says", async (t) => {
  const header = {
    version: 1,
    epoch: 0x0102030405,
    bodyBytes: 6,
    runTag: new Uint8Array(16).fill(7),
    writer: new Uint8Array(8).fill(8),
    bodyHash: new Uint8Array(32).fill(9),
  };
  const bytes = encodeHeader(header);
  const front = "544d53544154450a" + "00000001" + "0000000102030405" + "0000000000000006" + "07".repeat(16) +
    "08".repeat(8) + "09".repeat(32);
  t.equal(Buffer.from(bytes.subarray(0, 84)).toString("hex"), front);
  t.same(bytes.subarray(84), new Uint8Array(createHash("sha256").update(Buffer.from(front, "hex")).digest()));
  t.same(decodeHeader(bytes), header);
});

t.test("gather() gives the same bytes in even steps", async (t) => {
  holds(
    t,
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 })),
      fc.integer({ min: 1, max: 16 }),
      (parts, size) => {
        const steps = [...gather(parts, new Uint8Array(size))].map((step) => step.length);
        const bytes: number[] = [];
        for (const step of gather(parts, new Uint8Array(size))) bytes.push(...step);
        t.same(bytes, parts.flatMap((part) => [...part]));
        t.ok(steps.every((length, index) => length === size || index === steps.length - 1));
      },
    ),
    { numRuns: 60 },
  );
});

t.test("a span of a larger block saves its own jobs only", async (t) => {
  const whole = spanOf(10, ["a", "bb", "ccc", "dddd"]);
  const span = new JobSpan(whole.block, 1, 2, 11);
  const read = parseStateFile(fileOf(stateOf(1, [{ span, history: untouched, lease: null }])), "x");
  const loaded = read.state.stranded[0]!.span;
  t.same([decode(loaded.job(11)), decode(loaded.job(12)), loaded.count, loaded.byteLength], [
    "bb",
    "ccc",
    2,
    7,
  ]);
});
