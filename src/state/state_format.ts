import type { Attempt, History, OperatorSettings, RunState, Stranded } from "../core/types.ts";
import { isSameBytes, JobSpan, sha256 } from "../lib/bytes.ts";
import { cborDepthMax, cborItemsMax } from "../lib/limits.ts";
import { FrameError, itemEnds, prescan, scanItem } from "../protocol/cbor_scan.ts";
import { decode, encode } from "../protocol/codec.ts";
import { checkDensity } from "../protocol/frames.ts";
import { type Identity, sortedArgs } from "./identity.ts";

/** Stranded spans encoded in one piece: some half a millisecond even if each carries its failed attempts. */
const stateSpansPerPiece = 128;
/** Fewest bytes of a state for each array, map or string: a span without a history takes five. */
const stateBytesPerString = 3;
/** Most settings of an operator, and the longest text of one: a few words each, not data. */
const settingsMax = 256;
const settingTextCharsMax = 1_000;

/** A state file is not what it should be; says where. Becomes a warning or a `StateError`, never leaves this folder. */
export class DamageError extends Error {
  override get name(): string {
    return "DamageError";
  }
}

/** Checks of one field each. `name` says where it stands, for the message. */
function asCount(value: unknown, name: string): number {
  // CBOR integers beyond 32 bits may decode as bigints.
  const number = typeof value === "bigint" ? Number(value) : value;
  if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
  throw new DamageError(`${name} is no count`);
}

function asMs(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw new DamageError(`${name} is no duration`);
}

function asText(value: unknown, name: string): string {
  if (typeof value === "string") return value;
  throw new DamageError(`${name} is no text`);
}

function asFlag(value: unknown, name: string): boolean {
  if (typeof value === "boolean") return value;
  throw new DamageError(`${name} is neither true nor false`);
}

function asBytes(value: unknown, name: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new DamageError(`${name} is no byte string`);
}

function asHash(value: unknown, name: string): Uint8Array {
  const bytes = asBytes(value, name);
  if (bytes.length === 32) return bytes;
  throw new DamageError(`${name} is no SHA-256`);
}

export function asList(value: unknown, name: string, length?: number): readonly unknown[] {
  if (Array.isArray(value) && (length === undefined || value.length === length)) return value;
  throw new DamageError(`${name} is no list${length === undefined ? "" : ` of ${length}`}`);
}

export function asFields(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return value as Record<string, unknown>;
  }
  throw new DamageError(`${name} is no map`);
}

/** `value` itself if it is null, else what `check` makes of it. */
function orNull<T>(
  value: unknown,
  name: string,
  check: (value: unknown, name: string) => T,
): T | null {
  return value === null ? null : check(value, name);
}

/**
 * The same bytes in steps as long as `step`, the last one shorter. A step is valid until the next one is asked for:
 * small parts are gathered in the memory of `step`, and a long one is given out in views of itself.
 */
export function* gather(parts: Iterable<Uint8Array>, step: Uint8Array): Generator<Uint8Array> {
  const stepBytes = step.length;
  let used = 0;
  for (let part of parts) {
    while (part.length > 0) {
      if (used === 0 && part.length >= stepBytes) {
        yield part.subarray(0, stepBytes);
        part = part.subarray(stepBytes);
        continue;
      }
      const taken = Math.min(part.length, stepBytes - used);
      step.set(part.subarray(0, taken), used);
      used += taken;
      part = part.subarray(taken);
      if (used === stepBytes) {
        yield step;
        used = 0;
      }
    }
  }
  if (used > 0) yield step.subarray(0, used);
}

/** What stands before the body; see docs/state-file.md. Its layout is the same in all versions. */
export type StateHeader = Readonly<{
  version: number;
  epoch: number;
  bodyBytes: number;
  /** The first 16 bytes of the SHA-256 of the run id. */
  runTag: Uint8Array;
  /** 8 random bytes of the master that wrote the file: tells two masters of one epoch apart. */
  writer: Uint8Array;
  /** SHA-256 of the body. */
  bodyHash: Uint8Array;
}>;

export const headerBytes = 116;
const magic = new TextEncoder().encode("TMSTATE\n");
const hashedBytes = 84;

export function encodeHeader(header: StateHeader): Uint8Array {
  const bytes = new Uint8Array(headerBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(magic, 0);
  view.setUint32(8, header.version);
  view.setBigUint64(12, BigInt(header.epoch));
  view.setBigUint64(20, BigInt(header.bodyBytes));
  bytes.set(header.runTag, 28);
  bytes.set(header.writer, 44);
  bytes.set(header.bodyHash, 52);
  bytes.set(sha256(bytes.subarray(0, hashedBytes)), hashedBytes);
  return bytes;
}

/** Null if these are not the bytes of a header, or a bit of them changed. */
export function decodeHeader(bytes: Uint8Array): StateHeader | null {
  if (bytes.length < headerBytes || !isSameBytes(bytes.subarray(0, magic.length), magic)) return null;
  if (!isSameBytes(sha256(bytes.subarray(0, hashedBytes)), bytes.subarray(hashedBytes, headerBytes))) {
    return null;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  return {
    version: view.getUint32(8),
    epoch: Number(view.getBigUint64(12)),
    bodyBytes: Number(view.getBigUint64(20)),
    runTag: bytes.slice(28, 44),
    writer: bytes.slice(44, 52),
    bodyHash: bytes.slice(52, 84),
  };
}

export function runTag(runId: string): Uint8Array {
  return sha256(new TextEncoder().encode(runId)).subarray(0, 16);
}

/** What a state file says, but for what its header says. */
export type StateContents = Readonly<{ identity: Identity; state: RunState }>;

/**
 * The body of a state file, part by part: one CBOR item in all, described in docs/state-file.md. Jobs are views of
 * the bytes that they were yielded as. Each part is cheap to make and is made when it is asked for, so that a
 * large state never holds the event loop; what it is made of does not change meanwhile.
 */
export function* bodyParts({ identity, state }: StateContents): Generator<Uint8Array> {
  const { stranded } = state;
  yield Uint8Array.of(0x83);
  yield encode({ ...identityFields(identity), ...runFields(state), lengths: lengths(stranded) });
  yield lengthHead(0x9a, Math.ceil(stranded.length / stateSpansPerPiece));
  for (let from = 0; from < stranded.length; from += stateSpansPerPiece) {
    yield encode(stranded.slice(from, from + stateSpansPerPiece).map(spanFields));
  }
  yield lengthHead(0x5b, stranded.reduce((sum, { span }) => sum + span.byteLength, 0));
  for (const { span } of stranded) yield span.bytes;
}

function identityFields({ runId, plugin, exportName, args, pluginHash }: Identity) {
  // Pairs, not a map: a name may be anything, `__proto__` too.
  return { runId, plugin, exportName, args: sortedArgs(args), pluginHash };
}

function runFields(state: RunState) {
  const { handedOut, handedOutAgain, againToCome, done, skipped, dead, repeated, repeatedAtLeast } = state;
  const { last, firstJobHash, complete, final } = state;
  return {
    ...{ handedOut, handedOutAgain, againToCome, done, skipped, dead, repeated, repeatedAtLeast },
    last: last === null ? null : [last.cursor, last.jobHash],
    ...{ firstJobHash, complete, final },
    // Names begin with a letter, so they stay in this order.
    settings: Object.fromEntries([...state.settings].sort(([a], [b]) => a < b ? -1 : 1)),
  };
}

function spanFields({ span, history, lease }: Stranded) {
  return [span.seq, span.count, lease === null ? null : leaseFields(lease), historyFields(history)];
}

function leaseFields({ name, slaveId }: NonNullable<Stranded["lease"]>) {
  return [name.masterId, name.number, slaveId];
}

/** Most jobs have no history yet: null. */
function historyFields(history: History) {
  const { failures, crashes, crashesInCompany, lostSessions, attempts } = history;
  if (failures + crashes + crashesInCompany + lostSessions + attempts.length === 0) return null;
  return [failures, crashes, crashesInCompany, lostSessions, attempts.map(attemptFields)];
}

function attemptFields({ how, message, stack, slave, durationMs, at }: History["attempts"][number]) {
  return [how, message, stack, slave, durationMs, at];
}

/** The length of each job, four bytes each, most significant first: 10,000 of them are one CBOR item. */
function lengths(stranded: readonly Stranded[]): Uint8Array {
  const count = stranded.reduce((sum, { span }) => sum + span.count, 0);
  const view = new DataView(new ArrayBuffer(count * 4));
  let at = 0;
  for (const { span } of stranded) {
    for (const length of lengthsOf(span)) {
      view.setUint32(at, length);
      at += 4;
    }
  }
  return new Uint8Array(view.buffer);
}

function* lengthsOf({ block: { ends }, from, count }: JobSpan): Generator<number> {
  let start = from === 0 ? 0 : ends[from - 1]!;
  for (const end of ends.subarray(from, from + count)) {
    yield end - start;
    start = end;
  }
}

/** The head of a CBOR array (`0x9a`, a length of four bytes) or byte string (`0x5b`, of eight). */
function lengthHead(initial: 0x9a | 0x5b, length: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(initial === 0x9a ? 5 : 9));
  view.setUint8(0, initial);
  if (initial === 0x9a) view.setUint32(1, length);
  else view.setBigUint64(1, BigInt(length));
  return new Uint8Array(view.buffer);
}

const untouched: History = { failures: 0, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [] };
const hows: readonly string[] = ["threw", "timed out", "crashed", "fatal"] satisfies Attempt["how"][];

/**
 * The stranded jobs of a state. Each span gets bytes of its own, so that a settled one frees its memory.
 *
 * @throws {DamageError} naming the first field that is wrong.
 */
function parseStranded(pieces: readonly unknown[], lengths: Uint8Array, jobs: Uint8Array): Stranded[] {
  const ends = readEnds(lengths, jobs);
  let from = 0;
  const stranded = pieces.flatMap((piece) => asList(piece, "stranded")).map((fields) => {
    const parsed = parseSpan(fields, jobs, ends, from);
    from += parsed.span.count;
    return parsed;
  });
  if (from !== ends.length) throw new DamageError(`there are ${ends.length} jobs in spans of ${from}`);
  checkApart(stranded);
  return stranded;
}

/** Where each job ends, proved by scanning each: what is leased later must be an acceptable job. */
function readEnds(lengths: Uint8Array, jobs: Uint8Array): Uint32Array {
  if (lengths.length % 4 !== 0) throw new DamageError("lengths is cut");
  const view = new DataView(lengths.buffer, lengths.byteOffset, lengths.byteLength);
  const ends = scanJobs(jobs, lengths.length / 4);
  let end = 0;
  for (let index = 0; index < ends.length; index++) {
    end += view.getUint32(index * 4);
    if (end !== ends[index]) throw new DamageError(`job ${index} of stranded has another length`);
  }
  return ends;
}

function scanJobs(jobs: Uint8Array, count: number): Uint32Array {
  try {
    return itemEnds(jobs, count);
  } catch (error) {
    if (error instanceof FrameError) throw new DamageError(`stranded jobs are damaged: ${error.message}`);
    throw error;
  }
}

function parseSpan(fields: unknown, jobs: Uint8Array, ends: Uint32Array, from: number): Stranded {
  const [seq, count, lease, history] = asList(fields, "a span", 4);
  const to = from + asCount(count, "the count of a span");
  if (to === from || to > ends.length) throw new DamageError(`a span of ${to - from} jobs does not fit`);
  const start = from === 0 ? 0 : ends[from - 1]!;
  const block = {
    bytes: jobs.slice(start, ends[to - 1]!),
    ends: ends.slice(from, to).map((end) => end - start),
    cursors: null,
  };
  return {
    span: new JobSpan(block, 0, to - from, asCount(seq, "the seq of a span")),
    history: orNull(history, "a history", parseHistory) ?? untouched,
    lease: orNull(lease, "a lease", parseLease),
  };
}

function parseLease(value: unknown, name: string): NonNullable<Stranded["lease"]> {
  const [masterId, number, slaveId] = asList(value, name, 3);
  return {
    name: { masterId: asText(masterId, "a master id"), number: asCount(number, "a lease number") },
    slaveId: asText(slaveId, "a slave id"),
  };
}

function parseHistory(value: unknown, name: string): History {
  const [failures, crashes, crashesInCompany, lostSessions, attempts] = asList(value, name, 5);
  return {
    failures: asCount(failures, "failures"),
    crashes: asCount(crashes, "crashes"),
    crashesInCompany: asCount(crashesInCompany, "crashesInCompany"),
    lostSessions: asCount(lostSessions, "lostSessions"),
    attempts: asList(attempts, "attempts").map(parseAttempt),
  };
}

function parseAttempt(value: unknown): Attempt {
  const [how, message, stack, slave, durationMs, at] = asList(value, "an attempt", 6);
  if (!hows.includes(how as string)) throw new DamageError("an attempt ended in an unknown way");
  return {
    how: how as Attempt["how"],
    message: asText(message, "a message"),
    stack: asText(stack, "a stack"),
    slave: asText(slave, "a slave"),
    durationMs: asMs(durationMs, "a duration"),
    at: asText(at, "a time"),
  };
}

/** No job stands in two spans. */
function checkApart(stranded: readonly Stranded[]): void {
  const spans = stranded.map(({ span }) => span).sort((a, b) => a.seq - b.seq);
  for (let index = 1; index < spans.length; index++) {
    if (spans[index]!.seq < spans[index - 1]!.end) {
      throw new DamageError(`job ${spans[index]!.seq} is stranded twice`);
    }
  }
}

/**
 * The body of a state file as a CBOR item, not yet checked.
 *
 * @throws {DamageError} if it is none.
 */
export function decodeBody(bytes: Uint8Array): unknown {
  scan(bytes, "the body", () => checkDensity(bytes, [], stateBytesPerString));
  return decode(bytes);
}

/**
 * Checks every field, for the file is foreign input, and that the numbers add up.
 *
 * @throws {DamageError} naming the first field that is wrong.
 */
export function parseBody(body: unknown): StateContents {
  const [head, pieces, jobs] = asList(body, "the body", 3);
  const fields = asFields(head, "the head");
  const stranded = parseStranded(
    asList(pieces, "stranded"),
    asBytes(fields.lengths, "lengths"),
    asBytes(jobs, "jobs"),
  );
  return { identity: parseIdentity(fields), state: checkSums({ ...parseRun(fields), stranded }) };
}

/** The counters of a state file that is damaged elsewhere, or cut off; null if they cannot be read. */
export function readCounters(file: Uint8Array): { handedOut: number; settled: number } | null {
  try {
    // The head is the first item of the list that the body is.
    const body = file.subarray(headerBytes + 1);
    const head = body.subarray(0, scanItem(body, 0, body.length, cborDepthMax, cborItemsMax));
    checkDensity(head, [], stateBytesPerString);
    const fields = asFields(decode(head), "the head");
    const [done, skipped, dead] = [fields.done, fields.skipped, fields.dead].map((field) =>
      asCount(field, "a count")
    );
    return { handedOut: asCount(fields.handedOut, "handedOut"), settled: done! + skipped! + dead! };
  } catch (error) {
    if (error instanceof DamageError || error instanceof FrameError) return null;
    throw error;
  }
}

function parseIdentity(fields: Readonly<Record<string, unknown>>): Identity {
  const pairs = asList(fields.args, "args").map((pair) =>
    asList(pair, "args", 2).map((word) => asText(word, "args"))
  );
  return {
    runId: asText(fields.runId, "runId"),
    plugin: asText(fields.plugin, "plugin"),
    exportName: asText(fields.exportName, "exportName"),
    args: Object.fromEntries(pairs) as Record<string, string>,
    pluginHash: asBytes(fields.pluginHash, "pluginHash"),
  };
}

function parseRun(fields: Readonly<Record<string, unknown>>): Omit<RunState, "stranded"> {
  return {
    handedOut: asCount(fields.handedOut, "handedOut"),
    handedOutAgain: asCount(fields.handedOutAgain, "handedOutAgain"),
    againToCome: asCount(fields.againToCome, "againToCome"),
    done: asCount(fields.done, "done"),
    skipped: asCount(fields.skipped, "skipped"),
    dead: asCount(fields.dead, "dead"),
    repeated: asCount(fields.repeated, "repeated"),
    repeatedAtLeast: asFlag(fields.repeatedAtLeast, "repeatedAtLeast"),
    last: orNull(fields.last, "last", parseLast),
    firstJobHash: orNull(fields.firstJobHash, "firstJobHash", asHash),
    complete: asFlag(fields.complete, "complete"),
    final: asFlag(fields.final, "final"),
    settings: parseSettings(asFields(fields.settings, "settings")),
  };
}

function parseLast(value: unknown, name: string): NonNullable<RunState["last"]> {
  const [cursor, jobHash] = asList(value, name, 2);
  const bytes = asBytes(cursor, "the cursor of last");
  scan(bytes, "the cursor of last");
  return { cursor: bytes, jobHash: asHash(jobHash, "the job hash of last") };
}

const settingName = /^[A-Za-z][A-Za-z0-9._:-]{0,63}$/;

/** Whatever the names are: what a version knows that set them is not known here. */
function parseSettings(fields: Readonly<Record<string, unknown>>): OperatorSettings {
  const settings = Object.entries(fields);
  if (settings.length > settingsMax) throw new DamageError(`there are ${settings.length} settings`);
  return new Map(settings.map(([name, value]) => {
    if (settingName.test(name) && isScalar(value)) return [name, value];
    throw new DamageError(`a setting is none`);
  }));
}

function isScalar(value: unknown): value is boolean | number | string | null {
  if (typeof value === "string") return value.length <= settingTextCharsMax;
  return value === null || typeof value === "boolean" || Number.isFinite(value);
}

/** The promise that makes the numbers honest: every job handed out is accounted for. */
function checkSums(state: RunState): RunState {
  const { handedOut, handedOutAgain, done, skipped, dead, stranded, last, firstJobHash, complete } = state;
  const jobs = stranded.reduce((sum, { span }) => sum + span.count, 0);
  if (handedOut !== done + skipped + dead + jobs) {
    const sum = `${done} done + ${skipped} skipped + ${dead} dead + ${jobs} stranded`;
    throw new DamageError(`${handedOut} handed out is not ${sum}`);
  }
  if (handedOutAgain > handedOut) {
    throw new DamageError(`${handedOutAgain} of ${handedOut} are handed out again`);
  }
  if (complete && jobs > 0) throw new DamageError(`it is complete, with ${jobs} stranded`);
  if (handedOut > 0 && (last === null || firstJobHash === null)) throw new DamageError("last is missing");
  return state;
}

function scan(bytes: Uint8Array, name: string, more?: () => void): void {
  try {
    prescan(bytes, { itemsMax: Infinity });
    more?.();
  } catch (error) {
    if (error instanceof FrameError) throw new DamageError(`${name} is damaged: ${error.message}`);
    throw error;
  }
}
