import { messageBytesPerItem, messageBytesPerString, messageItemsFree } from "../base/wire_limits.ts";
import { FrameError } from "./frame_error.ts";

/** Most CBOR items in a message of so many bytes. */
export function messageItemsMax(byteLength: number): number {
  return messageItemsFree + Math.floor(byteLength / messageBytesPerItem);
}

/**
 * Refuses what would cost far more to decode than to send or to store: a byte may be an array, and each takes a hundred
 * of memory. Nothing that this program writes is that dense. Words of the protocol, such as the names of fields, are
 * cheap, and not counted.
 *
 * @param bytes One item that passed the pre-scan.
 * @param bytesPerString Fewest bytes for each array, map or string, beyond the first thousands.
 * @throws {FrameError} if it has a tag, or too many arrays, maps and strings for its length.
 */
export function checkDensity(
  bytes: Uint8Array,
  words: readonly string[],
  bytesPerString = messageBytesPerString,
): void {
  let left = messageItemsFree + Math.floor(bytes.length / bytesPerString);
  if (bytes.length <= left) return;
  for (let at = 0; at < bytes.length;) {
    const major = bytes[at]! >> 5;
    let value = bytes[at++]! & 31;
    if (value > 23) {
      const end = at + (1 << (value - 24));
      for (value = 0; at < end; at++) value = value * 256 + bytes[at]!;
    }
    if (major < 2 || major === 7) continue;
    if (major === 6) throw new FrameError("Cannot accept these bytes: there are tags in them");
    const isWord = major === 3 && isOneOf(words, bytes, at, value);
    if (major < 4) at += value;
    if (!isWord && --left < 0) {
      throw new FrameError(
        `Cannot accept these bytes: too many arrays, maps and strings in ${bytes.length} of them`,
      );
    }
  }
}

/** Without a string for each text: there may be a million. */
function isOneOf(words: readonly string[], bytes: Uint8Array, at: number, length: number): boolean {
  for (const word of words) {
    if (word.length !== length) continue;
    let index = 0;
    while (index < length && word.charCodeAt(index) === bytes[at + index]) index++;
    if (index === length) return true;
  }
  return false;
}
