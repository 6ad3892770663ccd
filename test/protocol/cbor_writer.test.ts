import t from "tap";
import { jobBytesMax } from "../../src/lib/limits.ts";
import { JobEncoder, JobValueError, ValueWriter } from "../../src/protocol/cbor.ts";

const overlong: readonly (readonly [what: string, job: unknown])[] = [
  ["a text of a megabyte, again and again", Array(200).fill("x".repeat(1_000_000))],
  ["one that is no ASCII", Array(200).fill("\u20ac".repeat(300_000))],
  ["a short text", Array(900_000).fill("x".repeat(64))],
  ["numbers", Array(900_000).fill(0.1)],
  ["bytes", Array(200).fill(new Uint8Array(1_000_000))],
  ["a long key", Array(1_000).fill({ ["k".repeat(100_000)]: 1 })],
];

t.test("what is too long is not written to its end", async (t) => {
  for (const [what, job] of overlong) {
    const writer = new ValueWriter(jobBytesMax);
    writer.write("before");
    t.throws(() => writer.write(job), RangeError, what);
    t.ok(writer.bytes.length <= 2 * (jobBytesMax + 1_000), `${what}: memory of ${writer.bytes.length} bytes`);
  }
});

t.test("behind others in a block, a job may be as long as alone, and no longer", async (t) => {
  for (const before of [1, 3_000, 5_000, jobBytesMax - 100, 3 * jobBytesMax]) {
    const encoder = new JobEncoder();
    for (let left = before; left > 0; left -= jobBytesMax) {
      encoder.append(new Uint8Array(Math.min(left, 1e6)));
    }
    const start = encoder.byteLength;
    // ends on a short text, for which more is reserved than it takes
    const job = ["x".repeat(jobBytesMax - 1 - 5 - 2), "y"];
    t.equal(encoder.append(job), jobBytesMax, `behind ${before} bytes`);
    t.throws(() => encoder.append([...job, 1]), JobValueError, `behind ${before} bytes, one too long`);
    t.equal(encoder.byteLength, start + jobBytesMax);
  }
});
