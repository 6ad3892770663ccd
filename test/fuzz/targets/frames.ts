import { frameBytesMax } from "../../../src/lib/limits.ts";
import { isSameBytes } from "../../../src/lib/bytes.ts";
import { FrameError } from "../../../src/protocol/cbor.ts";
import { parseSlaveMessage } from "../../../src/protocol/parse.ts";
import { FrameReader } from "../../../src/protocol/frames.ts";
import { frame } from "../../protocol/samples.ts";
import { amplifyBytes, join, mutateBytes } from "../mutate.ts";
import { few, must, outcomeOf, quietly, type Target } from "../target.ts";
import { cutUp, planned } from "./cuts.ts";

// Two bytes of how it is cut, then a stream.

type Read = Readonly<{ bodies: readonly Uint8Array[]; isRefused: boolean; isInFrame: boolean }>;

/** What is in the stream, read at once. */
function expected(stream: Uint8Array): Read {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const bodies: Uint8Array[] = [];
  for (let at = 0;;) {
    const left = stream.length - at;
    if (left < 4) return { bodies, isRefused: false, isInFrame: left > 0 };
    const length = view.getUint32(at);
    if (length > frameBytesMax) return { bodies, isRefused: true, isInFrame: true };
    if (left - 4 < length) return { bodies, isRefused: false, isInFrame: true };
    bodies.push(stream.subarray(at + 4, at += 4 + length));
  }
}

function read(pieces: Iterable<Uint8Array>): Read {
  const reader = new FrameReader();
  const bodies: Uint8Array[] = [];
  const isTaken = (piece: Uint8Array): boolean => {
    const outcome = outcomeOf(() => reader.push(piece), FrameError);
    if ("value" in outcome) bodies.push(...outcome.value);
    return "value" in outcome;
  };
  let isRefused = false;
  for (const piece of pieces) if ((isRefused = !isTaken(piece))) break;
  // As a link does: behind the last piece it looks once more.
  isRefused ||= !isTaken(new Uint8Array(0));
  return { bodies, isRefused, isInFrame: reader.isInFrame };
}

const lengths = [0, 1, 23, 60, 61, 64, 255, 256, 300];
const announcements = [[0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0xff, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [
  0,
  255,
  255,
  255,
  1,
]];

/** Most bytes that a socket gives at once. */
const socketBytes = 65_536;

function* socketPieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += socketBytes) yield bytes.subarray(at, at + socketBytes);
}

export const frames: Target = {
  name: "frames",
  // As a link reads: what a socket gives at once, and no further than the first body that is no message.
  subject(input) {
    const { plan, bytes } = planned(input);
    quietly(() => {
      const reader = new FrameReader();
      for (const piece of plan === 0 ? socketPieces(bytes) : cutUp(bytes, plan)) {
        reader.push(piece).forEach(parseSlaveMessage);
      }
    });
  },
  check(input) {
    const { plan, bytes } = planned(input);
    const right = expected(bytes);
    for (const way of [plan, 0, 1]) {
      const got = read(cutUp(bytes, way));
      must(got.isRefused === right.isRefused, `cut by plan ${way}: refused ${got.isRefused}`);
      must(got.isInFrame === right.isInFrame, `cut by plan ${way}: in a frame ${got.isInFrame}`);
      must(got.bodies.length === right.bodies.length, `cut by plan ${way}: ${got.bodies.length} frames`);
      const isSame = got.bodies.every((body, index) => isSameBytes(body, right.bodies[index]!));
      must(isSame, `cut by plan ${way}: other bytes`);
    }
    const end = right.isRefused ? "refused" : right.isInFrame ? "cut off" : "whole";
    return `${end}, frames before: ${few(right.bodies.length)}\n${right.bodies.length}`;
  },
  seeds: () => [
    ...lengths.map((length) => join(Uint8Array.of(0, length), frame(new Uint8Array(length).fill(7)))),
    ...announcements.map((bytes) =>
      join(Uint8Array.of(0, 2), frame(Uint8Array.of(1, 2)), Uint8Array.from(bytes))
    ),
    join(Uint8Array.of(0, 5), ...lengths.map((length) => frame(new Uint8Array(length)))),
  ],
  mutate: (input, random, other) =>
    mutateBytes(input, random, other, announcements.map((bytes) => Uint8Array.from(bytes))),
  amplify: amplifyBytes,
};
