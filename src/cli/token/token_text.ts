import { randomBytes } from "node:crypto";

/** Fewest random bits a token may hold. */
const bitsMin = 128;
/** Longest beginning of a token that is judged. */
const judgedMax = 1_024;
/** Fewest characters that say something new, of a hexadecimal token and of any other: half of the shortest, or a little more. */
const freshMin = { hex: 16, other: 14 } as const;
/** Where there are fewer kinds of characters, each carries less than it could; and fewest bits of all of them then. */
const kindsMin = 8;
const freshBitsMin = 64;
/** A text of many kinds of characters whose steps from one to the next, or the next but one, are no more different is in order. */
const stepsMin = 6;
/** Shortest stretch that counts as repeated, or as in order: random tokens have hardly any. */
const stretchMin = 4;

/** A new token: 32 random bytes, as text that survives shells, files and environments. */
export function makeTokenText(): string {
  return randomBytes(32).toString("base64url");
}

/**
 * What is wrong with a token, as the end of "The token in F ..."; undefined if nothing is. The text is judged by
 * what its characters can carry: 4 bits each if all are hexadecimal, else 6. Of a text that is one word several times
 * over, that word counts once; of any other, what came before or can be continued counts little.
 */
export function tokenFault(text: string): string | undefined {
  if (text === "") return "is empty";
  if (!/^[\x21-\x7e]+$/.test(text)) return "holds more than one word of plain characters";
  const isHex = /^[0-9a-f]+$/i.test(text);
  const bitsEach = isHex ? 4 : 6;
  if (text.length * bitsEach < bitsMin) return `is too short to be safe: it needs ${bitsMin} random bits`;
  const judged = text.slice(0, judgedMax).toLowerCase();
  if (periodOf(judged) * bitsEach < bitsMin) {
    return `is one short word over and over, which can be guessed: it needs ${bitsMin} random bits`;
  }
  const kinds = new Set(judged).size;
  if (kinds >= kindsMin && [1, 2].some((apart) => stepsOf(judged, isHex, apart) < stepsMin)) {
    return orderFault;
  }
  const enough = kinds < kindsMin
    ? Math.ceil(freshBitsMin / Math.log2(kinds))
    : isHex
    ? freshMin.hex
    : freshMin.other;
  if (hasFreshCharacters(judged, kinds, enough)) return undefined;
  return orderFault;
}

const orderFault =
  `repeats itself or runs in order, as "aaaa" and "1234" do, so it can be guessed: it needs ${bitsMin} random bits`;

/** The length of the word that this text repeats, at least twice (`word-word`, too); that of the text if there is none. */
function periodOf(text: string): number {
  for (let period = 1; period * 2 <= text.length + 1; period++) {
    if (text.startsWith(text.slice(period))) return period;
  }
  return text.length;
}

/** How many different steps there are from one character to another so far apart: few in `000102030405` and `a1b2c3d4`. */
function stepsOf(text: string, isHex: boolean, apart: number): number {
  const values = Array.from(text, (char) => isHex ? Number.parseInt(char, 16) : char.charCodeAt(0));
  return new Set(values.slice(apart).map((value, at) => value - values[at]!)).size;
}

/**
 * Whether so many characters of a text say something new: all but those of a stretch that stood before, with the one behind it
 * (`word1word2`), and those of one that is in order such as `abcd`, `4321` and `aaaa`, which counts as one. Of a random text less than half is lost in one case of 10^8.
 */
function hasFreshCharacters(text: string, kinds: number, enough: number): boolean {
  const repeatMin = Math.max(stretchMin, Math.ceil(2 * Math.log(text.length) / Math.log(kinds)));
  // Of few kinds, every other is in order.
  const runMin = kinds < kindsMin ? repeatMin : stretchMin;
  let fresh = 0;
  for (let at = 0; at < text.length && fresh < enough;) {
    const repeat = repeatAt(text, at), run = runAt(text, at);
    if (repeat >= repeatMin) at += repeat + 1;
    else {
      at += run >= runMin ? run : 1;
      fresh++;
    }
  }
  return fresh >= enough;
}

/** How many characters from here on stood in this order before. */
function repeatAt(text: string, at: number): number {
  let length = 0;
  while (at + length < text.length && text.indexOf(text.slice(at, at + length + 1)) < at) length++;
  return length;
}

/** How many characters from here on are in order, each as far from the one before as the second from the first. */
function runAt(text: string, at: number): number {
  const step = text.charCodeAt(at + 1) - text.charCodeAt(at);
  if (!(Math.abs(step) <= 1)) return 1;
  let length = 2;
  while (text.charCodeAt(at + length) - text.charCodeAt(at + length - 1) === step) length++;
  return length;
}

/** The secret as both sides use it: the text's bytes, never decoded, so that it has one meaning. */
export function tokenBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
