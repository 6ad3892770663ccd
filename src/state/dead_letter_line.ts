import { deadLetterShownChars } from "../base/state_limits.ts";
import type { Attempt, DeadLetter } from "../core/types.ts";
import { decode } from "../protocol/codec.ts";
import { jobJson } from "./job_json.ts";

/** A dead letter as one line of JSON, newline included. `time` is when it was buried, ISO 8601, UTC. */
export function deadLetterLine({ seq, job, history }: DeadLetter, time: string): string {
  const { failures, crashes, attempts } = history;
  const head = JSON.stringify({ seq, time, failures, crashes, attempts: attempts.map(attemptFields) });
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
function shown(job: Uint8Array): string {
  try {
    return jobJson(decode(job), deadLetterShownChars);
  } catch {
    return "null";
  }
}
