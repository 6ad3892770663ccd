import { Buffer, isUtf8 } from "node:buffer";
import { bignumBytesMax, cborDepthMax, cborItemsMax, jobBytesMax } from "../lib/limits.ts";

/** Bytes from a peer that break the protocol. The session is closed; nothing else is affected. */
export class FrameError extends Error {
  override get name(): string {
    return "FrameError";
  }
}

/** Limits of a CBOR item, so that decoding it costs no more than its bytes justify. */
type ScanLimits = Readonly<{
  /** Nesting depth of arrays and maps. @default cborDepthMax */
  depthMax?: number;
  /** Items in all. @default cborItemsMax */
  itemsMax?: number;
  /** Text keys of a map. @default 32,768: limits the memory of duplicate detection for untrusted bytes. */
  keysMax?: number;
}>;

/**
 * Checks, without decoding or allocating, that `bytes` are exactly one CBOR item of the subset in docs/protocol.md:
 * bounded depth and item count, no length beyond the bytes, only the tags 1, 2, 3, 258 and 259, each before the type it
 * applies to, no indefinite lengths, texts in UTF-8, no text key `__proto__`, no duplicate text keys in a map, no bytes
 * behind the item.
 *
 * @throws {FrameError} if a check fails.
 */
export function prescan(bytes: Uint8Array, limits: ScanLimits = {}): void {
  const end = scanItem(
    bytes,
    0,
    bytes.length,
    limits.depthMax ?? cborDepthMax,
    limits.itemsMax ?? cborItemsMax,
  );
  if (end !== bytes.length) throw refused(end, `${bytes.length - end} bytes behind the item`);
  checkTexts(bytes, 0, limits.keysMax ?? messageKeysMax);
}

/** Items of any kind, or arrays, maps and strings, that every message may have: more than any short one needs. */
const messageItemsFree = 4_096;
/**
 * Bytes of the message required for each further item, so that memory costs a peer bytes. The bounds of a range take
 * more.
 */
const messageBytesPerItem = 3;
/**
 * Bytes required for each further array, map or string that is not a word of the protocol. A lease's name takes more.
 */
const messageBytesPerString = 8;

/** Most CBOR items in a message of `byteLength` bytes. */
export function messageItemsMax(byteLength: number): number {
  return messageItemsFree + Math.floor(byteLength / messageBytesPerItem);
}

/**
 * Rejects messages that cost far more to decode than to send: an array of one byte takes about a hundred bytes of
 * memory. No message of this program is that dense. Words of the protocol, such as field names, are cheap and not
 * counted.
 *
 * @param bytes One item that passed the pre-scan.
 * @param bytesPerString Bytes required for each array, map or string beyond the first `messageItemsFree`.
 * @throws {FrameError} if the item has a tag, or too many arrays, maps and strings for its length.
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

/** Compares bytes without creating a string: a message may have a million texts. */
function isOneOf(words: readonly string[], bytes: Uint8Array, at: number, length: number): boolean {
  for (const word of words) {
    if (word.length !== length) continue;
    let index = 0;
    while (index < length && word.charCodeAt(index) === bytes[at + index]) index++;
    if (index === length) return true;
  }
  return false;
}

/**
 * Pre-scans `count` jobs laid one behind the other, and returns the end offset of each in `bytes`.
 *
 * @throws {FrameError} if the bytes are not exactly `count` acceptable jobs.
 */
export function itemEnds(bytes: Uint8Array, count: number): Uint32Array {
  if (count > bytes.length) {
    throw new FrameError(`Cannot read ${count} jobs: there are ${bytes.length} bytes`);
  }
  const ends = new Uint32Array(count);
  let at = 0;
  for (let index = 0; index < count; index++) {
    const end = scanItem(bytes, at, bytes.length, cborDepthMax, cborItemsMax);
    if (end - at > jobBytesMax) throw refused(at, `a job of ${end - at} bytes, more than ${jobBytesMax}`);
    ends[index] = at = end;
  }
  if (at !== bytes.length) throw refused(at, `${bytes.length - at} bytes behind the last job`);
  return ends;
}

const inArray = 0, inObject = 1, inMap = 2;
/** What a tag requires of the item after it. */
const any = 0, time = 1, bignum = 2, setItems = 3, mapEntries = 4;

// Stack of the open containers, outermost first: their kinds, and how many items each still needs. Shared by all scans,
// which cannot overlap: a scan is synchronous and calls nothing.
const lefts = new Int32Array(cborDepthMax + 1);
const kinds = new Uint8Array(cborDepthMax + 1);

/**
 * Scans the one item that begins at `at` and returns its end. `levels` is at most `cborDepthMax`.
 *
 * One loop without calls or allocation, because it processes every byte of every frame; hence longer than other
 * functions. It does not check texts and duplicate keys: `checkTexts` does, or for jobs the decoder.
 *
 * @throws {FrameError} if the item is invalid or reaches beyond `end`.
 */
export function scanItem(bytes: Uint8Array, at: number, end: number, levels: number, items: number): number {
  let depth = 0, left = 1, kind = inArray, want = any, itemsLeft = items;
  for (;;) {
    while (left === 0) {
      if (depth === 0) return at;
      left = lefts[--depth]!;
      kind = kinds[depth]!;
    }
    if (at >= end) throw refused(at, "the end within an item");
    const head = bytes[at++]!;
    const major = head >> 5;
    let value = head & 31;
    if (value > 23) {
      if (value > 27) throw refused(at - 1, "an indefinite or reserved length");
      const width = 1 << (value - 24);
      if (end - at < width) throw refused(at, "the end within an item");
      if (major > 1 && major < 7 || want !== any) {
        value = width === 1 ? bytes[at]! : clamped(bytes, at, width);
      }
      at += width;
    }
    if (major === 6) {
      if (want !== any || (kind === inObject && (left & 1) === 0)) throw refused(at, "a tag out of place");
      want = wantOf(value);
      if (want === any) throw refused(at, `the tag ${value}`);
      continue;
    }
    if (--itemsLeft < 0) throw refused(at, `more than ${items} items`);
    const isKey = kind === inObject && (left & 1) === 0;
    if (isKey && major !== 3) throw refused(at, "a key that is no text");
    left--;
    if (want !== any && !isWanted(want, head, value)) throw refused(at, "the wrong thing behind a tag");
    if (major < 2) {
      want = any;
    } else if (major < 4) {
      if (value > end - at) throw refused(at, "a string longer than the bytes");
      if (isKey && value === 9 && isProto(bytes, at)) throw refused(at, "the key __proto__");
      at += value;
      want = any;
    } else if (major < 6) {
      const inside = major === 4 ? value : value * 2;
      if (inside > end - at) throw refused(at, "more items announced than bytes");
      if (depth >= levels) throw refused(at, `more than ${levels} levels`);
      lefts[depth] = left;
      kinds[depth++] = kind;
      left = inside;
      kind = major === 4 ? inArray : want === mapEntries ? inMap : inObject;
      want = any;
    } else {
      // Only false, true, null, undefined and the three floats. cbor-x reads the other simple values as packed values.
      if (head < 0xf4 || head === 0xf8) throw refused(at, `the simple value ${value}`);
      want = any;
    }
  }
}

/**
 * Checks the texts of the item at `at`, which must be scanned: each is valid UTF-8, and no map has a duplicate key.
 *
 * @param keysMax Most text keys of a map.
 * @throws {FrameError} if a check fails.
 */
export function checkTexts(bytes: Uint8Array, at: number, keysMax: number): void {
  if (mapCount > mapsMax) {
    mapOf.fill(0);
    mapCount = 0;
  }
  mapsOver = mapCount;
  crowded = null;
  checkItem(bytes, at, keysMax, 0, 0);
}

/**
 * Checks one item inside `depth` arrays and maps, and returns its end.
 *
 * @param keyOf Number of the map whose key this item is; 0 if it is not a key.
 */
function checkItem(bytes: Uint8Array, from: number, keysMax: number, depth: number, keyOf: number): number {
  let at = from, head = bytes[at]!, isObject = true;
  for (; head >> 5 === 6; head = bytes[at]!) {
    const tag = argumentAt(bytes, at);
    isObject = wantOf(tag) !== mapEntries;
    at += headBytes(head);
  }
  const major = head >> 5, value = argumentAt(bytes, at);
  at += headBytes(head);
  if (major < 2 || major > 6) return at;
  if (major === 2) return at + value;
  if (major === 3) {
    if (!isText(bytes, at, value)) throw refused(at, "a text that is not in UTF-8");
    if (keyOf > 0 && !addKey(bytes, at, value, keyOf, depth)) {
      throw refused(at, "a key that the map has already");
    }
    return at + value;
  }
  const map = major === 5 && isObject ? openMap(at, value, keysMax) : 0;
  maps[depth] = map;
  for (let index = 0; index < value; index++) {
    if (major === 5) at = checkItem(bytes, at, keysMax, depth + 1, map);
    at = checkItem(bytes, at, keysMax, depth + 1, 0);
  }
  return at;
}

/** Length of a head in bytes, from its first byte. */
function headBytes(head: number): number {
  const value = head & 31;
  return value > 23 ? 1 + (1 << (value - 24)) : 1;
}

function argumentAt(bytes: Uint8Array, at: number): number {
  const value = bytes[at]! & 31;
  return value > 23 ? clamped(bytes, at + 1, 1 << (value - 24)) : value;
}

/** Numbers a map of `keys` text keys that begins at `at`. */
function openMap(at: number, keys: number, keysMax: number): number {
  if (keys > keysMax) throw refused(at, `a map of more than ${keysMax} keys`);
  return ++mapCount;
}

/** Longest text checked byte by byte here: the call of `isUtf8` costs about as much. */
const shortBytes = 32;

function isText(bytes: Uint8Array, at: number, length: number): boolean {
  if (length <= shortBytes) {
    let all = 0;
    for (let index = at; index < at + length; index++) all |= bytes[index]!;
    if (all < 0x80) return true;
  }
  return isUtf8(bytes.subarray(at, at + length));
}

/** Most text keys in a map of a message: limits the memory of duplicate detection. */
const messageKeysMax = 1 << 15;

// Keys of the open maps: an open-addressing hash table that is never cleared. An entry counts only while its map is
// open. Keys without a free slot near their hash, as in a hostile map, are kept as strings in `crowded`.
const tableSlots = 1 << 16, probesMax = 8, mapsMax = 1 << 30;
const mapOf = new Int32Array(tableSlots),
  atOf = new Int32Array(tableSlots),
  lengthOf = new Int32Array(tableSlots);
let mapCount = 0;
/** Number of the map at each depth, outermost first; 0 if it is not a map of text keys. */
const maps = new Int32Array(cborDepthMax + 1);
/** Maps with a number up to this belong to earlier checks. */
let mapsOver = 0;
let crowded: Set<string> | null = null;

/** Returns false if the map already has this key. `depth` maps and arrays are open around its items. */
function addKey(bytes: Uint8Array, at: number, length: number, map: number, depth: number): boolean {
  let hash = length;
  for (let index = at; index < at + length; index++) hash = Math.imul(hash, 31) + bytes[index]! | 0;
  hash = Math.imul(hash ^ hash >>> 15, 0x2c1b3c6d) >>> 16;
  for (let probe = 0; probe < probesMax; probe++) {
    const slot = (hash + probe) & (tableSlots - 1);
    const owner = mapOf[slot]!;
    if (owner === map) {
      if (lengthOf[slot] === length && isSame(bytes, atOf[slot]!, at, length)) return false;
    } else if (owner <= mapsOver || !isOpen(owner, depth)) {
      mapOf[slot] = map;
      atOf[slot] = at;
      lengthOf[slot] = length;
      return true;
    }
  }
  crowded ??= new Set();
  const before = crowded.size;
  return crowded.add(`${map} ${latin1(bytes, at, length)}`).size > before;
}

function isOpen(map: number, depth: number): boolean {
  for (let level = 0; level < depth; level++) if (maps[level] === map) return true;
  return false;
}

function isSame(bytes: Uint8Array, one: number, other: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (bytes[one + index] !== bytes[other + index]) return false;
  return true;
}

/** Decodes one character per byte. */
function latin1(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString("latin1");
}

/** Larger than any valid length, count or tag; doubled, it is still a small integer in every engine. */
const valueMax = 0x3fffffff;

/** Reads a number of `width` bytes, or returns `valueMax` if it is larger. */
function clamped(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let index = at; index < at + width; index++) {
    if (value > valueMax >> 8) return valueMax;
    value = (value << 8) | bytes[index]!;
  }
  return value;
}

/** Whether the item with this head is of the kind that the tag before it requires. */
function isWanted(want: number, head: number, value: number): boolean {
  switch (want) {
    case time:
      return head < 0x40 || head > 0xf8;
    case bignum:
      return head >> 5 === 2 && value <= bignumBytesMax;
    case setItems:
      return head >> 5 === 4;
    default:
      return head >> 5 === 5;
  }
}

function wantOf(tag: number): number {
  if (tag === 1) return time;
  if (tag === 2 || tag === 3) return bignum;
  return tag === 258 ? setItems : tag === 259 ? mapEntries : any;
}

const proto = [0x5f, 0x5f, 0x70, 0x72, 0x6f, 0x74, 0x6f, 0x5f, 0x5f];

function isProto(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === proto[0] && proto.every((unit, index) => bytes[at + index] === unit);
}

function refused(at: number, what: string): FrameError {
  return new FrameError(`Cannot accept these bytes: at ${at} there is ${what}`);
}
