import { bignumBytesMax, cborDepthMax, cborItemsMax, jobBytesMax } from "../base/limits.ts";
import { FrameError } from "./frame_error.ts";

/** What a CBOR item may be, so that decoding it costs no more than its bytes. */
export type ScanLimits = Readonly<{
  /** Arrays and maps within each other. @default cborDepthMax */
  depthMax?: number;
  /** Items in all. @default cborItemsMax */
  itemsMax?: number;
}>;

/**
 * Proves, without decoding or allocating, that `bytes` are exactly one CBOR item of the subset in
 * docs/protocol.md: bounded depth and item count, no length beyond the bytes, only the tags 1, 2, 3, 258 and
 * 259 in front of what they tag, no indefinite lengths, text keys other than `__proto__`, nothing behind.
 *
 * @throws {FrameError} if not.
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
}

/**
 * Where each of `count` jobs, laid one behind the other, ends in `bytes`; each is pre-scanned.
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
/** What a tag asks of the item behind it. */
const any = 0, time = 1, bignum = 2, setItems = 3, mapEntries = 4;

// The containers that are open, outermost first: how many items each still misses, and its kind. Shared by all
// scans, which never overlap: a scan is synchronous and calls nothing.
const lefts = new Float64Array(cborDepthMax + 1);
const kinds = new Uint8Array(cborDepthMax + 1);

/**
 * Scans the one item that begins at `at`; returns where it ends.
 *
 * One loop without calls or allocation, for it sees every byte of every frame; hence longer than other
 * functions here.
 *
 * @throws {FrameError} if the item is not acceptable, or reaches beyond `end`.
 */
export function scanItem(
  bytes: Uint8Array,
  at: number,
  end: number,
  depthMax: number,
  itemsMax: number,
): number {
  let depth = 0, left = 1, kind = inArray, want = any, items = 0;
  for (;;) {
    while (left === 0) {
      if (depth === 0) return at;
      left = lefts[--depth]!;
      kind = kinds[depth]!;
    }
    if (at >= end) throw refused(at, "the bytes end within an item");
    const head = bytes[at++]!;
    const major = head >> 5;
    const info = head & 31;
    let value = info;
    if (info > 23) {
      if (info > 27) throw refused(at - 1, "an indefinite or reserved length");
      const width = 1 << (info - 24);
      if (end - at < width) throw refused(at, "the bytes end within an item");
      value = bytes[at]!;
      for (let index = 1; index < width; index++) value = value * 256 + bytes[at + index]!;
      at += width;
    }
    if (major !== 6) {
      if (++items > itemsMax) throw refused(at, `more than ${itemsMax} items`);
      if (kind === inObject && left % 2 === 0 && major !== 3) throw refused(at, "a key that is no text");
      left--;
    }
    if (want !== any) {
      if (major !== wanted[want] && !(want === time && isNumber(major, info))) {
        throw refused(at, "a tag before the wrong thing");
      }
      if (want === bignum && value > bignumBytesMax) throw refused(at, `a bignum of ${value} bytes`);
    }
    switch (major) {
      case 0:
      case 1:
        break;
      case 2:
      case 3:
        if (value > end - at) throw refused(at, "the bytes end within a string");
        if (value === 9 && major === 3 && kind === inObject && left % 2 === 1 && isProto(bytes, at)) {
          throw refused(at, "the key __proto__");
        }
        at += value;
        break;
      case 4:
      case 5: {
        const inside = major === 4 ? value : value * 2;
        if (inside > end - at) throw refused(at, "more items announced than bytes there are");
        if (depth >= depthMax) throw refused(at, `more than ${depthMax} levels`);
        lefts[depth] = left;
        kinds[depth++] = kind;
        left = inside;
        kind = major === 4 ? inArray : want === mapEntries ? inMap : inObject;
        break;
      }
      case 6:
        if (want !== any || (kind === inObject && left % 2 === 0)) throw refused(at, "a tag out of place");
        want = wantOf(value);
        if (want === any) throw refused(at, `the tag ${value}`);
        continue;
      default:
        if (info < 20 || info === 24) throw refused(at, `the simple value ${value}`);
    }
    want = any;
  }
}

/** Major type asked for, by what a tag wants; a time may also be a negative number or a float. */
const wanted = [-1, 0, 2, 4, 5];

function isNumber(major: number, info: number): boolean {
  return major === 1 || (major === 7 && info >= 25 && info <= 27);
}

function wantOf(tag: number): number {
  if (tag === 1) return time;
  if (tag === 2 || tag === 3) return bignum;
  return tag === 258 ? setItems : tag === 259 ? mapEntries : any;
}

const proto = [0x5f, 0x5f, 0x70, 0x72, 0x6f, 0x74, 0x6f, 0x5f, 0x5f];

function isProto(bytes: Uint8Array, at: number): boolean {
  return proto.every((unit, index) => bytes[at + index] === unit);
}

function refused(at: number, what: string): FrameError {
  return new FrameError(`Cannot accept these bytes: at ${at} there is ${what}`);
}
