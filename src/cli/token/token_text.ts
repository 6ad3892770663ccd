import { randomBytes } from "node:crypto";

/** Fewest random bits a token may hold. */
const bitsMin = 128;

/** A new token: 32 random bytes, as text that survives shells, files and environments. */
export function makeTokenText(): string {
  return randomBytes(32).toString("base64url");
}

/**
 * What is wrong with a token, as the end of "The token in F ..."; undefined if nothing is. The text is judged by
 * what its characters can carry: 4 bits each if all are hexadecimal, else 6.
 */
export function tokenFault(text: string): string | undefined {
  if (text === "") return "is empty";
  if (!/^[\x21-\x7e]+$/.test(text)) return "holds more than one word of plain characters";
  const bits = text.length * (/^[0-9a-f]+$/i.test(text) ? 4 : 6);
  if (bits < bitsMin) return `is too short to be safe: it needs ${bitsMin} random bits`;
  return undefined;
}

/** The secret as both sides use it: the text's bytes, never decoded, so that it has one meaning. */
export function tokenBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
