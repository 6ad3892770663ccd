import { Buffer } from "node:buffer";

/** Whether a date survives the encoding as floating-point seconds; from about the year 140,000 on some do not. */
export function isExactDate(date: Date): boolean {
  const ms = date.getTime();
  return Number.isNaN(ms) || Math.round(ms / 1000 * 1000) === ms;
}

/** The shortest CBOR head of a byte string. */
export function bytesHead(length: number): Uint8Array {
  return head(0x40, length);
}

/** The shortest CBOR head of a map. */
export function mapHead(keys: number): Uint8Array {
  return head(0xa0, keys);
}

/** A text as a CBOR item, with the shortest head. */
function textItem(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return new Uint8Array(Buffer.concat([head(0x60, bytes.length), bytes]));
}

function head(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  return bytes.subarray(0, writeHead(bytes, 0, type, value));
}

/**
 * Writes a head in its shortest form, at most 5 bytes, and returns its end.
 *
 * @param type The major type, in the upper three bits.
 * @param value The length, count or integer, at most 32 bits.
 */
export function writeHead(bytes: Uint8Array, at: number, type: number, value: number): number {
  if (value < 24) {
    bytes[at++] = type | value;
    return at;
  }
  if (value < 1 << 8) {
    bytes[at++] = type | 24;
  } else {
    if (value < 1 << 16) {
      bytes[at++] = type | 25;
    } else {
      bytes[at++] = type | 26;
      bytes[at++] = value >>> 24;
      bytes[at++] = value >>> 16;
    }
    bytes[at++] = value >>> 8;
  }
  bytes[at++] = value;
  return at;
}

/** A shape gets a compiled constructor after this many objects. */
const usesMin = 16;
/** The first objects of a shape are all searched for symbol keys, then every `searchedEach`th. */
const searchedFirst = 16, searchedEach = 32;
/** Size limit of the kept shapes, in characters: objects that all have different keys would fill the memory. */
const shapeCharsMax = 1 << 20;
/** Estimated size of a shape without its key, in characters. */
const shapeChars = 256;
/**
 * How many successors of a shape are compared as bytes before the key is decoded. Several, because objects in different
 * places may begin with the same keys.
 */
const firstKeys = 4;

type Make = (values: readonly unknown[], from: number) => object;

/** An ordered list of object keys: the keys of the shape before it, and one more. */
export class KeyShape {
  /** The last key, as a CBOR item. */
  readonly keyBytes: Uint8Array;
  /** The successor that was looked up last. */
  likely: KeyShape | null = null;
  /** The first few successors, compared as bytes. */
  readonly firstShapes: KeyShape[] = [];
  readonly key: string;
  readonly #before: KeyShape | null;
  readonly #next = new Map<string, KeyShape>();
  /** How many more objects are written before the next one is searched, and how many were searched so far. */
  #unsearched = 1;
  #searched = 0;
  #uses = 0;
  #make: Make | null = null;

  constructor(before: KeyShape | null, key: string) {
    this.#before = before;
    this.key = key;
    this.keyBytes = textItem(key);
  }

  /** Makes an object with these keys, and with the values from index `from` on. */
  make(values: readonly unknown[], from: number): object {
    if (this.#make !== null) return this.#make(values, from);
    if (++this.#uses === usesMin) this.#make = this.#compile();
    const object: Record<string, unknown> = {};
    this.#keys.forEach((key, index) => object[key] = values[from + index]);
    return object;
  }

  /** Call for each object written. Returns whether to search it for symbol keys, which costs as much as writing it. */
  isToBeSearched(): boolean {
    if (--this.#unsearched > 0) return false;
    this.#unsearched = ++this.#searched < searchedFirst ? 1 : searchedEach;
    return true;
  }

  /** The successor with this key; undefined if there is none yet. */
  after(key: string): KeyShape | undefined {
    return this.#next.get(key);
  }

  /**
   * Whether the shape contains `key`. Checked when a shape is added, so that existing shapes never have duplicate keys.
   */
  has(key: string): boolean {
    return this.#before !== null && (this.key === key || this.#before.has(key));
  }

  add(key: string): KeyShape {
    const shape = new KeyShape(this, key);
    this.#next.set(key, shape);
    if (this.firstShapes.length < firstKeys) this.firstShapes.push(shape);
    return shape;
  }

  get #keys(): string[] {
    return this.#before === null ? [] : [...this.#before.#keys, this.key];
  }

  /** Compiles an object literal, which creates the object in one step instead of one lookup per key. */
  #compile(): Make {
    const fields = this.#keys.map((key, index) => `${JSON.stringify(key)}: values[from + ${index}]`);
    return new Function("values", "from", `return { ${fields.join(", ")} };`) as Make;
  }
}

/** A tree of the shapes of all objects read or written. */
export class KeyShapes {
  #empty = new KeyShape(null, "");
  #chars = 0;
  readonly #charsMax: number;
  readonly #whenFull: "forget" | "stop";

  /**
   * @param charsMax Size limit of all shapes, in characters.
   * @param whenFull At the limit: `forget` drops all shapes, `stop` keeps no new ones. Use `stop` if a peer chooses the
   * keys.
   */
  constructor(charsMax = shapeCharsMax, whenFull: "forget" | "stop" = "forget") {
    this.#charsMax = charsMax;
    this.#whenFull = whenFull;
  }

  get empty(): KeyShape {
    return this.#empty;
  }

  /** The successor of `shape` with this key; null if it would be new and no more are kept. */
  with(shape: KeyShape, key: string): KeyShape | null {
    const next = shape.after(key) ?? this.#add(shape, key);
    if (next !== null) shape.likely = next;
    return next;
  }

  #add(shape: KeyShape, key: string): KeyShape | null {
    const chars = this.#chars + shapeChars + key.length;
    if (chars <= this.#charsMax) this.#chars = chars;
    else if (this.#whenFull === "stop") return null;
    else this.#forget();
    return shape.add(key);
  }

  #forget(): void {
    this.#empty = new KeyShape(null, "");
    this.#chars = 0;
  }
}
