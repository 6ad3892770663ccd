import { JobSpan } from "../base/job_span.ts";
import type { Attempt, History, Stranded } from "../core/types.ts";
import { FrameError } from "../protocol/frame_error.ts";
import { itemEnds } from "../protocol/prescan.ts";
import { asCount, asList, asMs, asText, DamageError, orNull } from "./fields.ts";

const untouched: History = { failures: 0, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [] };
const hows: readonly string[] = ["threw", "timed out", "crashed", "fatal"] satisfies Attempt["how"][];

/**
 * The stranded jobs of a state. Each span gets bytes of its own, so that a settled one frees its memory.
 *
 * @throws {DamageError} naming the first field that is wrong.
 */
export function parseStranded(pieces: readonly unknown[], lengths: Uint8Array, jobs: Uint8Array): Stranded[] {
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
