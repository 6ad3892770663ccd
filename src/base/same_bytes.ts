/** Whether both have the same bytes. Not for secrets: it takes longer the more they have in common. */
export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
