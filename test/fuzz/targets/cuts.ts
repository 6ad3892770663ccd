import { Random } from "../../sim/random.ts";

/** Bytes of an input that say how the others are cut. */
export const planBytes = 2;

/** `bytes` in the pieces in which they may arrive: at once, one by one, or at random places. */
export function cutUp(bytes: Uint8Array, plan: number): Iterable<Uint8Array> {
  if (plan === 0) return [bytes];
  return plan % 3 === 1 ? oneByOne(bytes) : cutAnywhere(bytes, new Random(plan));
}

function* cutAnywhere(bytes: Uint8Array, random: Random): Generator<Uint8Array> {
  const longest = random.pick([3, 40, 1_000, 70_000]);
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + random.int(1, longest));
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** All in the same memory, so that what a million of them cost is not the test's own. */
function oneByOne(bytes: Uint8Array): Iterable<Uint8Array> {
  const piece = new Uint8Array(1), step = { done: false, value: piece };
  let at = 0;
  const next = () => {
    step.done = at === bytes.length;
    piece[0] = bytes[at++] ?? 0;
    return step;
  };
  return { [Symbol.iterator]: () => ({ next }) };
}

/** The plan of an input, and what it is about. */
export function planned(input: Uint8Array, from = 0): { plan: number; bytes: Uint8Array } {
  const plan = (input[from] ?? 0) << 8 | (input[from + 1] ?? 0);
  return { plan, bytes: input.subarray(from + planBytes) };
}
