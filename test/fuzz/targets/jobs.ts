import fc from "fast-check";
import { Buffer } from "node:buffer";
import { jobBytesMax } from "../../../src/lib/limits.ts";
import { decodeJobs, encode, FrameError, itemEnds, JobEncoder } from "../../../src/protocol/cbor.ts";
import { jobJson } from "../../../src/lib/job_json.ts";
import { jobValue, sameValue } from "../../protocol/job_values.ts";
import { readItems, valueOf, writeItem } from "../cbor_model.ts";
import { amplifyCbor, join, mutateBytes, mutateCbor } from "../mutate.ts";
import { few, must, outcomeOf, quietly, type Target } from "../target.ts";
import { threeJobs } from "../../protocol/message_samples.ts";

// One byte that says how many jobs, then the jobs, one behind the other, as a lease or a state file carries them.

const shownChars = 200;

export const jobs: Target = {
  name: "jobs",
  // Only what refuses a lease as a whole: the worker that runs its jobs decodes them, and refuses some by themselves.
  subject(input) {
    quietly(() => itemEnds(input.subarray(1), input[0] ?? 0));
  },
  check(input) {
    const count = input[0] ?? 0, bytes = input.subarray(1);
    const readings = readItems(bytes, count);
    const items = readings?.map(({ item }) => writeItem(item)) ?? [];
    const lengths = items.map(({ length }) => length);
    const isFine = readings !== null && lengths.every((length) => length <= jobBytesMax);
    const scanned = outcomeOf(() => itemEnds(bytes, count), FrameError);
    must("value" in scanned === isFine, `the pre-scan says ${"value" in scanned ? "yes" : "no"}`);
    if ("error" in scanned) return scanned.error.message;
    const values = readings!.map(({ item }) => valueOf(item));
    const refused: number[] = [];
    const decoded = decodeJobs(bytes, count, (index) => refused.push(index));
    items.forEach((item, index) => {
      const isSound = readItems(item, 1, Infinity) !== null;
      must(
        isSound !== refused.includes(index),
        `decodeJobs() ${isSound ? "refuses" : "accepts"} job ${index}`,
      );
      must(!isSound || sameValue(decoded[index], values[index]), "decodeJobs() gives other values");
    });
    let end = 0;
    lengths.forEach((length, index) =>
      must(scanned.value[index] === (end += length), `job ${index} ends elsewhere`)
    );
    values.forEach(checkJob);
    return `jobs: ${few(count)}\n${values.map((value) => jobJson(value, shownChars)).join()}`;
  },
  seeds: (seed) => [
    Uint8Array.of(0),
    join(Uint8Array.of(3), threeJobs),
    ...fc.sample(fc.array(jobValue, { maxLength: 4 }), { seed, numRuns: 60 }).map((values) =>
      join(Uint8Array.of(values.length), ...values.map((value) => encode(value)))
    ),
  ],
  mutate(input, random, other) {
    if (input[0] === 1) {
      return join(Uint8Array.of(1), mutateCbor(input.subarray(1), random, other.subarray(1)));
    }
    return mutateBytes(input, random, other);
  },
  amplify: (input, random, size) => join(Uint8Array.of(1), amplifyCbor(input.subarray(1), random, size - 1)),
};

/** A job that came may be yielded by a plugin once more, and be shown. */
function checkJob(value: unknown): void {
  const encoder = new JobEncoder();
  encoder.append(value);
  const { bytes } = encoder.take();
  must(sameValue(decodeJobs(bytes, 1), [value]), "encoded as a job it is another one");
  const shown = jobJson(value, shownChars);
  must(shown.length <= shownChars * 6 + 10, `it is shown in ${shown.length} characters`);
  must(Buffer.from(JSON.stringify(JSON.parse(shown))).length > 0, "it is shown as JSON");
}
