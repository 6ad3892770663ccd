import { type Block, JobSpan, type Unsendable } from "../../src/lib/bytes.ts";
import type { RunState } from "../../src/core/types.ts";
import type { MasterMessage, SlaveMessage } from "../../src/protocol/messages.ts";

export type ToSlave = MasterMessage | Readonly<{ kind: "welcome"; runId: string; masterId: string }>;
export type ToMaster = SlaveMessage;

/** Encodes jobs of the simulation: length, id, and padding. */
export function encodeJobs(ids: readonly number[], hasCursors: boolean): Block {
  const bytes: number[] = [];
  const ends = new Uint32Array(ids.length);
  ids.forEach((id, i) => {
    const length = 5 + id % 11;
    bytes.push(length, ...encodeCursor(id), ...new Array<number>(length - 5).fill(id & 0xff));
    ends[i] = bytes.length;
  });
  const cursors = hasCursors
    ? {
      bytes: Uint8Array.from(ids.flatMap(encodeCursor)),
      ends: Uint32Array.from(ids, (_, i) => 4 * (i + 1)),
    }
    : null;
  return { bytes: Uint8Array.from(bytes), ends, cursors };
}

/** Makes an unsendable row. */
export function encodeRow(id: number): Unsendable {
  return { cursor: Uint8Array.from(encodeCursor(id)), path: "$", reason: "odd", dataFault: "odd" };
}

function encodeCursor(id: number): number[] {
  return [id >>> 24, (id >>> 16) & 0xff, (id >>> 8) & 0xff, id & 0xff];
}

/** Decodes the id from a separate cursor or a whole job. */
export function idOfCursor(cursor: Uint8Array): number {
  return cursor.length === 4 ? idOfJob(Uint8Array.of(0, ...cursor)) : idOfJob(cursor);
}

export function idOfJob(job: Uint8Array): number {
  return job[1]! * 0x1000000 + (job[2]! << 16) + (job[3]! << 8) + job[4]!;
}

/** End offset of each job: the first byte of each is its length. */
export function endsOf(jobs: Uint8Array, count: number): Uint32Array {
  const ends = new Uint32Array(count);
  for (let i = 0, at = 0; i < count; i++) ends[i] = at += jobs[at]!;
  return ends;
}

/** Stands in for SHA-256: 32 bits of FNV-1a. */
export function digest(bytes: Uint8Array): Uint8Array {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return Uint8Array.of(hash >>> 24, hash >>> 16, hash >>> 8, hash);
}

/** A state as read back from disk: it shares nothing with the saved one. */
export function copyState(state: RunState): RunState {
  const stranded = state.stranded.map((entry) => {
    const { span, history, lease } = entry;
    const bytes = span.bytes.slice();
    const block = { bytes, ends: endsOf(bytes, span.count), cursors: null };
    return { span: new JobSpan(block, 0, span.count, span.seq), history, lease };
  });
  return { ...state, stranded };
}
