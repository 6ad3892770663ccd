import fc from "fast-check";
import t from "tap";
import { FrameReader, writePrefix } from "../../src/protocol/frames.ts";
import { holds } from "../kit/holds.ts";
import { frame } from "./samples.ts";

const bodies = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 });

function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (let index = 0; at < bytes.length; index++) {
    const length = lengths.length > 0 ? lengths[index % lengths.length]! : bytes.length;
    parts.push(bytes.slice(at, at += length));
  }
  return parts;
}

function readAll(parts: readonly Uint8Array[]): string[] {
  const reader = new FrameReader();
  // Bodies may be views of a part, and are used at once; so they are copied as hex.
  return parts.flatMap((part) => reader.push(part)).map((body) => Buffer.from(body).toString("hex"));
}

t.test("frames come out as they went in, however the bytes are cut", async (t) => {
  holds(
    t,
    fc.property(bodies, fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 20 }), (sent, lengths) => {
      const bytes = new Uint8Array(Buffer.concat(sent.map(frame)));
      const wanted = sent.map((body) => Buffer.from(body).toString("hex"));
      return [cut(bytes, lengths), cut(bytes, [1]), [bytes]].every((parts) =>
        String(readAll(parts)) === String(wanted)
      );
    }),
  );
});

t.test("a frame has begun until it is complete", async (t) => {
  const reader = new FrameReader();
  const bytes = frame(Uint8Array.of(1, 2, 3));
  t.notOk(reader.isInFrame);
  t.same(reader.push(bytes.subarray(0, 2)), []);
  t.ok(reader.isInFrame, "two bytes of the length are a beginning");
  t.same(reader.push(bytes.subarray(2, 6)), []);
  t.ok(reader.isInFrame);
  t.same(reader.push(bytes.subarray(6)).map((body) => [...body]), [[1, 2, 3]]);
  t.notOk(reader.isInFrame);
});

t.test("a frame over 16 MiB is refused from its four bytes", async (t) => {
  const tooLong = Uint8Array.of(1, 0, 0, 1);
  t.throws(() => new FrameReader().push(tooLong), { name: "FrameError", message: /16777217 bytes/ });
  const reader = new FrameReader();
  for (const byte of tooLong.subarray(0, 3)) reader.push(Uint8Array.of(byte));
  t.throws(() => reader.push(tooLong.subarray(3)), { name: "FrameError" }, "also one byte at a time");
  t.throws(() => new FrameReader().push(Uint8Array.of(0xff, 0xff, 0xff, 0xff)), { name: "FrameError" });
  const behind = new FrameReader();
  const both = new Uint8Array(Buffer.concat([frame(Uint8Array.of(7)), tooLong]));
  t.same(behind.push(both).map((body) => [...body]), [[7]], "complete frames before it are returned");
  t.throws(() => behind.push(new Uint8Array(0)), { name: "FrameError" }, "and then it is refused");
  t.throws(() => writePrefix(new Uint8Array(4), (16 << 20) + 1), RangeError, "and never sent");
  t.same(new FrameReader().push(Uint8Array.of(1, 0, 0, 0)), [], "just 16 MiB may come");
});

t.test("memory grows with what came, not with what is announced", async (t) => {
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 100 }, () => new FrameReader());
  const begun = new Uint8Array(200);
  begun.set([1, 0, 0, 0]);
  for (const reader of readers) reader.push(begun);
  t.ok(process.memoryUsage().arrayBuffers - before < 1 << 20, "100 announcements of 16 MiB");
  t.ok(readers.every((reader) => reader.isInFrame));
});

t.test("the cost is linear: 512 KiB in pieces of 100 bytes, and byte by byte", async (t) => {
  const bytes = frame(new Uint8Array(512 << 10));
  const beganMs = performance.now();
  t.equal(readAll(cut(bytes, [100])).length, 1);
  t.equal(readAll(cut(bytes, [1])).length, 1);
  t.ok(performance.now() - beganMs < 10_000, "quadratic cost would take longer");
});
