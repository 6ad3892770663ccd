/**
 * The same bytes in steps of `stepBytes`, the last one shorter. A step is valid until the next one is asked for:
 * small parts are gathered in one memory, and a long one is given out in views of itself.
 */
export function* gather(parts: Iterable<Uint8Array>, stepBytes: number): Generator<Uint8Array> {
  const step = new Uint8Array(stepBytes);
  let used = 0;
  for (let part of parts) {
    while (part.length > 0) {
      if (used === 0 && part.length >= stepBytes) {
        yield part.subarray(0, stepBytes);
        part = part.subarray(stepBytes);
        continue;
      }
      const taken = Math.min(part.length, stepBytes - used);
      step.set(part.subarray(0, taken), used);
      used += taken;
      part = part.subarray(taken);
      if (used === stepBytes) {
        yield step;
        used = 0;
      }
    }
  }
  if (used > 0) yield step.subarray(0, used);
}
