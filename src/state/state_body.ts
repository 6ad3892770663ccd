import { stateSpansPerPiece } from "../base/state_limits.ts";
import type { JobSpan } from "../base/job_span.ts";
import type { History, RunState, Stranded } from "../core/types.ts";
import { encode } from "../protocol/codec.ts";
import { type Identity, sortedArgs } from "./identity.ts";

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
