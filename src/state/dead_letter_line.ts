import { safeJson } from "../base/printable.ts";
import { deadLetterShownBytes } from "../base/state_limits.ts";
import type { Attempt, DeadLetter } from "../core/types.ts";
import { decode } from "../protocol/codec.ts";
import { jobJson } from "./job_json.ts";

/**
 * A dead letter as one line of JSON, newline included, with `\u` escapes for what is unsafe to show. `time` is when it was buried, ISO 8601, UTC. A row that could
 * not be sent has no bytes: its cursor, and what is wrong with it where, stand in their place.
 */
export function deadLetterLine({ seq, job, history, row }: DeadLetter, time: string): string {
  const { failures, crashes, attempts } = history;
  const fields = { seq, time, failures, crashes, attempts: attempts.map(attemptFields) };
  if (job === null) {
    const head = safeJson(JSON.stringify({ ...fields, path: row.path, reason: row.reason }));
    return `${head.slice(0, -1)},"cursor":${shown(row.cursor)},"job":null,"cbor":null}\n`;
  }
  const head = safeJson(JSON.stringify(fields));
  return `${head.slice(0, -1)},"job":${shown(job)},"cbor":"${Buffer.from(job).toString("base64")}"}\n`;
}

/** A line that takes the letter of a job back, newline included. `time` as above. */
export function handledLine(seq: number, time: string): string {
  return `${JSON.stringify({ seq, handled: time })}\n`;
}

function attemptFields({ how, message, stack, slave, durationMs, at }: Attempt) {
  return { how, error: message, stack, slave, durationMs, at };
}

/** Never the reason that a letter cannot be buried: the exact bytes stand beside it. */
function shown(item: Uint8Array): string {
  try {
    return jobJson(decode(item), deadLetterShownBytes);
  } catch {
    return "null";
  }
}
