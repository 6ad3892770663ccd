/**
 * The same bytes in steps as long as `step`, the last one shorter. A step is valid until the next one is asked for:
 * small parts are gathered in the memory of `step`, and a long one is given out in views of itself.
 */
export function* gather(parts: Iterable<Uint8Array>, step: Uint8Array): Generator<Uint8Array> {
  const stepBytes = step.length;
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
