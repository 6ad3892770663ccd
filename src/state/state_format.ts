import type { RunState, Stranded } from "../core/types.ts";
import { isSameBytes, JobSpan, sha256 } from "../lib/bytes.ts";
import { cborDepthMax, cborItemsMax } from "../lib/limits.ts";
import { checkDensity, decode, encode, FrameError, itemEnds, scanItem } from "../protocol/cbor.ts";
import type { Identity } from "./identity.ts";
import {
  asList,
  asMap,
  bytes,
  count,
  DamageError,
  identityFields,
  readFields,
  runFields,
  scan,
  span,
  writeFields,
} from "./state_fields.ts";

/** Stranded spans encoded in one piece: some half a millisecond even if each carries its failed attempts. */
const stateSpansPerPiece = 128;
/** Fewest bytes of a state for each array, map or string: a span without a history takes five. */
const stateBytesPerString = 3;

/**
 * Yields the same bytes in pieces as long as `step`, only the last one shorter. A piece is valid until the next one is
 * requested: small parts are copied into `step`, while a long part is yielded as views of itself.
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

/** Decodes a header; null if the bytes are none or are damaged. */
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
 * Yields the body of a state file part by part; the parts together are one CBOR item (docs/state-file.md). Jobs are
 * views of their bytes, not copies. Each part is cheap and is encoded when it is requested, so a large state never
 * blocks the event loop. The state must not change until the last part was yielded.
 */
export function* bodyParts({ identity, state }: StateContents): Generator<Uint8Array> {
  const { stranded } = state;
  yield Uint8Array.of(0x83);
  yield encode({
    ...writeFields(identityFields, identity),
    ...writeFields<Omit<RunState, "stranded">>(runFields, state),
    lengths: lengths(stranded),
  });
  yield lengthHead(0x9a, Math.ceil(stranded.length / stateSpansPerPiece));
  for (let from = 0; from < stranded.length; from += stateSpansPerPiece) {
    yield encode(stranded.slice(from, from + stateSpansPerPiece).map(writeSpan));
  }
  yield lengthHead(0x5b, stranded.reduce((sum, { span }) => sum + span.byteLength, 0));
  for (const { span } of stranded) yield span.bytes;
}

function writeSpan({ span: { seq, count }, lease, history }: Stranded): unknown {
  return span.write({ seq, count, lease, history });
}

/** The length of each job, four bytes each, most significant first: 10,000 of them are one CBOR item. */
function lengths(stranded: readonly Stranded[]): Uint8Array {
  const count = stranded.reduce((sum, { span }) => sum + span.count, 0);
  const view = new DataView(new ArrayBuffer(count * 4));
  let at = 0;
  for (const { span: { block: { ends }, from, count } } of stranded) {
    let start = from === 0 ? 0 : ends[from - 1]!;
    for (let job = from; job < from + count; job++) {
      const end = ends[job]!;
      view.setUint32(at, end - start);
      start = end;
      at += 4;
    }
  }
  return new Uint8Array(view.buffer);
}

/** The head of a CBOR array (`0x9a`, a length of four bytes) or byte string (`0x5b`, of eight). */
function lengthHead(initial: 0x9a | 0x5b, length: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(initial === 0x9a ? 5 : 9));
  view.setUint8(0, initial);
  if (initial === 0x9a) view.setUint32(1, length);
  else view.setBigUint64(1, BigInt(length));
  return new Uint8Array(view.buffer);
}

/**
 * Parses the stranded jobs of a state. Each span gets its own copy of its bytes, so that a settled span frees memory.
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
  const { seq, count, lease, history } = span.read(fields, "a span");
  const to = from + count;
  if (to === from || to > ends.length) throw new DamageError(`a span of ${to - from} jobs does not fit`);
  const start = from === 0 ? 0 : ends[from - 1]!;
  const ownEnds = ends.slice(from, to);
  for (let job = 0; job < count; job++) ownEnds[job]! -= start;
  const block = { bytes: jobs.slice(start, ends[to - 1]!), ends: ownEnds, cursors: null };
  return { span: new JobSpan(block, 0, to - from, seq), history, lease };
}

/** Checks that no job is in two spans. */
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
 * Checks every field of a body of this version, for the file is foreign input, and that the numbers add up.
 *
 * @throws {DamageError} naming the first field that is wrong.
 */
export function parseBody(body: unknown, version: number): StateContents {
  if (version < 1) throw new DamageError(`there is no version ${version} of it`);
  const [head, pieces, jobs] = asList(body, "the body", 3);
  const fields = asMap(head, "the head");
  const stranded = parseStranded(
    asList(pieces, "stranded"),
    bytes.read(fields.lengths, "lengths"),
    bytes.read(jobs, "jobs"),
  );
  return {
    identity: readFields(identityFields, fields, version),
    state: checkSums({ ...readFields(runFields, fields, version), stranded }),
  };
}

/** The counters of a state file that is damaged elsewhere, or cut off; null if they cannot be read. */
export function readCounters(file: Uint8Array): { handedOut: number; settled: number } | null {
  try {
    // The head is the first item of the list that the body is.
    const body = file.subarray(headerBytes + 1);
    const head = body.subarray(0, scanItem(body, 0, body.length, cborDepthMax, cborItemsMax));
    checkDensity(head, [], stateBytesPerString);
    const fields = asMap(decode(head), "the head");
    const counter = (name: "handedOut" | "done" | "skipped" | "dead") => count.read(fields[name], name);
    return {
      handedOut: counter("handedOut"),
      settled: counter("done") + counter("skipped") + counter("dead"),
    };
  } catch (error) {
    if (error instanceof DamageError || error instanceof FrameError) return null;
    throw error;
  }
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
